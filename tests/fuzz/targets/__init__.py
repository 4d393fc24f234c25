"""All targets, by name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.fuzz.target import Target
from tests.fuzz.targets import (
    archive,
    command_line,
    fleet,
    hook,
    host,
    host_files,
    http,
    layout,
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
        layout,
        archive,
        pci_config,
        pci_vpd,
        pci_ids,
        vgpu_types,
        names,
        command_line,
        host,
        stand_ins,
        uevents,
        requests,
        hook,
        mdev_document,
        http,
        fleet,
    )
}
