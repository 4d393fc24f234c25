"""scan: walks a sysroot and builds the tree of its devices. Blocking; runs off the event loop.

Reads  /sys/bus/*/devices, /sys/class/*, /sys/class/mdev_bus, /sys/bus/mdev/devices
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from typing import Any

import msgspec

from nodedevd.errors import NodedevError, NodeGone
from nodedevd.host.faults import Fault
from nodedevd.host.mdev_paths import MDEV_BUS, MDEV_DEVICES, MDEV_TYPES
from nodedevd.host.node import Node
from nodedevd.host.sysroot import Progress, Sysroot
from nodedevd.kinds import KINDS, AnyCapability, mdev_child, system
from nodedevd.kinds.base import Kind
from nodedevd.kinds.shared.mdevctl import DIRECTORY as DEFINITIONS
from nodedevd.kinds.shared.mdevctl import find_definitions
from nodedevd.model.changes import Update
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import ROOT
from nodedevd.text import printable_path
from nodedevd.tree.graft import Reading, graft

log = logging.getLogger(__name__)

_SUBSYSTEMS = sorted(
    {subsystem for kind in KINDS if kind.subsystems is not None for subsystem in kind.subsystems}
)


UNANSWERED = Fault("", "unreadable", "a read has not returned; what is shown is older")


class Abandoned(NodedevError):
    """Nobody waits for this scan any more: another one has taken its place."""

    code = "abandoned"


class Job:
    """What a scan is at. The scan thread writes, the event loop reads and may abandon it."""

    def __init__(self) -> None:
        self.path: str | None = None
        """the device being read"""
        self.since: float = time.monotonic()
        """time.monotonic() when that began"""
        self.abandoned = False

    def begin(self, path: str) -> None:
        """Go on to a device. Raises Abandoned."""
        if self.abandoned:
            raise Abandoned
        self.path, self.since = path, time.monotonic()


def scan(sysroot: Sysroot, *, generation: int = 1, progress: Progress | None = None) -> Snapshot:
    """Read every device of a host. Raises NotASysroot; nothing else a host does raises."""
    return rescan(sysroot, Snapshot(), progress=progress).snapshot.numbered(generation)


def rescan(
    sysroot: Sysroot,
    old: Snapshot,
    *,
    job: Job | None = None,
    unanswered: Set[str] = frozenset(),
    progress: Progress | None = None,
) -> Update:
    """Read every device of a host, and tell what is not as in `old`.

    Devices at the paths `unanswered` are left as they were: a read of theirs still hangs.
    """
    sysroot.check()
    sysroot.forget()
    faults: list[Fault] = []
    found = find(sysroot, faults)
    readings = []
    for number, reading in enumerate(read_all(sysroot, found, old, job or Job(), unanswered)):
        if progress is not None:
            progress(number, len(found))
        if reading is not None:
            readings.append(reading)
    readings, _ = without_orphans(sysroot, found, readings)
    computer = read_computer(sysroot)
    return graft(old, gone=old.paths, readings=readings, computer=computer, errors=tuple(faults))


def without_orphans(
    sysroot: Sysroot, found: Iterable[str], readings: Sequence[Reading]
) -> tuple[list[Reading], set[str]]:
    """Leave out what was read below a device that was gone when its turn came.

    The kernel takes away what is below a device first, so by then that was gone, too.

    Returns:
        The readings left, and the paths of the devices that are gone.
    """
    read = {reading.path for reading in readings}
    gone = {path for path in found if printable_path(path) not in read and not sysroot.exists(path)}
    if not gone:
        return list(readings), gone
    return [one for one in readings if gone.isdisjoint(_above(one.path))], gone


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def read_all(
    sysroot: Sysroot,
    found: Mapping[str, Iterable[str]],
    old: Snapshot,
    job: Job,
    unanswered: Set[str],
) -> Iterator[Reading | None]:
    """Read devices, given by path with the directories that led there; None: there is none."""
    for path, listed_in in found.items():
        if path in unanswered:
            yield _left_alone(path, listed_in, old.at(printable_path(path)))
        else:
            job.begin(path)
            if path.startswith(f"{DEFINITIONS}/"):
                yield read_inactive_mdev(sysroot, path)
            else:
                yield read_device(sysroot, path, listed_in)


def _left_alone(path: str, listed_in: Iterable[str], before: Device | None) -> Reading:
    if before is None:
        return Reading(
            printable_path(path), _subsystem(listed_in), None, (), (UNANSWERED,), None, ()
        )
    errors = tuple(error for error in before.errors if error != UNANSWERED)
    return msgspec.structs.replace(
        Reading.of(before, before.capabilities), errors=(*errors, UNANSWERED)
    )


def find(sysroot: Sysroot, faults: list[Fault]) -> dict[str, set[str]]:
    """Return the path of every device to read, with the directories that led to it."""
    found: dict[str, set[str]] = {}
    searched = set()
    for subsystem in _SUBSYSTEMS:
        for directory in (f"/sys/bus/{subsystem}/devices", f"/sys/class/{subsystem}"):
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
    for path in [path for path in found if MDEV_DEVICES in found[path]]:
        parent = path.rpartition("/")[0]
        if parent not in found and sysroot.exists(f"{parent}/{MDEV_TYPES}"):
            found[parent] = set()
    found.update((path, set()) for path in find_definitions(sysroot, faults))
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
    """Follow one link of a directory of devices; None if it leads to none, or is no link."""
    try:
        path = sysroot.target(link)
    except OSError:
        return None
    return path if path.startswith("/sys/devices/") else None


def _names(sysroot: Sysroot, directory: str, faults: list[Fault]) -> list[str]:
    try:
        return sorted(sysroot.listdir(directory))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            code = errno.errorcode.get(error.errno or 0, "?")
            refused = error.errno in (errno.EACCES, errno.EPERM)
            faults.append(
                Fault(printable_path(directory), "refused" if refused else "unreadable", code)
            )
        return []


def read_device(sysroot: Sysroot, path: str, listed_in: Iterable[str] = ()) -> Reading | None:
    """Read one device; None if it is gone, or has no capability."""
    try:
        node = Node(sysroot, path, subsystem=_subsystem(listed_in), listed_in=listed_in)
        capabilities = _read_capabilities(node)
        driver = node.link_name("driver")
        devnode = node.uevent.get("DEVNAME") if node.has("dev") else None
        devlinks = () if devnode is None else node.udev.links
    except NodeGone:
        return None
    if not capabilities:
        return None
    sysroot.saw(path)  # of some nothing is read but their name
    return Reading(
        path=printable_path(path),
        subsystem=node.subsystem,
        driver=driver,
        capabilities=tuple(capabilities),
        errors=tuple(node.faults),
        devnode=None if devnode is None else f"/dev/{devnode}",
        devlinks=devlinks,
    )


def _read_capabilities(node: Node) -> list[AnyCapability]:
    capabilities = []
    for kind in _kinds(node.subsystem):
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


@lru_cache(maxsize=256)
def _kinds(subsystem: str | None) -> tuple[Kind[Any], ...]:
    return tuple(
        [kind for kind in KINDS if kind.subsystems is None or subsystem in kind.subsystems]
    )


def _subsystem(listed_in: Iterable[str]) -> str | None:
    """Tell the subsystem from the directory of a bus or class that lists the device."""
    for directory in listed_in:
        _, _, top, name, *_ = f"{directory}//".split("/")
        if (top == "bus" or top == "class") and directory != MDEV_BUS:
            return name
    return None


def read_inactive_mdev(sysroot: Sysroot, path: str) -> Reading | None:
    """Read the definition of an mdev; None if it is gone, or the mdev is there."""
    faults: list[Fault] = []
    capability = mdev_child.read_inactive(sysroot, path, faults)
    if capability is None:
        return None
    return Reading(
        path=printable_path(path),
        subsystem="mdev",
        driver=None,
        capabilities=(capability,),
        errors=tuple(faults),
        devnode=None,
        devlinks=(),
    )


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
        devnode=None,
        devlinks=(),
    )
