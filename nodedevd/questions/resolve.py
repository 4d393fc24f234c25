"""resolve: finds the devices that another tool's identifier refers to.

A pure function of a snapshot. It accepts every name that a lookup accepts, and also the number of
an IOMMU group, the nodes of VFIO, any other node or link below /dev, and the names of network
interfaces and disks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from nodedevd.errors import NoSuchDevice
from nodedevd.host.node import parse_number
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.shared.vfio import VfioDevice
from nodedevd.model.device import Device, State
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.vgpus import type_of

# noiommu-: the group of a device without an IOMMU; vfio.rst, enable_unsafe_noiommu_mode.
_GROUP = re.compile(r"(?:/dev/vfio/(?:noiommu-)?|/sys/kernel/iommu_groups/)?([0-9]+)/?")
_VFIO = re.compile(r"/dev/vfio/devices/[^/]+")


class Resolved(msgspec.Struct, frozen=True, gc=False):
    """A device, with its parent, type, IOMMU group and VFIO node."""

    name: str
    parent: str | None
    path: str | None
    state: State
    capabilities: tuple[str, ...]
    driver: str | None
    pci_function: str | None
    """name of the nearest PCI function: the device itself, or an ancestor"""
    uuid: str | None
    """mdevs only"""
    type: str | None
    """id of the mdev type, or of the vGPU profile that is set; None if there is none or it is
    unknown"""
    type_name: str | None
    iommu_group: int | None
    vfio_device: VfioDevice | None


class Resolution(msgspec.Struct, frozen=True, gc=False):
    """The devices that an identifier refers to, at one generation of the tree."""

    generation: int
    devices: tuple[Resolved, ...]


def resolve(snapshot: Snapshot, text: str) -> Resolution:
    """Return the device, or all devices of an IOMMU group. Raises NoSuchDevice."""
    devices = _find(snapshot, text)
    if not devices:
        raise NoSuchDevice(text, snapshot.nearest(text))
    return Resolution(
        snapshot.generation, tuple([_resolved(snapshot, device) for device in devices])
    )


def _find(snapshot: Snapshot, text: str) -> list[Device]:
    group = _GROUP.fullmatch(text)
    if group is not None:
        number = parse_number(group[1])
        return [one for one in snapshot if number is not None and _iommu_group(one) == number]
    if _VFIO.fullmatch(text):
        return [device for device in snapshot if _vfio_node(device) == text]
    if text.startswith("/dev/"):
        return [one for one in snapshot if text == one.devnode or text in one.devlinks]
    try:
        return [snapshot.lookup(text)]
    except NoSuchDevice:
        named = snapshot.by_sysname(text)
        return [one for one in named if one.subsystem in ("net", "block")]


def _resolved(snapshot: Snapshot, device: Device) -> Resolved:
    child, kind = device.capability(MdevChild), type_of(device)
    function = next((one for one in _with_ancestors(snapshot, device) if one.capability(Pci)), None)
    return Resolved(
        name=device.name,
        parent=device.parent,
        path=device.path,
        state=device.state,
        capabilities=device.types,
        driver=device.driver,
        pci_function=None if function is None else function.name,
        uuid=None if child is None else child.uuid,
        type=None if kind is None else kind.id,
        type_name=None if kind is None else kind.name,
        iommu_group=_iommu_group(device),
        vfio_device=_vfio_device(device),
    )


def _with_ancestors(snapshot: Snapshot, device: Device | None) -> Iterable[Device]:
    while device is not None:
        yield device
        device = snapshot.get(device.parent or "")


def _iommu_group(device: Device) -> int | None:
    pci, child = device.capability(Pci), device.capability(MdevChild)
    if pci is not None and pci.iommu_group is not None:
        return pci.iommu_group.number
    return None if child is None else child.iommu_group


def _vfio_device(device: Device) -> VfioDevice | None:
    for capability in device.capabilities:
        if isinstance(capability, Pci | MdevChild) and capability.vfio_device is not None:
            return capability.vfio_device
    return None


def _vfio_node(device: Device) -> str | None:
    vfio_device = _vfio_device(device)
    return None if vfio_device is None else vfio_device.node
