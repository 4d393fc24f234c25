"""Changes: how one snapshot differs from the one before."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import msgspec

from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot


class Added(NamedTuple):
    """A device that was not there before."""

    device: Device


_FIELDS = ("path", "devnode", "devlinks", "parent", "subsystem", "sysname", "driver", "errors")


class Changed(NamedTuple):
    """A device that is different now; the name is the same."""

    before: Device
    device: Device

    @property
    def moved(self) -> bool:
        """Whether the name is another device's now: an mdev's, or that of its definition."""
        return self.before.path != self.device.path

    @property
    def parts(self) -> tuple[str, ...]:
        """What differs: fields of the device, and the types of its capabilities."""
        parts = [
            name for name in _FIELDS if getattr(self.before, name) != getattr(self.device, name)
        ]
        before = dict(zip(self.before.types, self.before.capabilities, strict=True))
        after = dict(zip(self.device.types, self.device.capabilities, strict=True))
        types = dict.fromkeys((*self.before.types, *self.device.types))
        parts += [kind for kind in types if before.get(kind) != after.get(kind)]
        return tuple(parts)


class Removed(NamedTuple):
    """A device that is not there any more, as it was last."""

    device: Device


Change: TypeAlias = Added | Changed | Removed


class Update(msgspec.Struct, frozen=True):
    """A new snapshot, and how it differs from the one before."""

    snapshot: Snapshot
    changes: tuple[Change, ...]
