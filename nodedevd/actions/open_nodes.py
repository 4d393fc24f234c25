"""open_nodes: refuses to take a PCI function away while a process has a device below it open.

A VM may have a disk by its node, and a program a GPU: neither goes through VFIO, and no mount
shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from nodedevd.actions.facts import ActionFacts
from nodedevd.errors import DeviceInUse
from nodedevd.host.assignment import AssignmentFacts
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.hostdev.losses import lost_blocks

_BLOCK: Final = "block"
_UDEV: Final = frozenset({"(udev-worker)", "systemd-udevd", "udevd"})
"""Processes that open each new device for a moment."""


def devices_with_nodes(
    snapshot: Snapshot, paths: Sequence[str], assignment: AssignmentFacts
) -> tuple[list[str], list[str]]:
    """Return the sysfs paths of what has a node and is lost with functions.

    Character devices, and block devices: disks, partitions, and what lies on them.
    """
    characters = [
        path
        for above in paths
        for path in snapshot.below(above)
        if (device := snapshot.at(path)) is not None
        and device.devnode is not None
        and device.subsystem != _BLOCK
        and device.capability(MdevChild) is None
    ]
    return characters, lost_blocks(paths, assignment)


def refuse_if_nodes_are_open(
    snapshot: Snapshot, functions: Iterable[Device], facts: ActionFacts
) -> None:
    """Refuse functions below which a process has a device open, or may have. Raises DeviceInUse."""
    for function in functions:
        if function.path is None:
            continue
        characters, blocks = devices_with_nodes(snapshot, [function.path], facts.assignment)
        nodes = frozenset((*characters, *blocks))
        if not nodes:
            continue
        for use in _uses(nodes, facts):
            raise DeviceInUse(function.name, True, use)
        if facts.open_nodes is None or not facts.open_nodes.complete:
            names = ", ".join(sorted(path.rpartition("/")[2] for path in nodes))
            detail = f"a process may have the node of a device open that would be lost: {names}"
            raise DeviceInUse(function.name, False, detail)


def _uses(nodes: frozenset[str], facts: ActionFacts) -> Iterator[str]:
    scan = facts.open_nodes
    for one in () if scan is None else scan.open_files:
        if one.process.process in _UDEV:
            continue
        for path in sorted(nodes & one.nodes):
            who = "a process"
            if facts.names_processes:  # other users may not see the processes of each other
                who = f"{one.process.process} (pid {one.process.pid})"
            yield f"{who} has {path.rpartition('/')[2]} open; have it closed first"
