"""All targets, by name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.fuzz.target import Target
from tests.fuzz.targets import (
    archive,
    fleet,
    hook,
    host,
    host_files,
    libvirt,
    libvirt_codec,
    mdev_document,
    mdevctl,
    names,
    netlink,
    pci_config,
    pci_ids,
    pci_vpd,
    requests,
    stand_ins,
    udev_db,
    uevents,
    varlink,
    varlink_codec,
    vgpu_types,
)

TARGETS: Mapping[str, Target] = {
    module.TARGET.name: module.TARGET
    for module in (
        varlink_codec,
        varlink,
        libvirt_codec,
        libvirt,
        udev_db,
        netlink,
        host_files,
        mdevctl,
        archive,
        pci_config,
        pci_vpd,
        pci_ids,
        vgpu_types,
        names,
        host,
        stand_ins,
        uevents,
        requests,
        hook,
        mdev_document,
        fleet,
    )
}
