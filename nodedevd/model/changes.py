"""changes: the differences between two snapshots."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import msgspec

from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot


class Added(NamedTuple):
    """A new device."""

    device: Device


_FIELDS = (
    "path",
    "state",
    "devnode",
    "devlinks",
    "parent",
    "subsystem",
    "sysname",
    "driver",
    "errors",
    "layout",
)


class Changed(NamedTuple):
    """A device of the same name that differs."""

    before: Device
    device: Device

    @property
    def moved(self) -> bool:
        """Whether the path differs: the device was replaced, or an mdev was started or stopped."""
        return self.before.path != self.device.path

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that differ: fields of the device, and types of its capabilities."""
        parts = [
            name for name in _FIELDS if getattr(self.before, name) != getattr(self.device, name)
        ]
        before = dict(zip(self.before.types, self.before.capabilities, strict=True))
        after = dict(zip(self.device.types, self.device.capabilities, strict=True))
        types = dict.fromkeys((*self.before.types, *self.device.types))
        parts += [kind for kind in types if before.get(kind) != after.get(kind)]
        return tuple(parts)


class Removed(NamedTuple):
    """A device that is no longer present, as it was last."""

    device: Device


Change: TypeAlias = Added | Changed | Removed


class Update(msgspec.Struct, frozen=True):
    """A new snapshot, and how it differs from the one before."""

    snapshot: Snapshot
    changes: tuple[Change, ...]
    unread: frozenset[str] = frozenset()
    """paths that could not be read, and what `tree/unread` has in their place"""
    doubtful: bool = False
    """whether the snapshot may differ from the host for what could not be read, and can be later"""
    short: bool = False
    """whether something was not read for want of descriptors or memory"""
