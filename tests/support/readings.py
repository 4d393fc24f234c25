"""A snapshot made of readings, without a host."""

from __future__ import annotations

from collections.abc import Iterable

from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.graft import Reading, graft


def assemble(computer: Device, readings: Iterable[Reading]) -> Snapshot:
    """Return the tree of a whole host."""
    return graft(Snapshot([computer], generation=0), readings=readings).snapshot
