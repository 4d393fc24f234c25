"""listing: devices in brief and in full, as lists, snapshots and watches have them."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from nodedevd.kinds import KINDS
from nodedevd.model.device import Device

Content: TypeAlias = Literal["none", "json", "xml"]
"""What the events of a watch have of a device, besides its name: nothing, its JSON, or its XML."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A device in a list."""

    name: str
    parent: str | None
    path: str | None
    capabilities: tuple[str, ...]
    active: bool
    """False for a defined mdev that is not started"""
    profile: str | None
    """name or id of the vGPU profile that is set on a function; None for other devices"""


_PROFILE_OF = {kind.capability: kind.profile for kind in KINDS if kind.profile is not None}


def entry(device: Device) -> Entry:
    """Return the entry of a device."""
    profiles = [
        _PROFILE_OF[type(one)](one) for one in device.capabilities if type(one) in _PROFILE_OF
    ]
    return Entry(
        device.name,
        device.parent,
        device.path,
        device.types,
        device.active,
        profiles[0] if profiles else None,
    )


class DeviceList(msgspec.Struct, frozen=True, gc=False):
    """Devices in brief, at one generation of the tree."""

    generation: int
    devices: tuple[Entry, ...]


class Devices(msgspec.Struct, frozen=True, gc=False):
    """Devices in full, at one generation of the tree."""

    generation: int
    devices: tuple[Device, ...]
