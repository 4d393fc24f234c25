"""read: reads the devices of a host, all or some. Blocking; runs off the event loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Set
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
from nodedevd.tree.find import find, is_definition, listed_in, mdevs_below
from nodedevd.tree.graft import Reading, graft
from nodedevd.tree.nesting import Readings, nest

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
    found = find(sysroot, faults)
    reader = Reader(sysroot, old, job or Job(), unanswered)
    readings: Readings = dict.fromkeys(old.paths)
    for number, (path, directories) in enumerate(found.items()):
        reading = readings[path] = reader.read(path, directories)
        if progress is not None:
            progress(number, len(found))
        for mdev in () if reading is None else mdevs_below(path, reading.capabilities):
            if mdev not in found:  # It is being removed, and its bus does not list it any more.
                readings[mdev] = reader.read_unlisted(mdev)
    nest(sysroot, old, readings, reader.read_unlisted)
    return graft(
        old,
        gone=readings,
        readings=[one for one in readings.values() if one is not None],
        computer=read_computer(sysroot),
        errors=tuple(faults),
    )


class Reader:
    """Reads the devices of one job, except those at the paths `unanswered`, whose read hangs.

    These stay as they are in `old`.
    """

    def __init__(self, sysroot: Sysroot, old: Snapshot, job: Job, unanswered: Set[str]) -> None:
        self._sysroot = sysroot
        self._old = old
        self._job = job
        self._unanswered = unanswered

    def read(self, path: str, listed_in: Iterable[str]) -> Reading | None:
        """Read a device that these directories list, or a definition; None: not a device.

        Raises Abandoned.
        """
        if path in self._unanswered:
            return _stale(path, listed_in, self._old.at(printable_path(path)))
        self._job.start_device(path)
        if is_definition(path):
            return read_inactive(self._sysroot, path)
        return read_device(self._sysroot, path, listed_in)

    def read_unlisted(self, path: str) -> Reading | None:
        """Read a device whose directories were not listed. Raises Abandoned."""
        return self.read(path, listed_in(self._sysroot, path))


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
