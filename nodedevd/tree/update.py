"""update: reads again only what events can have touched. Blocking; runs off the event loop."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Set
from contextlib import suppress

from nodedevd.host.mdev_paths import MDEV_BUS, MDEV_DEVICES, MDEV_TYPES
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds import KIND_OF, KINDS
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.shared.mdevctl import DIRECTORY as DEFINITIONS
from nodedevd.kinds.shared.mdevctl import (
    definition_path,
    definitions_directory,
    find_definitions,
)
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import is_uuid
from nodedevd.tree.graft import Reading, Update, graft
from nodedevd.tree.read import Job, read_all, without_orphans
from nodedevd.tree.related import related

_SUBSYSTEMS = frozenset(
    subsystem for kind in KINDS if kind.subsystems is not None for subsystem in kind.subsystems
)


def update(
    sysroot: Sysroot,
    old: Snapshot,
    touched: Set[str],
    *,
    recount: Set[str] = frozenset(),
    job: Job | None = None,
    unanswered: Set[str] = frozenset(),
) -> Update:
    """Read the devices at these paths, and those that change with them without an event.

    Of the devices at the paths `recount` only what changes without an event is read.

    A path may be that of the device's link in /sys/class, or that of mdevctl's directory.
    """
    job = job or Job()
    sysroot.forget()
    touched = {path for one in touched for path in _devices(sysroot, old, one)}
    readings, doubtful = _recount(sysroot, old, recount - touched - unanswered, job)
    touched |= doubtful
    first = _read(sysroot, old, touched, job, unanswered, readings)
    # The kernel sends an event for a device, and none for those that change along with it.
    others = {path for change in first.changes for path in related(change, first.snapshot)}
    others -= touched
    if not others:
        return first
    second = _read(sysroot, first.snapshot, others, job, unanswered)
    return Update(second.snapshot, (*first.changes, *second.changes))


def _recount(
    sysroot: Sysroot, old: Snapshot, paths: Iterable[str], job: Job
) -> tuple[list[Reading], set[str]]:
    """Read counts; return the devices with other ones, and the paths to be read as a whole."""
    readings = []
    doubtful = set()
    for path in paths:
        job.begin(path)
        device = old.at(path)
        if device is None:
            continue
        capabilities = []
        for capability in device.capabilities:
            recount = KIND_OF[type(capability)].recount
            counted = capability if recount is None else recount(sysroot, path, capability)
            if counted is None:
                doubtful.add(path)
                break
            capabilities.append(counted)
        else:
            if any(map(operator.is_not, capabilities, device.capabilities)):
                readings.append(Reading.of(device, tuple(capabilities)))
    return readings, doubtful


def _read(
    sysroot: Sysroot,
    old: Snapshot,
    paths: Iterable[str],
    job: Job,
    unanswered: Set[str],
    besides: Iterable[Reading] = (),
) -> Update:
    listed = {path: _listed_in(sysroot, path) for path in paths}
    found = {path: listed[path] for path in paths if listed[path] or _concerns(sysroot, old, path)}
    read = [one for one in read_all(sysroot, found, old, job, unanswered) if one is not None]
    readings, gone = without_orphans(sysroot, found, read)
    # Of what was below them the kernel may not have told yet.
    below = {one for path in gone for one in old.below(path)}
    return graft(old, gone={*found, *below}, readings=[*besides, *readings])


def _devices(sysroot: Sysroot, old: Snapshot, path: str) -> Iterator[str]:
    """Return the paths of the devices that a path stands for."""
    if path == DEFINITIONS:
        yield from old.below(DEFINITIONS)
        for definition in find_definitions(sysroot, []):
            yield definition
            uuid = definition.rpartition("/")[2]
            yield from _links_to(sysroot, f"{MDEV_DEVICES}/{uuid}")
        # The device of a definition that was deleted.
        for device in old.select(["mdev_child"]):
            child = device.capability(MdevChild)
            if child is not None and child.defined and device.path is not None:
                yield device.path
    elif path.startswith("/sys/class/"):
        # Only what is known: a new interface is told by a uevent, once udevd has named it.
        yield from [one for one in _links_to(sysroot, path) if old.at(one) is not None]
    else:
        yield path
        # What is defined is one device, there or not: it starts and stops in one change.
        parent, _, name = path.rpartition("/")
        if is_uuid(name):
            yield definition_path(parent.rpartition("/")[2], name)
        yield from old.below(definitions_directory(path))


def _links_to(sysroot: Sysroot, link: str) -> Iterator[str]:
    with suppress(OSError):
        yield sysroot.target(link)


def _concerns(sysroot: Sysroot, old: Snapshot, path: str) -> bool:
    """Tell whether a path is, was or can be a device of the tree."""
    if path.startswith(f"{DEFINITIONS}/"):
        return True
    if old.at(path) is not None or sysroot.exists(f"{path}/{MDEV_TYPES}"):
        return True
    try:
        return sysroot.read_link(f"{path}/subsystem").rpartition("/")[2] in _SUBSYSTEMS
    except OSError:
        return False


def _listed_in(sysroot: Sysroot, path: str) -> list[str]:
    """Tell whether the kernel lists a device as an mdev parent."""
    link = f"{MDEV_BUS}/{path.rpartition('/')[2]}"
    try:
        return [MDEV_BUS] if sysroot.target(link) == path else []
    except OSError:
        return []
