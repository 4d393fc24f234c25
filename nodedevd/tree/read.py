"""read: reads the devices of a host, all or some. Blocking; runs off the event loop."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Set
from functools import lru_cache
from typing import Any

import msgspec

from nodedevd.errors import NodeGone, NodeLeaving
from nodedevd.host.faults import Fault, Faults
from nodedevd.host.job import Abandoned, Job, Unanswered
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
from nodedevd.tree.unread import Unread, no_memory

log = logging.getLogger(__name__)

STALE = Fault("", "unreadable", "a read has not returned; the values are stale")
"""The fault of a device whose read hangs."""


_FOUND = "found"
"""Stands in `Job.done` for the paths of all devices, and faults."""


def scan(sysroot: Sysroot, *, generation: int = 1, progress: Progress | None = None) -> Snapshot:
    """Read every device of a host. Raises NotASysroot, HostNotRead, whatever the host does."""
    return rescan(sysroot, Snapshot(), progress=progress).snapshot.numbered(generation)


def rescan(
    sysroot: Sysroot,
    old: Snapshot,
    *,
    job: Job | None = None,
    tolerated: Set[str] = frozenset(),
    progress: Progress | None = None,
) -> Update:
    """Read every device of a host, and return the differences from `old`.

    Devices whose read hangs are not read and stay as in `old`. What an abandoned attempt at the
    same job has read is not read again. What cannot be looked at stays, too; see `Unread`, also
    for `tolerated`. Raises NotASysroot, Abandoned; HostNotRead for a first scan for which the
    process is short of descriptors or memory, or which can list no directory of devices.
    """
    job = job or Job()
    sysroot = sysroot.during(job)
    outside = sysroot.reporting()
    unread = Unread(old, tolerated)
    _check(outside, unread)
    if _FOUND in job.done:
        found, faults = job.done[_FOUND]
        unread.faults += faults
    else:
        found = find(outside, unread.faults)
    unread.note_unlisted()
    reader = Reader(sysroot, outside, old, unread)
    readings: Readings = dict.fromkeys(old.paths)
    unlisted = bool(unread.paths)
    if unlisted:
        # What the directories listed before is looked at by itself.
        found.update(
            {path: unread.unlisted(old.at(path)) for path in old.paths if path not in found}
        )
    else:
        job.done[_FOUND] = found, tuple(unread.faults)
    for number, (path, directories) in enumerate(found.items()):
        if path in job.done:
            reading = readings[path] = job.done[path]
        else:
            read = reader.read_unlisted if unlisted else reader.read
            reading = readings[path] = read(path, directories)
            if path not in unread.paths:
                job.done[path] = reading
        if progress is not None:
            progress(number, len(found))
        for mdev in () if reading is None else mdevs_below(path, reading.capabilities):
            if mdev not in found:  # It is being removed, and its bus does not list it any more.
                readings[mdev] = reader.read_unlisted(mdev)
    nest(outside, old, readings, reader.read_unlisted, unread)
    computer = reader.read_computer()
    for path in sorted(job.left_out - {fault.attribute for fault in unread.faults}):
        unread.faults.add(path, Unanswered(path), own=True)
    unread.check_complete(found)
    update = graft(
        old,
        gone=readings,
        readings=[one for one in readings.values() if one is not None],
        computer=computer,
        errors=tuple(unread.faults),
    )
    return unread.noted(update)


def _check(sysroot: Sysroot, unread: Unread) -> None:
    try:
        sysroot.check()
    except OSError as error:
        unread.faults.add("/sys/devices", error)


class Reader:
    """Reads the devices of one job, except those whose read hangs: these stay as in `old`.

    `outside` is the same host as `sysroot`, for reads that are of no device. What cannot be read
    stays as it was, too: `unread` has it.
    """

    def __init__(self, sysroot: Sysroot, outside: Sysroot, old: Snapshot, unread: Unread) -> None:
        self._sysroot = sysroot
        self._outside = outside
        self._old = old
        self._job = sysroot.job
        self._unread = unread

    def read(self, path: str, listed_in: Iterable[str]) -> Reading | None:
        """Read a device that these directories list, or a definition; None: not a device.

        Raises Abandoned.
        """
        if path in self._job.unanswered:
            return _stale(path, listed_in, self._old.at(printable_path(path)))
        return self._job.run(path, self._read, path, listed_in)

    def _read(self, path: str, listed_in: Iterable[str]) -> Reading | None:
        faults = Faults()
        reading = None
        try:
            if is_definition(path):
                reading = read_inactive(self._sysroot, path, faults)
            else:
                reading = read_device(self._sysroot, path, listed_in, faults)
        except NodeLeaving:
            return self._unread.leaving(path)
        except OSError as error:
            faults.add("", error)
        except MemoryError:
            faults.add("", no_memory())
        if not faults.failed:
            return reading
        return self._unread.settle(path, _subsystem(path, listed_in), reading, faults)

    def read_unlisted(self, path: str, directories: Iterable[str] = ()) -> Reading | None:
        """Read a device that other directories may list besides. Raises Abandoned."""
        try:
            return self.read(path, {*directories, *listed_in(self._outside, path)})
        except OSError as error:
            faults = Faults()
            faults.add("", error)
            return self._unread.settle(path, _subsystem(path, directories), None, faults)

    def read_computer(self) -> Device:
        """Read the root of the tree; it stays as it was if that is not possible."""
        before = self._old.get(ROOT)
        if DMI in self._job.unanswered:
            known = before or _computer(System(), ())
            return msgspec.structs.replace(known, errors=_with_stale(known.errors))
        faults = Faults()
        try:
            computer = self._job.run(DMI, read_computer, self._sysroot, faults)
        except OSError as error:
            faults.add("", error)
            computer = _computer(System(), faults)
        return self._unread.settle_root(computer, before, faults)


def _stale(path: str, listed_in: Iterable[str], before: Device | None) -> Reading:
    """Return a device as it was read last, with the fault that says so."""
    if before is None:
        subsystem = _subsystem(path, listed_in)
        return Reading(printable_path(path), subsystem, None, (), (STALE,), None, ())
    reading = Reading.of(before, before.capabilities)
    return msgspec.structs.replace(reading, errors=_with_stale(before.errors))


def _with_stale(errors: Iterable[Fault]) -> tuple[Fault, ...]:
    return (*[error for error in errors if error != STALE], STALE)


def read_device(
    sysroot: Sysroot,
    path: str,
    listed_in: Iterable[str] = (),
    faults: Faults | None = None,
) -> Reading | None:
    """Read one device in sysfs; None if it is gone, or has no capability.

    `faults` gets those of the device. Raises NodeLeaving, OSError.
    """
    faults = Faults() if faults is None else faults
    try:
        node = Node(
            sysroot, path, subsystem=_subsystem(path, listed_in), listed_in=listed_in, faults=faults
        )
        capabilities = _read_capabilities(node)
        if not capabilities:
            return None
        driver = node.link_name("driver")
        devnode = node.uevent.get("DEVNAME") if node.has("dev") else None
        devlinks = () if devnode is None else node.udev.links
    except NodeGone:
        faults.forget()
        return None
    sysroot.saw(path)  # a recording keeps devices of which nothing but the name is read
    return Reading(
        path=printable_path(path),
        # Many devices have the same: each is in memory once.
        subsystem=None if node.subsystem is None else sys.intern(node.subsystem),
        driver=None if driver is None else sys.intern(driver),
        capabilities=tuple(capabilities),
        errors=tuple(faults),
        devnode=None if devnode is None else f"/dev/{devnode}",
        devlinks=devlinks,
    )


def _read_capabilities(node: Node) -> list[AnyCapability]:
    capabilities = []
    for kind in _kinds(node.subsystem):
        try:
            capability = kind.read(node)
        except (Abandoned, NodeGone, NodeLeaving, OSError, MemoryError):
            raise
        except Exception as error:  # a defect in one kind costs that capability alone
            log.exception("%s: reading %s failed", node.path, kind.name)
            node.faults.add_defect(kind.name, error)
            continue
        if capability is not None:
            capabilities.append(capability)
    return capabilities


@lru_cache(maxsize=256)
def _kinds(subsystem: str | None) -> tuple[Kind[Any], ...]:
    return tuple(
        [kind for kind in KINDS if kind.subsystems is None or subsystem in kind.subsystems]
    )


def _subsystem(path: str, listed_in: Iterable[str]) -> str | None:
    """Return the bus or class whose directory lists the device, or has its definitions."""
    if is_definition(path):
        return next(iter(_DEFINABLE))
    for directory in listed_in:
        _, _, top, name, *_ = f"{directory}//".split("/")
        if (top == "bus" or top == "class") and directory != MDEV_BUS:
            return name
    return None


def read_inactive(sysroot: Sysroot, path: str, faults: Faults | None = None) -> Reading | None:
    """Read an inactive device from its definition; None if that is gone, or it is active.

    `faults` gets those of the device. Raises OSError.
    """
    faults = Faults() if faults is None else faults
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


def read_computer(sysroot: Sysroot, faults: Faults | None = None) -> Device:
    """Read the root of the tree, the host itself; its faults are of the DMI directory.

    Raises OSError.
    """
    faults = Faults() if faults is None else faults
    return _computer(read_host(sysroot, faults), faults)


def _computer(host: System, faults: Iterable[Fault]) -> Device:
    return Device(
        name=ROOT,
        path=None,
        parent=None,
        subsystem=None,
        sysname=None,
        driver=None,
        capabilities=(host,),
        errors=tuple(faults),
        devnode=None,
        devlinks=(),
    )
