"""read: reads the devices of a host, all or some. Blocking; runs off the event loop."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec

from nodedevd.errors import NodeGone
from nodedevd.host.faults import Fault, fault_of
from nodedevd.host.job import Job, Unanswered
from nodedevd.host.mdev_paths import MDEV_BUS
from nodedevd.host.node import Node
from nodedevd.host.sysroot import Progress, Sysroot
from nodedevd.kinds import KINDS, AnyCapability
from nodedevd.kinds.base import Kind
from nodedevd.kinds.system import DMI, System, read_host
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


def scan(sysroot: Sysroot, *, generation: int = 1, progress: Progress | None = None) -> Snapshot:
    """Read every device of a host. Raises NotASysroot, whatever the host does."""
    return rescan(sysroot, Snapshot(), progress=progress).snapshot.numbered(generation)


def rescan(
    sysroot: Sysroot,
    old: Snapshot,
    *,
    job: Job | None = None,
    progress: Progress | None = None,
) -> Update:
    """Read every device of a host, and return the differences from `old`.

    Devices whose read hangs are not read and stay as in `old`. What an abandoned attempt at the
    same job has read is not read again. Raises NotASysroot, Abandoned, Unanswered.
    """
    job = job or Job()
    sysroot = sysroot.during(job)
    outside = sysroot.reporting()
    outside.check()
    faults: list[Fault] = []
    found = find(outside, faults)
    reader = Reader(sysroot, outside, old)
    readings: Readings = dict.fromkeys(old.paths)
    for number, (path, directories) in enumerate(found.items()):
        if path not in job.done:
            job.done[path] = reader.read(path, directories)
        reading = readings[path] = job.done[path]
        if progress is not None:
            progress(number, len(found))
        for mdev in () if reading is None else mdevs_below(path, reading.capabilities):
            if mdev not in found:  # It is being removed, and its bus does not list it any more.
                readings[mdev] = reader.read_unlisted(mdev)
    nest(outside, old, readings, reader.read_unlisted)
    computer = reader.read_computer()
    known = {fault.attribute for fault in faults}
    faults += [fault_of(path, Unanswered(path)) for path in sorted(job.left_out - known)]
    return graft(
        old,
        gone=readings,
        readings=[one for one in readings.values() if one is not None],
        computer=computer,
        errors=tuple(faults),
    )


class Reader:
    """Reads the devices of one job, except those whose read hangs: these stay as in `old`.

    `outside` is the same host as `sysroot`, for reads that are of no device.
    """

    def __init__(self, sysroot: Sysroot, outside: Sysroot, old: Snapshot) -> None:
        self._sysroot = sysroot
        self._outside = outside
        self._old = old
        self._job = sysroot.job

    def read(self, path: str, listed_in: Iterable[str]) -> Reading | None:
        """Read a device that these directories list, or a definition; None: not a device.

        Raises Abandoned.
        """
        if path in self._job.unanswered:
            return _stale(path, listed_in, self._old.at(printable_path(path)))
        if is_definition(path):
            return self._job.run(path, read_inactive, self._sysroot, path)
        return self._job.run(path, read_device, self._sysroot, path, listed_in)

    def read_unlisted(self, path: str) -> Reading | None:
        """Read a device whose directories were not listed. Raises Abandoned."""
        return self.read(path, listed_in(self._outside, path))

    def read_computer(self) -> Device:
        """Read the root of the tree. Raises Abandoned."""
        if DMI not in self._job.unanswered:
            return self._job.run(DMI, read_computer, self._sysroot)
        before = self._old.get(ROOT) or computer(System(), ())
        return msgspec.structs.replace(before, errors=_with_stale(before.errors))


def _stale(path: str, listed_in: Iterable[str], before: Device | None) -> Reading:
    """Return a device as it was read last, with the fault that says so."""
    if before is None:
        return Reading(printable_path(path), _subsystem(listed_in), None, (), (STALE,), None, ())
    reading = Reading.of(before, before.capabilities)
    return msgspec.structs.replace(reading, errors=_with_stale(before.errors))


def _with_stale(errors: Iterable[Fault]) -> tuple[Fault, ...]:
    return (*[error for error in errors if error != STALE], STALE)


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
    return computer(*read_host(sysroot))


def computer(host: System, faults: tuple[Fault, ...]) -> Device:
    """Return the root of the tree."""
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
