"""listing: devices in brief and in full, as lists, snapshots and watches have them."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from nodedevd.kinds import KINDS
from nodedevd.model.device import Device, State

Content: TypeAlias = Literal["none", "json", "xml"]
"""What the events of a watch have of a device, besides its name: nothing, its JSON, or its XML."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A device in a list."""

    name: str
    parent: str | None
    path: str | None
    capabilities: tuple[str, ...]
    """types of its capabilities"""
    state: State
    type: str | None
    """id of the mdev type, or of the vGPU profile that is set; None if there is none or it is
    unknown"""
    type_name: str | None


_HELD_TYPE = {kind.capability: kind.held_type for kind in KINDS if kind.held_type is not None}


def entry(device: Device) -> Entry:
    """Return the entry of a device."""
    held = None
    for capability in device.capabilities:
        held_type = _HELD_TYPE.get(type(capability))
        if held_type is not None:
            held = held_type(capability)
    return Entry(
        device.name,
        device.parent,
        device.path,
        device.types,
        device.state,
        None if held is None else held.id,
        None if held is None else held.name,
    )


class DeviceList(msgspec.Struct, frozen=True, gc=False):
    """Devices in brief, at one generation of the tree."""

    generation: int
    devices: tuple[Entry, ...]


class Devices(msgspec.Struct, frozen=True, gc=False):
    """Devices in full, at one generation of the tree."""

    generation: int
    devices: tuple[Device, ...]


class XmlDocument(msgspec.Struct, frozen=True):
    """Devices as XML, at one generation of the tree."""

    generation: int
    xml: str
