"""listing: devices in brief and in full, as lists, snapshots and watches have them."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from nodedevd.kinds.vgpu import Vgpu
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
    """False for an mdev that is defined, but not there"""
    profile: str | None
    """name, or else id, of the vGPU profile that is set on a function; None of all others"""


def entry(device: Device) -> Entry:
    """Return what a list tells of a device."""
    vgpu = device.capability(Vgpu)
    profile = None if vgpu is None or vgpu.current is None else vgpu.current
    return Entry(
        device.name,
        device.parent,
        device.path,
        device.types,
        device.active,
        None if profile is None else profile.name or profile.id,
    )


class DeviceList(msgspec.Struct, frozen=True, gc=False):
    """Devices in brief, at one generation."""

    generation: int
    devices: tuple[Entry, ...]


class Devices(msgspec.Struct, frozen=True, gc=False):
    """Devices in full, at one generation."""

    generation: int
    devices: tuple[Device, ...]
