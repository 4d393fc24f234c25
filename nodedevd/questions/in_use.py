"""in_use: whether a device is open by a VM, or by whatever else drives it through VFIO.

Reads  /sys/class/vfio/<group>/dev, /sys/class/vfio-dev/vfio<N>/dev,
       /sys/kernel/iommu_groups/<N>/devices, drivers and subsystems of those; all processes
ABI    Documentation/driver-api/vfio.rst: /dev/vfio/<group>, /dev/vfio/devices/vfio<N>

A node is never opened for that: an open would itself be a use, and the one that a VM fails on.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from nodedevd.host import processes
from nodedevd.host.processes import Holding, Process, Seen
from nodedevd.host.sysroot import Progress, Sysroot
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.shared.vfio import is_vfio_driver
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot

_GROUPS = "/sys/class/vfio"
_DEVICES = "/sys/class/vfio-dev"
_DEVICE_NODES = "/dev/vfio/devices/"
_NOIOMMU = "noiommu-"
"""stands in front of a group's number where VFIO runs without an IOMMU"""

UseReason: TypeAlias = Literal[
    "no-node", "group-shared", "device-untold", "processes-unseen", "other-host", "unanswered"
]

REASONS: Mapping[UseReason, str] = {
    "no-node": "it is not bound to VFIO: there is no node to open",
    "group-shared": "its IOMMU group has several devices, and it cannot be told which is open",
    "device-untold": "a process has a VFIO device of which the kernel does not tell which it is",
    "processes-unseen": "a process that could not be looked into may have it open",
    "other-host": "it is a device of a recorded host, whose processes are not here",
    "unanswered": "the look at the processes has not returned",
}


class Use(msgspec.Struct, frozen=True):
    """Whether one device is open."""

    device: str
    """its name"""
    path: str | None
    open: Literal["yes", "no", "unknown"]
    holders: tuple[Process, ...]
    """who has it open; for unknown who may have. Told to root and the daemon's own user"""
    reason: UseReason | None
    """why it is unknown, or why nobody can have it open"""


class InUse(msgspec.Struct, frozen=True):
    """Which devices are open, at one generation of the tree."""

    generation: int
    unseen_processes: int
    """processes that might not be looked into"""
    devices: tuple[Use, ...]

    def without_holders(self) -> InUse:
        """Return the same for those who may not know of other users' processes."""
        devices = tuple([msgspec.structs.replace(use, holders=()) for use in self.devices])
        return msgspec.structs.replace(self, devices=devices)


class Look:
    """All VFIO nodes of the host, and who has them open. Nothing about it changes."""

    def __init__(
        self,
        nodes: Mapping[str, Sequence[str]] | None = None,
        seen: Seen | None = None,
        reason: UseReason | None = None,
    ) -> None:
        """Make one of what was found.

        Args:
            nodes: The paths of the devices that can be had by each node.
            seen: The processes; None if they are not known.
            reason: Why they are not known.
        """
        self.nodes = nodes or {}
        self.seen = seen
        self.reason = reason
        self._ways: dict[str, list[str]] = {}
        for node, paths in self.nodes.items():
            for path in paths:
                self._ways.setdefault(path, []).append(node)
        self._of_node: dict[str, list[Holding]] = {}
        self._of_device: dict[str, list[Holding]] = {}
        self._untold: list[Process] = []
        for one in () if seen is None else seen.holdings:
            for node in one.nodes:
                self._of_node.setdefault(node, []).append(one)
            for path in one.devices:
                self._of_device.setdefault(path, []).append(one)
            # A device stays open when the group it was got from is closed, or was another's.
            groups = [node for node in one.nodes if not node.startswith(_DEVICE_NODES)]
            if one.untold > sum(len(self.nodes.get(node, ())) for node in groups):
                self._untold.append(one.process)

    @property
    def unseen(self) -> int:
        """How many processes might not be looked into."""
        return 0 if self.seen is None else self.seen.unseen

    def use(self, device: str, path: str | None) -> Use:
        """Tell whether a device is open, given by name and sysfs path."""
        path = path or ""

        def told(
            answer: Literal["yes", "no", "unknown"],
            reason: UseReason | None,
            holders: Iterable[Process] = (),
        ) -> Use:
            return Use(device, path or None, answer, tuple(dict.fromkeys(holders)), reason)

        if self.seen is None:
            return told("unknown", self.reason)
        holders = [one.process for one in self._of_device.get(path, ())]
        perhaps = []
        ways = self._ways.get(path, ())
        for node in ways:
            for one in self._of_node.get(node, ()):
                if len(self.nodes[node]) == 1:
                    holders.append(one.process)
                elif one.untold or not one.devices:
                    # Of whom the kernel has named all devices has none besides.
                    perhaps.append(one.process)
        if holders:
            return told("yes", None, holders)
        if not ways:
            return told("no", "no-node")
        if perhaps:
            return told("unknown", "group-shared", perhaps)
        if self._untold:
            return told("unknown", "device-untold", self._untold)
        return told("no", None) if self.seen.complete else told("unknown", "processes-unseen")

    def of(self, snapshot: Snapshot, devices: Iterable[Device] | None) -> InUse:
        """Tell of some devices; without them of all mdevs, and all else that VFIO drives."""
        if devices is None:
            devices = [device for device in snapshot if self._drives(device)]
        uses = tuple([self.use(device.name, device.path) for device in devices])
        return InUse(snapshot.generation, self.unseen, uses)

    def _drives(self, device: Device) -> bool:
        mdev = device.active and device.capability(MdevChild) is not None
        return mdev or device.path in self._ways or is_vfio_driver(device.driver)


def look(sysroot: Sysroot, *, proc: str | None = None, progress: Progress | None = None) -> Look:
    """Find all VFIO nodes and who has them open, in one pass over all processes.

    `proc` is where the processes are; without it a sysroot other than / has none. Blocking.
    Raises OSError.
    """
    sysroot.forget()
    nodes: dict[str, Sequence[str]] = {}
    numbers: dict[str, int | None] = {}
    bound = set()
    for name in _names(sysroot, _DEVICES):
        try:
            child = sysroot.target(f"{_DEVICES}/{name}")
        except OSError:
            continue
        path = child.rpartition("/vfio-dev/")[0]
        bound.add(path)
        number = _number(sysroot, child)
        if number is not None:  # before Linux 6.6 it has no node of its own
            nodes[_DEVICE_NODES + name] = [path]
            numbers[_DEVICE_NODES + name] = number
    for name in _names(sysroot, _GROUPS):
        members = _members(sysroot, name.removeprefix(_NOIOMMU))
        node = f"/dev/vfio/{name}"
        nodes[node] = [
            path for path in members if path in bound or _bound(sysroot, path)
        ] or members
        numbers[node] = _number(sysroot, f"{_GROUPS}/{name}")
    if proc is None and sysroot.root != "/":
        return Look(nodes, reason="other-host")
    seen = processes.look(numbers, proc=proc or processes.PROC, progress=progress)
    return Look(nodes, seen)


def _names(sysroot: Sysroot, directory: str) -> list[str]:
    try:
        return sorted(sysroot.listdir(directory))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return []
        raise


def _number(sysroot: Sysroot, path: str) -> int | None:
    try:
        major, _, minor = sysroot.read(f"{path}/dev").decode().partition(":")
        return os.makedev(int(major), int(minor))
    except (OSError, ValueError):
        return None


def _members(sysroot: Sysroot, group: str) -> list[str]:
    """Return the paths of the devices in an IOMMU group."""
    directory = f"/sys/kernel/iommu_groups/{group}/devices"
    members = []
    for name in _names(sysroot, directory):
        try:
            members.append(sysroot.target(f"{directory}/{name}"))
        except OSError:
            continue
    return members


def _bound(sysroot: Sysroot, path: str) -> bool:
    """Tell whether a device of a group is one that VFIO hands out: no bridge, say."""
    return _link_name(sysroot, f"{path}/subsystem") == "mdev" or is_vfio_driver(
        _link_name(sysroot, f"{path}/driver")
    )


def _link_name(sysroot: Sysroot, link: str) -> str | None:
    try:
        return sysroot.read_link(link).rpartition("/")[2]
    except OSError:
        return None
