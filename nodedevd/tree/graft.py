"""assembly: puts what was read of devices into a tree, and tells what that changed.

Pure: readings and a snapshot in, a snapshot and changes out. A first scan is the change of an
empty tree, so there is one way to get to a tree, and it depends on nothing but what was read.
Work grows with what is put in, not with the tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from nodedevd.host.faults import Fault
from nodedevd.kinds import KIND_OF, AnyCapability
from nodedevd.kinds.shared.mdevctl import DIRECTORY as DEFINITIONS
from nodedevd.model.changes import Added, Change, Changed, Removed, Update
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import ROOT, device_name, distinct_name


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One device as it was read, before it is named and put into the tree."""

    path: str
    subsystem: str | None
    driver: str | None
    capabilities: tuple[AnyCapability, ...]
    errors: tuple[Fault, ...]
    devnode: str | None
    devlinks: tuple[str, ...]

    @property
    def sysname(self) -> str:
        """The kernel's name of the device."""
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


def assemble(computer: Device, readings: Iterable[Reading]) -> Snapshot:
    """Build the tree of a whole host."""
    return graft(Snapshot([computer], generation=0), readings=readings).snapshot


def graft(
    old: Snapshot,
    *,
    gone: Iterable[str] = (),
    readings: Iterable[Reading] = (),
    computer: Device | None = None,
    errors: tuple[Fault, ...] | None = None,
) -> Update:
    """Take away the devices at the paths `gone`, put in those that were read.

    A device that turns out the same is the same object in both snapshots; if nothing is
    different, so is the snapshot. Each change counts the generation up by one.
    """
    read = {reading.path: reading for reading in readings}
    lost = {path for path in gone if path not in read and old.at(path) is not None}
    names = _Names(old, lost, read)
    # Who lies below a device that came, went or was renamed may have another parent now.
    moved = [path for path in (*lost, *read) if names.before(path) != names.after(path)]
    moved += names.renamed
    below: set[str] = set()
    for path in moved if len(old) else ():
        below.update(old.below(path))
        # Definitions hang at it by its kernel name.
        below.update(old.below(f"{DEFINITIONS}/{path.rpartition('/')[2]}"))
    devices: dict[str, Device] = {}
    for path, reading in read.items():
        devices[path] = _device(reading, names)
    for path in (below | set(names.renamed)) - lost - read.keys():
        device = old.at(path)
        if device is not None:
            devices[path] = _device(device, names)
    kept = []
    for device in devices.values():
        before = old.at(device.path)
        kept.append(before if before is not None and before == device else device)
    if computer is not None:
        before = old.get(computer.name)
        kept.append(before if before is not None and before == computer else computer)
    return _difference(old, lost, kept, names, old.errors if errors is None else errors)


class _Names:
    """What devices are called, before and after."""

    def __init__(self, old: Snapshot, lost: set[str], read: Mapping[str, Reading]) -> None:
        self._old = old
        self._lost = lost
        self._new: dict[str, str] = {}
        self.contested = dict(old.contested)
        claims: dict[str, set[str]] = {}
        for path in (*lost, *read):
            device = old.at(path)
            if device is not None:
                claims.setdefault(_wanted(device), set())
        for path, reading in read.items():
            claims.setdefault(_wanted(reading), set()).add(path)
        for wanted, claimants in claims.items():
            for path in old.claimants(wanted):
                if path not in lost and path not in read:
                    claimants.add(path)
            self._share(wanted, claimants)
        self.renamed = [
            path for path in self._new if path not in read and self.before(path) != self.after(path)
        ]

    def _share(self, wanted: str, claimants: set[str]) -> None:
        first = wanted != ROOT
        for path in claimants if len(claimants) == 1 else sorted(claimants, key=_rank):
            self._new[path] = wanted if first else distinct_name(wanted, path)
            first = False
        if len(claimants) > 1 or (claimants and wanted == ROOT):
            self.contested[wanted] = frozenset(claimants)
        else:
            self.contested.pop(wanted, None)

    def before(self, path: str) -> str | None:
        device = self._old.at(path)
        return None if device is None else device.name

    def after(self, path: str) -> str | None:
        """Return the name of the device at a path, None if there is none."""
        if path in self._lost:
            return None
        return self._new.get(path) or self.before(path)


def _rank(path: str) -> tuple[bool, str]:
    """Return what decides who gets a name: a device that is there before a mere definition."""
    return not path.startswith("/sys/"), path


def _wanted(device: Device | Reading) -> str:
    """Return the name a device gets if no other one wants it."""
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
    )


def tree_path(source: Reading | Device) -> str:
    """Return the path that says whose child a device is: its own, unless it is only defined."""
    for capability in source.capabilities:
        of_kind = KIND_OF[type(capability)].tree_path
        if of_kind is not None:
            return of_kind(capability) or ""
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
    lost: set[str],
    devices: Iterable[Device],
    names: _Names,
    errors: tuple[Fault, ...],
) -> Update:
    new = {device.name: device for device in devices}
    vanished = [device for path in lost if (device := old.at(path)) is not None]
    vanished += [was for device in new.values() if (was := old.at(device.path)) is not None]
    removed = {device.name: device for device in vanished if device.name not in new}
    changes = list(_ordered(old, new, removed))
    if not changes and errors == old.errors and names.contested == old.contested:
        return Update(old, ())
    snapshot = old.replaced(
        removed=removed,
        devices=new.values(),
        changes=len(changes),
        errors=errors,
        contested=names.contested,
    )
    return Update(snapshot, tuple(changes))


def _ordered(
    old: Snapshot, new: Mapping[str, Device], removed: Mapping[str, Device]
) -> Iterator[Change]:
    """Parents before children when they come, children before parents when they go.

    What goes goes last: nothing ever hangs below a device that is gone already.
    """
    ordered = [(old.get(device.name), device) for device in sorted(new.values(), key=tree_path)]
    for before, device in ordered:
        if before is None:
            yield Added(device)
    for before, device in ordered:
        if before is not None and before != device:
            yield Changed(before, device)
    for device in sorted(removed.values(), key=tree_path, reverse=True):
        yield Removed(device)
