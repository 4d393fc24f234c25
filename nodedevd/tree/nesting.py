"""nesting: makes readings that began and ended at different times agree on what lies below what.

The kernel adds a device after all devices above it, and removes it before them. A read of many
devices takes time: it can find an mdev and then no parent, or no parent yet and then its mdev. The
tree would have the mdev below another device, and watchers would see the parent removed first, or
added last. So the readings that depend on the order are made again, in the order that decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.shared.mdevctl import definition_path, definitions_directory
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import is_uuid
from nodedevd.text import printable_path
from nodedevd.tree.find import is_definition, is_listed
from nodedevd.tree.graft import Reading, lost, tree_path
from nodedevd.tree.unread import Unread

Readings: TypeAlias = dict[str, Reading | None]
"""What was read, by path. None: there is no such device, or it has no capability."""

Read: TypeAlias = Callable[[str], Reading | None]
"""Reads the device at a path, or the definition."""


def nest(sysroot: Sysroot, old: Snapshot, readings: Readings, read: Read, unread: Unread) -> None:
    """Add readings, and replace those that the others have outdated.

    Afterwards no device is read below one that has left the tree, and every device that the
    kernel has above one that was read is in the tree.

    Args:
        sysroot: The host.
        old: The tree that the readings change.
        readings: What was read. A scan of the whole host has every path of `old` in it.
        read: Reads one more.
        unread: What cannot be read; it gets what cannot be looked at here.
    """
    new, lessened = _compared(old, readings)
    for path in _outdated(lessened, old, readings):
        readings[path] = read(path)
    # A device that is not new may have lost only what has left.
    below = tuple(readings) if lessened else new
    look = _Look(sysroot, unread)
    gone = [*_gone(look, below, old, readings, read), *_below_gone(look, old, readings, unread)]
    for path in _without(gone, old, readings):
        readings[path] = None
        for definition in with_definition(path):
            if definition != path:
                readings[definition] = read(definition)
    if unread.deferred:
        _pair(old, readings, unread)
        _leave_out_below(old, readings, unread)


def with_definition(path: str) -> Iterator[str]:
    """Return a path, and for an mdev that of its definition.

    The two are one device, which starts or stops in one change. The definition comes last: it is
    read as inactive only after the mdev was found to be gone.
    """
    yield path
    parent, _, name = path.rpartition("/")
    if is_uuid(name):
        yield definition_path(parent.rpartition("/")[2], name)


def _compared(old: Snapshot, readings: Readings) -> tuple[list[str], list[str]]:
    """Return the paths of new devices, and of those that have left or lost a capability."""
    new, lessened = [], []
    for path, reading in readings.items():
        before = old.at(path if reading is None else reading.path)
        if before is None:
            if reading is not None:
                new.append(path)
        elif reading is None or lost(before, reading):
            lessened.append(path)
    return new, lessened


def _outdated(lessened: Iterable[str], old: Snapshot, readings: Readings) -> list[str]:
    """Return what lay below a device that has left or lost a capability: it left before.

    Its own events may still be on their way, and a reading of it may be older.
    """
    outdated: dict[str, None] = {}
    for path in map(printable_path, lessened):
        for below in (*old.below(path), *old.below(definitions_directory(path))):
            if below not in readings or readings[below] is not None:
                outdated.update(dict.fromkeys(with_definition(below)))
    return list(outdated)


class _Look:
    """Asks what is there; what it cannot tell counts as there, and is noted in `unread`."""

    def __init__(self, sysroot: Sysroot, unread: Unread) -> None:
        self._sysroot = sysroot
        self._unread = unread

    def exists(self, path: str) -> bool:
        try:
            return self._sysroot.exists(path)
        except OSError as error:
            self._unread.look(path, error)
            return True

    def is_listed(self, path: str) -> bool | None:
        """Return whether a scan finds the device at a path; None if that cannot be told."""
        try:
            return is_listed(self._sysroot, path)
        except OSError as error:
            self._unread.look(path, error)
            return None


def _below_gone(look: _Look, old: Snapshot, readings: Readings, unread: Unread) -> Iterator[str]:
    """Yield the devices that could not be read, and lie below a directory that is gone."""
    for path in unread.kept:
        for above in _above(path):
            before = old.at(above)
            if before is None or readings.get(above, before) is not None:
                continue
            if not look.exists(above):
                yield path
                break
            if above in unread.deferred:  # It cannot be told whether it is gone.
                readings[above] = unread.shown_as_it_was(before, unread.deferred[above])


def _leave_out_below(old: Snapshot, readings: Readings, unread: Unread) -> None:
    """Leave out new devices below one that is left out: they would be moved once it is read."""
    for path, reading in readings.items():
        if reading is None or path in unread.tolerated:
            continue
        if old.at(reading.path) is None:
            for above in _above(tree_path(reading) if is_definition(path) else path):
                if above in unread.deferred:
                    unread.defer(path, above)
                    readings[path] = None
                    break


def _pair(old: Snapshot, readings: Readings, unread: Unread) -> None:
    """Keep one of an mdev and its definition while it is not known what the other one is."""
    for path, fault in unread.deferred.items():
        for other in _other_half(path, old):
            before = old.at(other)
            if before is not None and readings.get(other, before) is None:
                readings[other] = unread.shown_as_it_was(before, fault)


def _other_half(path: str, old: Snapshot) -> Iterator[str]:
    """Return the path of the definition of an mdev, or those of the mdevs of a definition."""
    if not is_definition(path):
        yield from [one for one in with_definition(path) if one != path]
        return
    for device in old.by_sysname(path.rpartition("/")[2]):
        if device.path is not None and path in with_definition(device.path):
            yield device.path


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _gone(
    look: _Look, paths: Iterable[str], old: Snapshot, readings: Readings, read: Read
) -> list[str]:
    """Look above devices that were read, and return those that turn out to be gone.

    A device above that the tree lacks may have come since, and is read (again). If it is not
    there, the device below may be gone as well.
    """
    is_missing: dict[str, bool] = {}
    gone = []
    for path in paths:
        reading = readings[path]
        if reading is None:
            continue
        # A first scan has been sent to no client yet.
        doubtful = len(old) > 0 and old.at(reading.path) is None
        for above in _unknown_above(path, reading, old, readings, is_missing):
            if above not in is_missing:
                is_there = look.is_listed(above)
                if is_there:
                    readings[above] = read(above)
                is_missing[above] = (
                    is_there is not None
                    and readings.get(above) is None
                    and (above in readings or not look.exists(above))
                )
            doubtful |= is_missing[above]
        if doubtful and not look.exists(path):
            gone.append(path)
    return gone


def _unknown_above(
    path: str, reading: Reading, old: Snapshot, readings: Readings, looked_at: Mapping[str, object]
) -> Iterator[str]:
    """Return what lies above a device up to one that the tree has, or that was looked at."""
    is_new = old.at(reading.path) is None
    above = path if path.startswith("/sys/") else tree_path(reading)
    while above := above.rpartition("/")[0]:
        if above in looked_at:
            yield above
            return
        if above in readings:
            if readings[above] is not None:
                return
        elif old.at(above) is not None:
            return
        elif not is_new or above.endswith(f"/{reading.subsystem}"):
            continue  # a directory between two devices: as before, or that of the class
        yield above


def _without(gone: list[str], old: Snapshot, readings: Readings) -> set[str]:
    """Return these paths, and those of all devices below them."""
    if not gone:
        return set()
    without = set(gone)
    for path in gone:
        without.update(old.below(printable_path(path)))
    for path in readings:
        above = path
        while above := above.rpartition("/")[0]:
            if above in without:
                without.add(path)
                break
    return without
