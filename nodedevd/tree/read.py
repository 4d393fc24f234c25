"""read: reads the devices of a host, all or some. Blocking; runs off the event loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from typing import Any

import msgspec

from nodedevd.errors import NodedevError, NodeGone
from nodedevd.host.faults import Fault
from nodedevd.host.mdev_paths import MDEV_BUS
from nodedevd.host.node import Node
from nodedevd.host.sysroot import Progress, Sysroot
from nodedevd.kinds import KINDS, AnyCapability
from nodedevd.kinds.base import Kind
from nodedevd.kinds.system import read_host
from nodedevd.model.changes import Update
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import ROOT
from nodedevd.text import printable_path
from nodedevd.tree.find import find, find_removing, is_definition
from nodedevd.tree.graft import Reading, graft

log = logging.getLogger(__name__)

STALE = Fault("", "unreadable", "a read has not returned; the values are stale")
"""The fault of a device whose read hangs."""


class Abandoned(NodedevError):
    """The result of this job is not needed: another job has replaced it."""

    code = "abandoned"


class Job:
    """The progress of a scan or update: the reading thread reports it, the event loop reads it."""

    def __init__(self) -> None:
        self.path: str | None = None
        """the device that is being read"""
        self.since: float = time.monotonic()
        """when its read began, as time.monotonic()"""
        self.abandoned = False
        """set by the event loop, to end the job at the next device"""

    def start_device(self, path: str) -> None:
        """Report that the read of a device begins. Raises Abandoned."""
        if self.abandoned:
            raise Abandoned
        self.path, self.since = path, time.monotonic()


def scan(sysroot: Sysroot, *, generation: int = 1, progress: Progress | None = None) -> Snapshot:
    """Read every device of a host. Raises NotASysroot, whatever the host does."""
    return rescan(sysroot, Snapshot(), progress=progress).snapshot.numbered(generation)


def rescan(
    sysroot: Sysroot,
    old: Snapshot,
    *,
    job: Job | None = None,
    unanswered: Set[str] = frozenset(),
    progress: Progress | None = None,
) -> Update:
    """Read every device of a host, and return the differences from `old`.

    Devices at the paths `unanswered`, whose read hangs, are not read and stay as in `old`.
    Raises NotASysroot, Abandoned.
    """
    sysroot.check()
    sysroot.forget()
    faults: list[Fault] = []
    job = job or Job()
    found = find(sysroot, faults)
    readings = []
    removing: dict[str, set[str]] = {}
    for number, reading in enumerate(read_all(sysroot, found, old, job, unanswered)):
        if progress is not None:
            progress(number, len(found))
        if reading is not None:
            readings.append(reading)
            removing |= find_removing(reading.path, reading.capabilities, found)
    if removing:
        found |= removing
        late = read_all(sysroot, removing, old, job, unanswered)
        readings += [reading for reading in late if reading is not None]
    readings, _ = without_orphans(sysroot, found, readings)
    computer = read_computer(sysroot)
    return graft(old, gone=old.paths, readings=readings, computer=computer, errors=tuple(faults))


def without_orphans(
    sysroot: Sysroot, found: Iterable[str], readings: Sequence[Reading]
) -> tuple[list[Reading], set[str]]:
    """Drop the readings of devices below a device that was gone when its turn came.

    The kernel removes the devices below a device first, so these were gone by then, too.

    Returns:
        The other readings, and the paths of the devices that are gone.
    """
    read = {reading.path: reading for reading in readings}
    gone = {path for path in found if printable_path(path) not in read and not sysroot.exists(path)}
    if not gone:
        return list(readings), gone
    return [one for one in readings if gone.isdisjoint(_ancestors(one.path))], gone


def _ancestors(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def read_all(
    sysroot: Sysroot,
    found: Mapping[str, Iterable[str]],
    old: Snapshot,
    job: Job,
    unanswered: Set[str],
) -> Iterator[Reading | None]:
    """Read devices, given by path with the directories that list them; None: not a device."""
    for path, listed_in in found.items():
        if path in unanswered:
            yield _stale(path, listed_in, old.at(printable_path(path)))
        else:
            job.start_device(path)
            if is_definition(path):
                yield read_inactive(sysroot, path)
            else:
                yield read_device(sysroot, path, listed_in)


def _stale(path: str, listed_in: Iterable[str], before: Device | None) -> Reading:
    """Return a device as it was read last, with the fault that says so."""
    if before is None:
        return Reading(printable_path(path), _subsystem(listed_in), None, (), (STALE,), None, ())
    errors = tuple(error for error in before.errors if error != STALE)
    return msgspec.structs.replace(Reading.of(before, before.capabilities), errors=(*errors, STALE))


def read_device(sysroot: Sysroot, path: str, listed_in: Iterable[str] = ()) -> Reading | None:
    """Read one device in sysfs; None if it is gone, or has no capability."""
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
    sysroot.saw(path)  # a recording keeps devices of which nothing but the name is read
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
    """Return the bus or class whose directory lists the device."""
    for directory in listed_in:
        _, _, top, name, *_ = f"{directory}//".split("/")
        if (top == "bus" or top == "class") and directory != MDEV_BUS:
            return name
    return None


def read_inactive(sysroot: Sysroot, path: str) -> Reading | None:
    """Read an inactive device from its definition; None if that is gone, or it is active."""
    faults: list[Fault] = []
    for subsystem, definable in _DEFINABLE.items():
        capability = definable.read(sysroot, path, faults)
        if capability is not None:
            return Reading(
                path=printable_path(path),
                subsystem=subsystem,
                driver=None,
                capabilities=(capability,),
                errors=tuple(faults),
                devnode=None,
                devlinks=(),
            )
    return None


_DEFINABLE = {
    subsystem: kind.definable
    for kind in KINDS
    if kind.definable is not None
    for subsystem in kind.subsystems or ()
}


def read_computer(sysroot: Sysroot) -> Device:
    """Read the root of the tree, the host itself; its faults are of the DMI directory."""
    host, faults = read_host(sysroot)
    return Device(
        name=ROOT,
        path=None,
        parent=None,
        subsystem=None,
        sysname=None,
        driver=None,
        capabilities=(host,),
        errors=faults,
        devnode=None,
        devlinks=(),
    )
