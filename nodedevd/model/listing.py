"""listing: devices in full, as snapshots and watches have them, and what lists have of one."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from nodedevd.kinds import KINDS
from nodedevd.model.brief import Entry
from nodedevd.model.device import Device

Content: TypeAlias = Literal["none", "json", "xml"]
"""What the events of a watch have of a device, besides its name: nothing, its JSON, or its XML."""

_HELD_TYPE = {kind.capability: kind.held_type for kind in KINDS if kind.held_type is not None}


def entry(device: Device) -> Entry:
    """Return the entry of a device."""
    held = None
    if not _HELD_TYPE.keys().isdisjoint(map(type, device.capabilities)):
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


class Devices(msgspec.Struct, frozen=True, gc=False):
    """Devices in full, at one generation of the tree."""

    generation: int
    devices: tuple[Device, ...]


class XmlDocument(msgspec.Struct, frozen=True):
    """Devices as XML, at one generation of the tree."""

    generation: int
    xml: str
