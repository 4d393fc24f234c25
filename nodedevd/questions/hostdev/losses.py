"""losses: what this host loses with a PCI function, and what it uses of that now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from nodedevd.host.assignment import AssignmentFacts
from nodedevd.host.assignment.blocks import BlockDevice
from nodedevd.host.assignment.interfaces import Interface
from nodedevd.kinds.net import Net
from nodedevd.kinds.storage import Storage
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot


def loses(snapshot: Snapshot, function: Device, facts: AssignmentFacts) -> list[str]:
    """Return the names of the devices that disappear with a function, disks and interfaces first.

    A disk that NVMe reaches by several controllers disappears with the last of them.
    """
    if function.path is None:
        return []
    paths = [*snapshot.below(function.path), *_Stack(facts.blocks, [function.path]).lost]
    found = {one.name: one for one in map(snapshot.at, paths) if one is not None}
    vital = [name for name, one in found.items() if _is_vital(one)]
    return [*vital, *(name for name in found if name not in vital)]


def _is_vital(device: Device) -> bool:
    return device.capability(Storage) is not None or device.capability(Net) is not None


def note_uses(
    snapshot: Snapshot, functions: Iterable[Device], facts: AssignmentFacts, notes: list[str]
) -> None:
    """Note what the host uses of the devices that disappear with functions."""
    paths = [one.path for one in functions if one.path is not None]
    if not paths:
        return
    uses = uses_of(paths, facts)
    if uses.used:
        notes.append(f"the host uses what it loses: {'; '.join(uses.used)}")
    notes += [f"{one}, and works on with the others" for one in uses.degraded]
    notes += unknown_uses(snapshot, paths, facts)


class Uses(NamedTuple):
    """What the host uses of the devices that disappear with functions, as sentences."""

    used: Sequence[str]
    """what stops working: mounts, swap space, addresses"""
    stacked: Sequence[str]
    """what lies on a lost disk, used or not: volumes, arrays"""
    degraded: Sequence[str]
    """what works on with less: arrays and paths"""


def uses_of(paths: Sequence[str], facts: AssignmentFacts) -> Uses:
    """Return what the host uses of what disappears with the functions at these sysfs paths."""
    stack = _Stack(facts.blocks, paths)
    return Uses(
        used=[*_of_disks(stack, facts), *_of_interfaces(paths, facts)],
        stacked=list(stack.stacked),
        degraded=[f"{name} loses some of its {part}" for name, part in stack.degraded],
    )


def _of_disks(stack: _Stack, facts: AssignmentFacts) -> Iterator[str]:
    for path in stack.lost:
        block = facts.blocks[path]
        for mount in block.mounts:
            yield f"{mount} is mounted from {block.name}"
        if block.swap:
            yield f"{block.name} is swap space"
        if block.pool:
            yield f"{block.name} is a member of a {block.pool} pool"


def _of_interfaces(paths: Sequence[str], facts: AssignmentFacts) -> Iterator[str]:
    interfaces = facts.interfaces
    for one in interfaces.values():
        if not _is_below(one.path, paths):
            continue
        if one.has_address:
            yield f"{one.name} has an address"
        for upper in _uppers(one, interfaces):
            above = interfaces.get(upper)
            address = ", which has an address" if above is not None and above.has_address else ""
            yield f"{one.name} is a part of {upper}{address}"
    for path in sorted(facts.elsewhere):
        if _is_below(path, paths):
            yield f"an interface of {path.rpartition('/')[2]} is in another network namespace"


def _uppers(interface: Interface, interfaces: Mapping[str, Interface]) -> list[str]:
    """Return the interfaces that lie on one, directly or not."""
    found: dict[str, None] = {}
    todo = list(interface.uppers)
    while todo:
        name = todo.pop(0)
        if name not in found and name != interface.name:
            found[name] = None
            todo += interfaces[name].uppers if name in interfaces else ()
    return list(found)


def lost_blocks(paths: Sequence[str], facts: AssignmentFacts) -> list[str]:
    """Return the paths of the block devices that disappear, or stop working, with functions."""
    return _Stack(facts.blocks, paths).lost


def unknown_uses(snapshot: Snapshot, paths: Sequence[str], facts: AssignmentFacts) -> Iterator[str]:
    """Yield what could not be read of the devices that are lost."""
    below = [one for path in paths for one in map(snapshot.at, snapshot.below(path)) if one]
    disks = any(one.capability(Storage) is not None for one in below)
    interfaces = any(one.capability(Net) is not None for one in below)
    yield from unknown_uses_of(paths, facts, disks=disks, interfaces=interfaces)


def unknown_uses_of(
    paths: Sequence[str], facts: AssignmentFacts, *, disks: bool = False, interfaces: bool = False
) -> Iterator[str]:
    """Yield what could not be read of what disappears with the functions at these sysfs paths.

    Args:
        paths: The functions.
        facts: What is known.
        disks: Whether there are disks that the facts may lack.
        interfaces: Whether there are such interfaces.
    """
    disks = disks or bool(lost_blocks(paths, facts))
    interfaces = interfaces or any(_is_below(one.path, paths) for one in facts.interfaces.values())
    if disks and not facts.mounts_known:
        yield "whether the host uses a lost disk is unknown: its mounts cannot be read"
    elif disks and not facts.swaps_known:
        yield "whether a lost disk is swap space is unknown: /proc/swaps cannot be read"
    if interfaces and not facts.addresses_known:
        yield "whether the host uses a lost interface is unknown: addresses cannot be read"


def _is_below(path: str, others: Iterable[str]) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in others)


class _Stack:
    """The block devices that disappear with functions: disks, and what lies on them."""

    def __init__(self, blocks: Mapping[str, BlockDevice], functions: Sequence[str]) -> None:
        self._blocks = blocks
        above: dict[str, list[str]] = {}
        for path, block in blocks.items():
            for lower in block.below:
                above.setdefault(lower, []).append(path)
        # What lies below need not be a block device: NVMe has controllers.
        todo = [path for path in {*blocks, *above} if _is_below(path, functions)]
        self._gone = set(todo)
        while todo:
            for path in above.get(todo.pop(), ()):
                if path not in self._gone and self._fails(blocks[path]):
                    self._gone.add(path)
                    todo.append(path)

    def _fails(self, block: BlockDevice) -> bool:
        """Return whether a device of which a part is gone stops working."""
        return block.redundant is None or self._gone.issuperset(block.below)

    @property
    def lost(self) -> list[str]:
        """The paths of the block devices that disappear, or stop working."""
        return [path for path in self._blocks if path in self._gone]

    @property
    def stacked(self) -> Iterator[str]:
        """What lies on lost disks, and is neither a partition nor a disk of its own.

        A disk that NVMe reaches by several controllers lies on these only.
        """
        for path in self.lost:
            for lower in self._blocks[path].below:
                if lower in self._blocks and lower != path.rpartition("/")[0]:
                    yield f"{self._blocks[path].name} lies on {self._blocks[lower].name}"

    @property
    def degraded(self) -> list[tuple[str, str]]:
        """The names of the block devices that work on, and what they lose a part of."""
        return [
            (block.name, block.redundant)
            for path, block in self._blocks.items()
            if path not in self._gone
            and block.redundant is not None
            and not self._gone.isdisjoint(block.below)
        ]
