"""Source: where a tool has its devices from, a daemon or a scan of its own."""

from __future__ import annotations

import msgspec

from nodedevd.kinds import KINDS
from nodedevd.model.device import Device


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A device in a list."""

    name: str
    parent: str | None
    path: str | None
    capabilities: tuple[str, ...]
    active: bool
    """False for an mdev that is defined, but not there"""
    profile: str | None
    """name, or else id, of the vGPU profile that is set on a function; None of all others"""


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
    """Devices in brief, at one generation."""

    generation: int
    devices: tuple[Entry, ...]


class Devices(msgspec.Struct, frozen=True, gc=False):
    """Devices in full, at one generation."""

    generation: int
    devices: tuple[Device, ...]
