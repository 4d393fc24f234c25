"""graft: puts readings of devices into a tree, and returns the changes.

A pure function of a snapshot and readings. A first scan is a change of the empty tree, so every
tree is made in the same way and depends only on the readings. The time grows with the number of
readings, not with the size of the tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from nodedevd.host.faults import Fault
from nodedevd.kinds import KIND_OF, AnyCapability
from nodedevd.kinds.shared.mdevctl import definitions_directory
from nodedevd.model.changes import Added, Change, Changed, Removed, Update
from nodedevd.model.device import Device
from nodedevd.model.layout import CardLayout
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import ROOT, device_name, distinct_name


class Reading(msgspec.Struct, frozen=True, gc=False):
    """A device as it was read, before it has a name and a parent."""

    path: str
    subsystem: str | None
    driver: str | None
    capabilities: tuple[AnyCapability, ...]
    errors: tuple[Fault, ...]
    devnode: str | None
    devlinks: tuple[str, ...]

    @property
    def sysname(self) -> str:
        """The kernel name of the device."""
        return self.path.rpartition("/")[2]

    @classmethod
    def of(cls, device: Device, capabilities: tuple[AnyCapability, ...]) -> Reading:
        """Return a device as if it had just been read, with these capabilities."""
        return cls(
            path=device.path or "",
            subsystem=device.subsystem,
            driver=device.driver,
            capabilities=capabilities,
            errors=device.errors,
            devnode=device.devnode,
            devlinks=device.devlinks,
        )


ReadingOrDevice = TypeVar("ReadingOrDevice", Reading, Device)


def graft(
    old: Snapshot,
    *,
    gone: Iterable[str] = (),
    readings: Iterable[Reading] = (),
    computer: Device | None = None,
    errors: tuple[Fault, ...] | None = None,
) -> Update:
    """Remove the devices at the paths `gone`, and add or replace those that were read.

    A device that stays the same is the same object in both snapshots; if all do, so is the
    snapshot. Each change increments the generation.

    Args:
        old: The tree before.
        gone: Paths of devices that are gone, unless there is a reading of them.
        readings: Devices that were read.
        computer: The root, if it was read.
        errors: Faults of directories, if all were listed.
    """
    if len(old):
        read = {one.path: recalled(one, old.at(one.path)) for one in readings}
    else:
        read = {one.path: one for one in readings}
    removed = {path for path in gone if path not in read and old.at(path) is not None}
    names = _Names(old, removed, read)
    # A device below one that came, went or was renamed may have another parent now.
    moved = list(names.renamed)
    if len(old):
        moved += [path for path in (*removed, *read) if names.before(path) != names.after(path)]
    below: set[str] = set()
    for path in moved:
        below.update(old.below(path))
        # The path of a definition has the kernel name of its parent.
        below.update(old.below(definitions_directory(path)))
    devices: dict[str, Device] = {}
    for path, reading in read.items():
        devices[path] = _device(reading, names)
    for path in (below | set(names.renamed)) - removed - read.keys():
        device = old.at(path)
        if device is not None:
            devices[path] = _device(device, names)
    kept = [] if len(old) else list(devices.values())
    for device in devices.values() if len(old) else ():
        before = old.at(device.path)
        kept.append(before if before is not None and before == device else device)
    if computer is not None:
        before = old.get(computer.name)
        kept.append(before if before is not None and before == computer else computer)
    return _difference(old, removed, kept, names, old.errors if errors is None else errors)


def recalled(source: ReadingOrDevice, before: Device | None) -> ReadingOrDevice:
    """Return a device as it was read, with what only the reading before it could still see."""
    if before is None:
        return source
    for capability in source.capabilities:
        recall = KIND_OF[type(capability)].recall
        known = None if recall is None else before.capability(type(capability))
        if recall is not None and known is not None:
            new = recall(capability, known)
            if new is not capability:
                others = [new if one is capability else one for one in source.capabilities]
                source = msgspec.structs.replace(source, capabilities=tuple(others))
    return source


class _Names:
    """The names of devices, before and after."""

    def __init__(self, old: Snapshot, removed: set[str], read: Mapping[str, Reading]) -> None:
        self._old = old
        self._is_first = not len(old)
        self._removed = removed
        self._new: dict[str, str] = {}
        self.shared = dict(old.shared_names)
        paths_named: dict[str, set[str]] = {}
        for path in () if self._is_first else (*removed, *read):
            device = old.at(path)
            if device is not None:
                paths_named.setdefault(usual_name(device), set())
        for path, reading in read.items():
            paths_named.setdefault(usual_name(reading), set()).add(path)
        for name, paths in paths_named.items():
            for path in () if self._is_first else old.paths_named(name):
                if path not in removed and path not in read:
                    paths.add(path)
            self._assign(name, paths)
        self.renamed = [
            path for path in self._new if path not in read and self.before(path) != self.after(path)
        ]

    def _assign(self, name: str, paths: set[str]) -> None:
        """Give the first of the devices that would have a name this name, the others another."""
        first = name != ROOT
        for path in paths if len(paths) == 1 else sorted(paths, key=_rank):
            self._new[path] = name if first else distinct_name(name, path)
            first = False
        if len(paths) > 1 or (paths and name == ROOT):
            self.shared[name] = frozenset(paths)
        else:
            self.shared.pop(name, None)

    def before(self, path: str) -> str | None:
        device = None if self._is_first else self._old.at(path)
        return None if device is None else device.name

    def layout(self, path: str) -> CardLayout | None:
        """Return how the device at a path compared with its layout file before."""
        device = None if self._is_first else self._old.at(path)
        return None if device is None else device.layout

    def after(self, path: str) -> str | None:
        """Return the name of the device at a path, None if there is no such device."""
        if path in self._removed:
            return None
        return self._new.get(path) or self.before(path)


def _rank(path: str) -> tuple[bool, str]:
    """Return the sort key of devices with one name: active ones come first, then by path."""
    return not path.startswith("/sys/"), path


def usual_name(device: Device | Reading) -> str:
    """Return the name that a device has unless another device has it, too."""
    suffix = None
    for capability in device.capabilities:
        suffix_of = KIND_OF[type(capability)].suffix
        if suffix_of is not None:
            suffix = suffix_of(capability)
    return device_name(device.subsystem, device.sysname or "", suffix)


def _device(source: Reading | Device, names: _Names) -> Device:
    path = source.path or ""
    return Device(
        name=names.after(path) or "",
        path=path,
        parent=_parent(tree_path(source), names),
        subsystem=source.subsystem,
        sysname=source.sysname,
        driver=source.driver,
        capabilities=tuple([_link(cap, names) for cap in source.capabilities]),
        errors=source.errors,
        devnode=source.devnode,
        devlinks=source.devlinks,
        layout=names.layout(path),
    )


def tree_path(source: Reading | Device) -> str:
    """Return the path that determines a device's parent: its own, or the one it has when active."""
    for capability in source.capabilities:
        definable = KIND_OF[type(capability)].definable
        if definable is not None:
            return definable.tree_path(capability) or ""
    return source.path or ""


def _parent(path: str, names: _Names) -> str:
    while path := path.rpartition("/")[0]:
        name = names.after(path)
        if name is not None:
            return name
    return ROOT


def _link(capability: AnyCapability, names: _Names) -> AnyCapability:
    link = KIND_OF[type(capability)].link
    return capability if link is None else link(capability, names.after)


def _difference(
    old: Snapshot,
    removed_paths: set[str],
    devices: Iterable[Device],
    names: _Names,
    errors: tuple[Fault, ...],
) -> Update:
    new = {device.name: device for device in devices}
    vanished = [device for path in removed_paths if (device := old.at(path)) is not None]
    if len(old):
        vanished += [was for device in new.values() if (was := old.at(device.path)) is not None]
    removed = {device.name: device for device in vanished if device.name not in new}
    changes = _ordered(old, new, removed)
    if not changes and errors == old.errors and names.shared == old.shared_names:
        return Update(old, ())
    snapshot = old.replaced(
        removed=removed,
        devices=new.values(),
        changes=len(changes),
        errors=errors,
        shared_names=names.shared,
    )
    return Update(snapshot, tuple(changes))


def _ordered(
    old: Snapshot, new: Mapping[str, Device], removed: Mapping[str, Device]
) -> list[Change]:
    """Return the changes: parents before children, and children before parents for removals.

    A device that gains a capability is a new one to some watchers, and one that loses a
    capability a removed one, so they have their places among these. Removals come last, so that
    no device is ever below one that is already removed.
    """
    first: list[Change] = []
    then: list[Change] = []
    last: list[Change] = [Removed(device) for device in removed.values()]
    for device in sorted(new.values(), key=tree_path):
        before = old.get(device.name)
        if before is None:
            first.append(Added(device))
        elif before is not device:
            order = last if lost(before, device) else first if lost(device, before) else then
            order.append(Changed(before, device))
    last.sort(key=_tree_path_before, reverse=True)
    return [*first, *then, *last]


def _tree_path_before(change: Change) -> str:
    return tree_path(change.before if isinstance(change, Changed) else change.device)


def lost(before: Device | Reading, after: Device | Reading) -> bool:
    """Return whether a device had a type of capability that it no longer has."""
    types, now = tuple(map(type, before.capabilities)), tuple(map(type, after.capabilities))
    return types != now and not set(types).issubset(now)
