"""in_use: finds out whether a VM, or another user of VFIO, has a device open.

Reads  /sys/class/vfio/<group>/dev, /sys/class/vfio-dev/vfio<N>/dev,
       /sys/kernel/iommu_groups/<N>/devices, their drivers and subsystems; all processes
ABI    Documentation/driver-api/vfio.rst: /dev/vfio/<group>, /dev/vfio/devices/vfio<N>

Nodes are never opened for this: that would itself be a use, and make a VM fail to open them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from nodedevd.host.listing import names_in, target_of
from nodedevd.host.processes import PROC, OpenFiles, Process, ProcessScan, scan_processes
from nodedevd.host.sysroot import Progress, Sysroot, is_absence
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.shared.vfio import is_vfio_driver
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot

_GROUPS = "/sys/class/vfio"
_DEVICES = "/sys/class/vfio-dev"
_DEVICE_NODES = "/dev/vfio/devices/"
_NUMBER = re.compile(r"([0-9]{1,4}):([0-9]{1,7})\n?")  # 12 and 20 bits
_NOIOMMU = "noiommu-"
"""prefix of a group's number when VFIO runs without an IOMMU"""

UseReason: TypeAlias = Literal[
    "no-node", "group-shared", "device-untold", "processes-unseen", "other-host", "unanswered"
]

REASONS: Mapping[UseReason, str] = {
    "no-node": "it is not bound to VFIO, so there is no node to open",
    "group-shared": "its IOMMU group has several devices, and the kernel does not report which of"
    " them is open",
    "device-untold": "a process has a VFIO device open, and the kernel does not report which one",
    "processes-unseen": "a process whose open files cannot be read may have it open",
    "other-host": "it is a device of another host, whose processes are not here",
    "unanswered": "reading the processes has not finished in time",
}
"""What each reason means, as a sentence."""


class Use(msgspec.Struct, frozen=True):
    """Whether one device is open."""

    name: str
    """name of the device"""
    path: str | None
    open: Literal["yes", "no", "unknown"]
    """whether a process has it open"""
    holders: tuple[Process, ...]
    """processes that have it open or, if `open` is unknown, may have it open; the daemon reports
    them only to root and to its own user"""
    reason: UseReason | None
    """why `open` is unknown, or why no process can have it open"""


class InUse(msgspec.Struct, frozen=True):
    """Which devices are open, at one generation of the tree."""

    generation: int
    unseen_processes: int
    """number of processes whose open files cannot be read"""
    devices: tuple[Use, ...]

    def without_holders(self) -> InUse:
        """Return a copy for clients that may not see other users' processes."""
        devices = tuple([msgspec.structs.replace(use, holders=()) for use in self.devices])
        return msgspec.structs.replace(self, devices=devices)


class VfioUsage:
    """All VFIO nodes of a host, and the processes that have them open. Immutable."""

    def __init__(
        self,
        nodes: Mapping[str, Sequence[str]] | None = None,
        processes: ProcessScan | None = None,
        reason: UseReason | None = None,
    ) -> None:
        """Combine the nodes of a host with a scan of its processes.

        Args:
            nodes: For each node, the paths of the devices that a process gets through it.
            processes: The open files of all processes; None if they are unknown.
            reason: Why they are unknown.
        """
        self.nodes = nodes or {}
        self.processes = processes
        self.reason = reason
        self._nodes_of: dict[str, list[str]] = {}
        for node, paths in self.nodes.items():
            for path in paths:
                self._nodes_of.setdefault(path, []).append(node)
        self._by_node: dict[str, list[OpenFiles]] = {}
        self._by_device: dict[str, list[OpenFiles]] = {}
        self._unidentified: list[Process] = []
        for one in () if processes is None else processes.open_files:
            for node in one.nodes:
                self._by_node.setdefault(node, []).append(one)
            for path in one.devices:
                self._by_device.setdefault(path, []).append(one)
            # A device stays open after its group is closed, and may come from another process.
            groups = [node for node in one.nodes if not node.startswith(_DEVICE_NODES)]
            if one.unidentified > sum(len(self.nodes.get(node, ())) for node in groups):
                self._unidentified.append(one.process)

    @property
    def unseen(self) -> int:
        """Number of processes whose open files cannot be read."""
        return 0 if self.processes is None else self.processes.unseen

    def use(self, name: str, path: str | None) -> Use:
        """Return whether a device, given by name and sysfs path, is open."""
        path = path or ""

        def answer(
            is_open: Literal["yes", "no", "unknown"],
            reason: UseReason | None,
            holders: Iterable[Process] = (),
        ) -> Use:
            return Use(name, path or None, is_open, tuple(dict.fromkeys(holders)), reason)

        if self.processes is None:
            return answer("unknown", self.reason)
        holders = [one.process for one in self._by_device.get(path, ())]
        possible = []
        nodes = self._nodes_of.get(path, ())
        for node in nodes:
            for one in self._by_node.get(node, ()):
                if len(self.nodes[node]) == 1:
                    holders.append(one.process)
                elif one.unidentified or not one.devices:
                    # If the kernel has named all devices of a process, this one is not among them.
                    possible.append(one.process)
        if holders:
            return answer("yes", None, holders)
        if not nodes:
            return answer("no", "no-node")
        if possible:
            return answer("unknown", "group-shared", possible)
        if self._unidentified:
            return answer("unknown", "device-untold", self._unidentified)
        if self.processes.complete:
            return answer("no", None)
        return answer("unknown", "processes-unseen")

    def of(self, snapshot: Snapshot, devices: Iterable[Device] | None) -> InUse:
        """Return the uses of some devices, None for all mdevs and all devices bound to VFIO."""
        if devices is None:
            devices = [device for device in snapshot if self._is_bound(device)]
        uses = tuple([self.use(device.name, device.path) for device in devices])
        return InUse(snapshot.generation, self.unseen, uses)

    def _is_bound(self, device: Device) -> bool:
        mdev = device.active and device.capability(MdevChild) is not None
        return mdev or device.path in self._nodes_of or is_vfio_driver(device.driver)


def read_usage(
    sysroot: Sysroot, *, proc: str | None = None, progress: Progress | None = None
) -> VfioUsage:
    """Read all VFIO nodes of a host and, in one pass, which processes have them open. Blocks.

    Args:
        sysroot: The host.
        proc: Where procfs is mounted; None is /proc for this host, and none for another host.
        progress: Progress callback, by process.

    Raises OSError.
    """
    sysroot.forget()
    nodes: dict[str, Sequence[str]] = {}
    numbers: dict[str, int | None] = {}
    bound = set()
    for name in names_in(sysroot, _DEVICES):
        child = target_of(sysroot, f"{_DEVICES}/{name}")
        if child is None:
            continue
        path = child.rpartition("/vfio-dev/")[0]
        bound.add(path)
        number = _number(sysroot, child)
        if number is not None:  # before Linux 6.6 a device has no node of its own
            nodes[_DEVICE_NODES + name] = [path]
            numbers[_DEVICE_NODES + name] = number
    for name in names_in(sysroot, _GROUPS):
        members = _members(sysroot, name.removeprefix(_NOIOMMU))
        node = f"/dev/vfio/{name}"
        nodes[node] = [
            path for path in members if path in bound or _bound(sysroot, path)
        ] or members
        numbers[node] = _number(sysroot, f"{_GROUPS}/{name}")
    if proc is None and sysroot.root != "/":
        return VfioUsage(nodes, reason="other-host")
    return VfioUsage(
        nodes, scan_processes(numbers, proc=proc or PROC, progress=progress, job=sysroot.job)
    )


def _number(sysroot: Sysroot, path: str) -> int | None:
    try:
        text = sysroot.read(f"{path}/dev").decode()
    except ValueError:
        return None
    except OSError as error:
        if is_absence(error):
            return None
        raise
    numbers = _NUMBER.fullmatch(text)
    return None if numbers is None else os.makedev(int(numbers[1]), int(numbers[2]))


def _members(sysroot: Sysroot, group: str) -> list[str]:
    """Return the paths of the devices in an IOMMU group."""
    directory = f"/sys/kernel/iommu_groups/{group}/devices"
    members = [target_of(sysroot, f"{directory}/{name}") for name in names_in(sysroot, directory)]
    return [path for path in members if path is not None]


def _bound(sysroot: Sysroot, path: str) -> bool:
    """Return whether a device of a group is bound to VFIO; a bridge is not, for example."""
    return _link_name(sysroot, f"{path}/subsystem") == "mdev" or is_vfio_driver(
        _link_name(sysroot, f"{path}/driver")
    )


def _link_name(sysroot: Sysroot, link: str) -> str | None:
    target = target_of(sysroot, link)
    return None if target is None else target.rpartition("/")[2]
