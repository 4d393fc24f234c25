"""nesting: makes readings that began and ended at different times agree on what lies below what.

The kernel adds a device after all devices above it, and removes it before them. A read of many
devices takes time: it can find an mdev and then no parent, or no parent yet and then its mdev. The
tree would have the mdev below another device, and watchers would see the parent removed first, or
added last. So the readings that depend on the order are made again, in the order that decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.shared.mdevctl import definition_path, definitions_directory
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import is_uuid
from nodedevd.text import printable_path
from nodedevd.tree.find import is_listed
from nodedevd.tree.graft import Reading, lost, tree_path

Readings: TypeAlias = dict[str, Reading | None]
"""What was read, by path. None: there is no such device, or it has no capability."""

Read: TypeAlias = Callable[[str], Reading | None]
"""Reads the device at a path, or the definition."""


def nest(sysroot: Sysroot, old: Snapshot, readings: Readings, read: Read) -> None:
    """Add readings, and replace those that the others have outdated.

    Afterwards no device is read below one that has left the tree, and every device that the
    kernel has above one that was read is in the tree.

    Args:
        sysroot: The host.
        old: The tree that the readings change.
        readings: What was read. A scan of the whole host has every path of `old` in it.
        read: Reads one more.
    """
    for path in _outdated(old, readings):
        readings[path] = read(path)
    for path in _without(_gone(sysroot, old, readings, read), old, readings):
        readings[path] = None
        for definition in with_definition(path):
            if definition != path:
                readings[definition] = read(definition)


def with_definition(path: str) -> Iterator[str]:
    """Return a path, and for an mdev that of its definition.

    The two are one device, which starts or stops in one change. The definition comes last: it is
    read as inactive only after the mdev was found to be gone.
    """
    yield path
    parent, _, name = path.rpartition("/")
    if is_uuid(name):
        yield definition_path(parent.rpartition("/")[2], name)


def _outdated(old: Snapshot, readings: Readings) -> list[str]:
    """Return what lay below a device that has left, or lost a capability: it left before.

    Its own events may still be on their way, and a reading of it may be older.
    """
    outdated: dict[str, None] = {}
    for path, reading in readings.items() if len(old) else ():
        shown = path if reading is None else reading.path
        before = old.at(shown)
        if before is None or (reading is not None and not lost(before, reading)):
            continue
        for below in (*old.below(shown), *old.below(definitions_directory(shown))):
            if readings.get(below, before) is not None:
                outdated.update(dict.fromkeys(with_definition(below)))
    return list(outdated)


def _gone(sysroot: Sysroot, old: Snapshot, readings: Readings, read: Read) -> list[str]:
    """Look above the devices that were read, and return those that turn out to be gone.

    A device above that the tree lacks may have come since, and is read (again). If it is not
    there, the device below may be gone as well.
    """
    looked_at: dict[str, bool] = {}  # whether it is missing, of those that the tree lacks
    gone = []
    for path, reading in tuple(readings.items()):
        if reading is None:
            continue
        is_new = old.at(reading.path) is None
        doubtful = is_new and len(old) > 0
        above = path if path.startswith("/sys/") else tree_path(reading)
        while above := above.rpartition("/")[0]:
            if above in looked_at:
                doubtful |= looked_at[above]
                break
            if above in readings:
                if readings[above] is not None:
                    break
            elif old.at(above) is not None:
                break
            elif not is_new:
                continue  # a directory between two devices, as it was
            if is_listed(sysroot, above):
                readings[above] = read(above)
            looked_at[above] = readings.get(above) is None and (
                above in readings or not sysroot.exists(above)
            )
            doubtful |= looked_at[above]
        if doubtful and not sysroot.exists(path):
            gone.append(path)
    return gone


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
