"""resolve: finds the devices that another tool's identifier refers to.

A pure function of a snapshot and the device nodes of its host. It accepts every name that a
lookup accepts, and also the number of an IOMMU group, the nodes of VFIO, any other node or link
below /dev, and the names of network interfaces and disks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import msgspec

from nodedevd.errors import NoSuchDevice
from nodedevd.host.device_nodes import DeviceNodes
from nodedevd.host.node import parse_number
from nodedevd.host.nvme_multipath import is_multipath
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.shared.vfio import VfioDevice
from nodedevd.kinds.vdpa import Vdpa
from nodedevd.model.brief import State
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.vgpus import type_of
from nodedevd.steps import STEP_ITEMS, Steps, collected, finish

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
    """name of the nearest PCI function: the device itself, an ancestor, or the first function by
    which NVMe reaches the disk"""
    uuid: str | None
    """mdevs only"""
    type: str | None
    """id of the mdev type, or of the vGPU profile that is set; None if there is none or it is
    unknown"""
    type_name: str | None
    iommu_group: int | None
    vfio_device: VfioDevice | None
    other_pci_functions: tuple[str, ...] = ()
    """names of the other functions by which NVMe reaches the disk"""


class Resolution(msgspec.Struct, frozen=True, gc=False):
    """The devices that an identifier refers to, at one generation of the tree."""

    generation: int
    devices: tuple[Resolved, ...]


_STEP_RESOLVED = 16
_NO_NODES = DeviceNodes()


def needs_nodes(found: Sequence[Device], text: str) -> bool:
    """Return whether the device nodes of the host are needed to resolve a text.

    `found` is what `find_in_steps` returns for it.
    """
    return any(is_multipath(one.path) for one in found) if found else text.startswith("/dev/")


def resolve(snapshot: Snapshot, text: str, nodes: DeviceNodes = _NO_NODES) -> Resolution:
    """Return the device, or all devices of an IOMMU group.

    Args:
        snapshot: The devices of the host.
        text: The identifier.
        nodes: The device nodes of the host, if the text needs them.

    Raises NoSuchDevice.
    """
    return finish(resolve_in_steps(snapshot, text, nodes))


def resolve_in_steps(
    snapshot: Snapshot, text: str, nodes: DeviceNodes = _NO_NODES
) -> Steps[Resolution]:
    """Do the same as `resolve`, in steps."""
    found = yield from find_in_steps(snapshot, text)
    devices = found or _find_by_node(snapshot, text, nodes)
    if not devices:
        raise NoSuchDevice(text, snapshot.nearest(text))
    resolved = (_resolved(snapshot, device, nodes) for device in devices)
    return Resolution(snapshot.generation, tuple((yield from collected(resolved, _STEP_RESOLVED))))


def _find_by_node(snapshot: Snapshot, text: str, nodes: DeviceNodes) -> list[Device]:
    """Return the device that a node lies below: a disk for a partition, a function for /dev/nvme0.

    A node below an NVMe subsystem, such as /dev/ng0n1, is one of the functions that lead to it.
    """
    path = nodes.paths.get(text)
    if path is None:
        return []
    starts = (path, *nodes.controllers.get(path, ()))
    found = [one for start in starts if (one := _nearest(snapshot, start)) is not None]
    return found[:1] if found and _is_at_or_below(path, found[0]) else _each_once(found)


def _nearest(snapshot: Snapshot, path: str) -> Device | None:
    """Return the device at a path, or the nearest one above."""
    while path:
        device = snapshot.at(path)
        if device is not None:
            return device
        path = path.rpartition("/")[0]
    return None


def _is_at_or_below(path: str, device: Device) -> bool:
    return f"{path}/".startswith(f"{device.path}/")


def _each_once(devices: Iterable[Device]) -> list[Device]:
    return list({device.name: device for device in devices}.values())


def find_in_steps(snapshot: Snapshot, text: str) -> Steps[list[Device]]:
    """Return the devices that a text means without the device nodes of the host."""
    group = _GROUP.fullmatch(text)
    if group is not None:
        number = parse_number(group[1])
        if number is None:
            return []
        return (yield from _matching(snapshot, lambda one: _iommu_group(one) == number))
    if _VFIO.fullmatch(text):
        return (yield from _matching(snapshot, lambda one: _vfio_node(one) == text))
    if text.startswith("/dev/"):
        return (
            yield from _matching(
                snapshot, lambda one: text in (one.devnode, _vhost_node(one), *one.devlinks)
            )
        )
    device = snapshot.find(text)
    if device is not None:
        return [device]
    named = snapshot.by_sysname(text)
    return [one for one in named if one.subsystem in ("net", "block")]


def _matching(snapshot: Snapshot, matches: Callable[[Device], bool]) -> Steps[list[Device]]:
    found: list[Device] = []
    for group in snapshot.in_groups(STEP_ITEMS):
        found += [one for one in group if matches(one)]
        yield
    return found


def _resolved(snapshot: Snapshot, device: Device, nodes: DeviceNodes) -> Resolved:
    child, kind = device.capability(MdevChild), type_of(device)
    functions = _functions(snapshot, device, nodes)
    return Resolved(
        name=device.name,
        parent=device.parent,
        path=device.path,
        state=device.state,
        capabilities=device.types,
        driver=device.driver,
        pci_function=functions[0] if functions else None,
        other_pci_functions=tuple(functions[1:]),
        uuid=None if child is None else child.uuid,
        type=None if kind is None else kind.id,
        type_name=None if kind is None else kind.name,
        iommu_group=_iommu_group(device),
        vfio_device=_vfio_device(device),
    )


def _functions(snapshot: Snapshot, device: Device, nodes: DeviceNodes) -> list[str]:
    """Return the names of the PCI functions that lead to a device: one, but for multipath."""
    starts = [device]
    for controller in nodes.controllers.get(device.path or "", ()):
        above = _nearest(snapshot, controller)
        starts += [] if above is None else [above]
    found = [
        next((one.name for one in _with_ancestors(snapshot, start) if one.capability(Pci)), None)
        for start in starts
    ]
    return list(dict.fromkeys([name for name in found if name is not None]))


def _vhost_node(device: Device) -> str | None:
    """Return the node of a vDPA device that is bound to vhost_vdpa; it belongs to a child."""
    vdpa = device.capability(Vdpa)
    return None if vdpa is None else vdpa.chardev


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
