"""related: which devices change along with another one, without an event of their own."""

from __future__ import annotations

from collections.abc import Iterator

from nodedevd.kinds import KIND_OF
from nodedevd.kinds.base import VolatileOf
from nodedevd.model.changes import Change, Changed
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot


def related(change: Change, snapshot: Snapshot) -> set[str | VolatileOf]:
    """Return the paths of the devices to read again after a change of another one."""
    device = change.device
    paths = set(neighbours(device, snapshot))
    if isinstance(change, Changed):
        before = set(neighbours(change.before, snapshot))
        if change.moved:
            paths |= before
        else:
            # Those that it gained or lost: a virtual function gets its link late.
            paths ^= before
        paths.update(_dependents(change, snapshot))
    return paths


def path_of(one: str | VolatileOf) -> str:
    """Return the path of a related device."""
    return one if isinstance(one, str) else one.path


def neighbours(device: Device, snapshot: Snapshot) -> Iterator[str | VolatileOf]:
    """Return the paths of the devices whose description changes when this one comes or goes."""
    for capability in device.capabilities:
        of_kind = KIND_OF[type(capability)].neighbours
        if of_kind is not None:
            yield from of_kind(capability, device, snapshot)
    above = snapshot.get(device.parent or "")
    if above is not None and above.path is not None and _follows_children(above):
        yield above.path


def _follows_children(device: Device) -> bool:
    return any(KIND_OF[type(capability)].follows_children for capability in device.capabilities)


def _dependents(change: Changed, snapshot: Snapshot) -> Iterator[str | VolatileOf]:
    before, after = change.before.capabilities, change.device.capabilities
    for capability in (*before, *after):
        of_kind = KIND_OF[type(capability)].dependents
        if of_kind is not None and not (capability in before and capability in after):
            yield from of_kind(capability, change.device, snapshot)
