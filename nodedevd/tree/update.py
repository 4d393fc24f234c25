"""update: reads the devices again that events can have changed. Blocking; off the event loop."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Set
from contextlib import suppress

from nodedevd.host.faults import Faults
from nodedevd.host.job import Job
from nodedevd.host.listing import target_of
from nodedevd.host.mdev_paths import MDEV_DEVICES
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds import KIND_OF, AnyCapability
from nodedevd.kinds.base import VolatileOf
from nodedevd.kinds.shared.mdevctl import DIRECTORY as DEFINITIONS
from nodedevd.kinds.shared.mdevctl import definitions_directory, find_definitions
from nodedevd.model.changes import Update
from nodedevd.model.definitions import is_defined
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.text import printable_path
from nodedevd.tree.find import listed_in, may_be_device
from nodedevd.tree.graft import Reading, graft
from nodedevd.tree.nesting import Readings, nest, with_definition
from nodedevd.tree.read import Reader
from nodedevd.tree.related import neighbours, path_of, related
from nodedevd.tree.unread import Unread


def update(
    sysroot: Sysroot,
    old: Snapshot,
    touched: Set[str],
    *,
    volatile: Set[str] = frozenset(),
    polled: Set[str] = frozenset(),
    job: Job | None = None,
    tolerated: Set[str] = frozenset(),
) -> Update:
    """Read some devices again, and those that change along with them without an event.

    Args:
        sysroot: The host.
        old: The tree as it was.
        touched: Paths to read: of devices, of links in /sys/class, or of mdevctl's directory.
        volatile: Paths of devices of which only volatile values are read.
        polled: Paths of devices that are read if one cheap read shows a change.
        job: Where to report progress; it has the devices whose read hangs, which are left as
            they were.
        tolerated: Paths of new devices that are shown even if they cannot be read; see `Unread`.

    Raises Abandoned; NotASysroot if devices are gone because sysfs is.
    """
    job = job or Job()
    sysroot = sysroot.during(job)
    outside = sysroot.reporting()
    unread = Unread(old, tolerated)
    asked = touched
    touched = {path for one in touched for path in _devices(outside, old, one, unread)}
    # A device whose read hung in an earlier attempt is published as stale.
    touched |= {path for path in job.hung if old.at(printable_path(path)) is not None}
    readings, doubtful = _reread_volatile(sysroot, old, volatile - touched - job.unanswered)
    touched |= doubtful
    touched |= {
        path for path in polled - touched - job.unanswered if _is_outdated(sysroot, old, path)
    }
    new = _read(sysroot, outside, old, touched, unread, readings)
    # The kernel sends an event for a device, and none for those that change along with it: a
    # bridge with its port, a VLAN with that bridge, the counts of a card's functions with a vGPU.
    changes = new.changes
    seen, reread = set(touched), set(volatile)
    while True:
        others, shared = _others(new)
        others -= seen
        shared -= seen | others | reread
        if not others | shared:
            break
        readings, doubtful = _reread_volatile(sysroot, new.snapshot, shared - job.unanswered)
        others |= doubtful
        seen |= others
        reread |= shared
        new = _read(sysroot, outside, new.snapshot, others, unread, readings)
        changes += new.changes
    errors = unread.errors(asked | seen, DEFINITIONS if DEFINITIONS in asked else None)
    snapshot = graft(new.snapshot, errors=errors).snapshot
    return unread.noted(Update(snapshot, changes))


def _others(update: Update) -> tuple[set[str], set[str]]:
    """Return the paths to read as a whole, and those of which only volatile values are read."""
    found = {one for change in update.changes for one in related(change, update.snapshot)}
    whole = {one for one in found if isinstance(one, str)}
    return whole, {one.path for one in found if isinstance(one, VolatileOf)}


def _reread_volatile(
    sysroot: Sysroot, old: Snapshot, paths: Iterable[str]
) -> tuple[list[Reading], set[str]]:
    """Return the devices whose volatile values differ, and the paths to read as a whole."""
    readings = []
    doubtful = set()
    for path in paths:
        device = old.at(path)
        if device is None:
            continue
        if device.errors:
            doubtful.add(path)  # One of them may be of a value that can be read by now.
            continue
        capabilities = sysroot.job.run(path, _volatile, sysroot, path, device)
        if capabilities is None:
            doubtful.add(path)
        elif any(map(operator.is_not, capabilities, device.capabilities)):
            readings.append(Reading.of(device, capabilities))
    return readings, doubtful


def _volatile(sysroot: Sysroot, path: str, device: Device) -> tuple[AnyCapability, ...] | None:
    """Return a device's capabilities with their volatile values; None: read it as a whole."""
    capabilities = []
    for capability in device.capabilities:
        reread = KIND_OF[type(capability)].reread_volatile
        try:
            new = capability if reread is None else reread(sysroot, path, capability)
        except OSError:
            return None
        if new is None:
            return None
        capabilities.append(new)
    return tuple(capabilities)


def _is_outdated(sysroot: Sysroot, old: Snapshot, path: str) -> bool:
    device = old.at(path)
    return device is not None and sysroot.job.run(path, _differs, sysroot, path, device)


def _differs(sysroot: Sysroot, path: str, device: Device) -> bool:
    for capability in device.capabilities:
        outdated = KIND_OF[type(capability)].outdated
        if outdated is not None and outdated(sysroot, path, capability):
            return True
    return False


def _read(
    sysroot: Sysroot,
    outside: Sysroot,
    old: Snapshot,
    paths: Iterable[str],
    unread: Unread,
    besides: Iterable[Reading] = (),
) -> Update:
    unread.old = old
    reader = Reader(sysroot, outside, old, unread)
    readings: Readings = {one.path: one for one in besides}
    # What lies below comes first, so that a parent is read when its new children are known; and
    # an mdev before its definition.
    for path in sorted(paths, reverse=True):
        if old.at(path) is not None or _may_be_device(outside, path, unread):
            readings[path] = reader.read_unlisted(path)
    nest(outside, old, readings, reader.read_unlisted, unread)
    left = [path for path, reading in readings.items() if reading is None]
    if any(old.at(path) is not None for path in left):
        with suppress(OSError):
            outside.check()  # Without sysfs every device would be gone.
    return graft(old, gone=left, readings=[one for one in readings.values() if one is not None])


def _may_be_device(sysroot: Sysroot, path: str, unread: Unread) -> bool:
    try:
        return may_be_device(sysroot, path) or bool(listed_in(sysroot, path))
    except OSError as error:
        unread.look(path, error)
        return False


def _devices(sysroot: Sysroot, old: Snapshot, path: str, unread: Unread) -> Iterator[str]:
    """Return the paths of the devices that a touched path stands for."""
    if path == DEFINITIONS:
        yield from _defined(sysroot, old, unread)
    elif path.startswith("/sys/class/"):
        yield from _stacked(old, _target(sysroot, path, unread))
    else:
        yield from with_definition(path)
        yield from old.below(definitions_directory(path))


def _stacked(old: Snapshot, paths: Iterable[str]) -> set[str]:
    """Return the interfaces at these paths, and those that are stacked on them.

    A bond learns that a port has failed after the port did, and the message is the port's alone.
    A new interface is left to its uevent, which comes once udevd has named it.
    """
    found: set[str] = set()
    todo = list(paths)
    while todo:
        path = todo.pop()
        device = old.at(path)
        if device is not None and path not in found:
            found.add(path)
            todo += map(path_of, neighbours(device, old))
    return found


def _defined(sysroot: Sysroot, old: Snapshot, unread: Unread) -> Iterator[str]:
    """Return the paths of all definitions, and of the devices that have one, or had one."""
    yield from old.below(DEFINITIONS)
    unlisted = Faults()
    definitions = list(find_definitions(sysroot, unlisted))
    unread.definitions_unlisted(DEFINITIONS, unlisted)
    for definition in definitions:
        yield definition
        link = f"{MDEV_DEVICES}/{definition.rpartition('/')[2]}"
        for path in _target(sysroot, link, unread, again=DEFINITIONS):
            yield path
            if old.at(path) is None:
                yield path.rpartition("/")[0]  # It may not be known as a parent yet.
    for device in old:
        if device.path is not None and is_defined(device):
            yield device.path


def _target(
    sysroot: Sysroot, link: str, unread: Unread, *, again: str | None = None
) -> Iterator[str]:
    """Yield what a link leads to, if anything; if that fails, the link or `again` is read again."""
    try:
        path = target_of(sysroot, link)
    except OSError as error:
        unread.look(again or link, error)
        return
    if path is not None:
        yield path
