"""scan: walks a sysroot and builds the tree of its devices. Blocking; runs off the event loop.

Reads  /sys/bus/*/devices, /sys/class/*, /sys/class/mdev_bus, /sys/bus/mdev/devices
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable
from typing import TypeAlias

import msgspec

from nodedevd.capabilities import KIND_OF, KINDS, AnyCapability, system
from nodedevd.capabilities.mdev_parent import CLASS as MDEV_BUS
from nodedevd.capabilities.mdev_parent import TYPES as MDEV_TYPES
from nodedevd.errors import NodeGone
from nodedevd.model import Device, Snapshot
from nodedevd.naming import ROOT, device_name, distinct_name
from nodedevd.node import Fault, Node, shown
from nodedevd.sysroot import Sysroot

log = logging.getLogger(__name__)

_SUBSYSTEMS = sorted(
    {subsystem for kind in KINDS if kind.subsystems is not None for subsystem in kind.subsystems}
)


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One device as it was read, before it is named and put into the tree."""

    path: str
    subsystem: str | None
    driver: str | None
    capabilities: tuple[AnyCapability, ...]
    errors: tuple[Fault, ...]

    @property
    def sysname(self) -> str:
        """The kernel's name of the device."""
        return self.path.rpartition("/")[2]


Progress: TypeAlias = Callable[[int, int], None]
"""Told how many devices are read, of how many."""


def scan(sysroot: Sysroot, *, generation: int = 1, progress: Progress | None = None) -> Snapshot:
    """Read every device of a host. Raises NotASysroot; nothing else a host does raises."""
    sysroot.check()
    faults: list[Fault] = []
    readings = []
    found = find(sysroot, faults)
    for number, (path, listed_in) in enumerate(found.items()):
        if progress is not None:
            progress(number, len(found))
        reading = read_device(sysroot, path, listed_in)
        if reading is not None:
            readings.append(reading)
    devices = [read_computer(sysroot), *assemble(readings)]
    return Snapshot(devices, generation=generation, errors=tuple(faults))


def find(sysroot: Sysroot, faults: list[Fault]) -> dict[str, set[str]]:
    """Return the path of every device to read, with the directories that led to it."""
    found: dict[str, set[str]] = {}
    searched = set()
    for subsystem in _SUBSYSTEMS:
        directory = f"/sys/bus/{subsystem}/devices"
        searched.add(directory)
        for path in _links(sysroot, directory, faults):
            found.setdefault(path, set()).add(directory)
    searched.add(MDEV_BUS)
    for path in _links(sysroot, MDEV_BUS, faults):
        found.setdefault(path, set()).add(MDEV_BUS)
    for directory in _device_directories(sysroot, faults):
        if directory not in searched:
            for path in _parents_among(sysroot, directory, faults):
                found.setdefault(path, set()).add(directory)
    # What an mdev lies in is its parent, even when no directory lists it.
    for path in [path for path in found if "/sys/bus/mdev/devices" in found[path]]:
        parent = path.rpartition("/")[0]
        if parent not in found and sysroot.exists(f"{parent}/{MDEV_TYPES}"):
            found[parent] = set()
    return found


def _device_directories(sysroot: Sysroot, faults: list[Fault]) -> list[str]:
    buses = [f"/sys/bus/{name}/devices" for name in _names(sysroot, "/sys/bus", faults)]
    return buses + [f"/sys/class/{name}" for name in _names(sysroot, "/sys/class", faults)]


def _parents_among(sysroot: Sysroot, directory: str, faults: list[Fault]) -> list[str]:
    """Return the mdev parents that /sys/class/mdev_bus failed to link.

    Two parents of one kernel name cannot both have their link there.
    """
    parents = []
    for name in _names(sysroot, directory, faults):
        link = f"{directory}/{name}"
        if sysroot.exists(f"{link}/{MDEV_TYPES}"):
            path = _target(sysroot, link)
            if path is not None:
                parents.append(path)
    return parents


def _links(sysroot: Sysroot, directory: str, faults: list[Fault]) -> list[str]:
    targets = [
        _target(sysroot, f"{directory}/{name}") for name in _names(sysroot, directory, faults)
    ]
    return [path for path in targets if path is not None]


def _target(sysroot: Sysroot, link: str) -> str | None:
    """Follow one link of a directory of devices; None if it is gone again, or is no link."""
    try:
        return sysroot.target(link)
    except OSError:
        return None


def _names(sysroot: Sysroot, directory: str, faults: list[Fault]) -> list[str]:
    try:
        return sorted(sysroot.listdir(directory))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            code = errno.errorcode.get(error.errno or 0, "?")
            refused = error.errno in (errno.EACCES, errno.EPERM)
            faults.append(Fault(shown(directory), "refused" if refused else "unreadable", code))
        return []


def read_device(sysroot: Sysroot, path: str, listed_in: Iterable[str] = ()) -> Reading | None:
    """Read one device; None if it is gone, or has no capability."""
    try:
        node = Node(sysroot, path, subsystem=_subsystem(listed_in), listed_in=listed_in)
        capabilities = _read_capabilities(node)
        driver = node.link_name("driver")
    except NodeGone:
        return None
    if not capabilities:
        return None
    return Reading(
        path=shown(path),
        subsystem=node.subsystem,
        driver=driver,
        capabilities=tuple(capabilities),
        errors=tuple(node.faults),
    )


def _read_capabilities(node: Node) -> list[AnyCapability]:
    capabilities = []
    for kind in KINDS:
        if kind.subsystems is None or node.subsystem in kind.subsystems:
            try:
                capability = kind.read(node)
            except NodeGone:
                raise
            except Exception as error:  # a defect in one kind costs that capability alone
                log.exception("%s: reading %s failed", node.path, kind.name)
                node.fault(kind.name, "internal", repr(error))
                continue
            if capability is not None:
                capabilities.append(capability)
    return capabilities


def _subsystem(listed_in: Iterable[str]) -> str | None:
    """Tell the subsystem from the directory of a bus or class that lists the device."""
    for directory in listed_in:
        _, _, top, name, *_ = f"{directory}//".split("/")
        if (top == "bus" or top == "class") and directory != MDEV_BUS:
            return name
    return None


def read_computer(sysroot: Sysroot) -> Device:
    """Read the root of the tree; errors are relative to the DMI directory."""
    faults: tuple[Fault, ...] = ()
    capability: system.System | None = None
    try:
        node = Node(sysroot, system.DMI, subsystem="dmi")
        capability = system.read(node)
        faults = tuple(node.faults)
    except NodeGone:
        pass
    return Device(
        name=ROOT,
        path=None,
        parent=None,
        subsystem=None,
        sysname=None,
        driver=None,
        capabilities=(capability or system.System(),),
        errors=faults,
    )


def assemble(readings: Iterable[Reading]) -> list[Device]:
    """Name the devices and hang each below its nearest ancestor that is one."""
    readings = sorted(readings, key=lambda reading: reading.path)
    names: dict[str, str] = {}
    taken = {ROOT}
    for reading in readings:
        name = device_name(reading.subsystem, reading.sysname)
        if name in taken:
            name = distinct_name(name, reading.path)
        taken.add(name)
        names[reading.path] = name
    return [_device(reading, names) for reading in readings]


def _device(reading: Reading, names: dict[str, str]) -> Device:
    return Device(
        name=names[reading.path],
        path=reading.path,
        parent=_parent(reading.path, names),
        subsystem=reading.subsystem,
        sysname=reading.sysname,
        driver=reading.driver,
        capabilities=tuple([_link(cap, names) for cap in reading.capabilities]),
        errors=reading.errors,
    )


def _parent(path: str, names: dict[str, str]) -> str:
    while path := path.rpartition("/")[0]:
        if path in names:
            return names[path]
    return ROOT


def _link(capability: AnyCapability, names: dict[str, str]) -> AnyCapability:
    link = KIND_OF[type(capability)].link
    return capability if link is None else link(capability, names.get)
