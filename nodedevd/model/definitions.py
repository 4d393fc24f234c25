"""Definitions: devices that mdevctl can start, whether or not they are active now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from nodedevd.kinds import KINDS
from nodedevd.kinds.base import Capability, Definable
from nodedevd.model.device import Device

_DEFINABLE: dict[type[Capability], Definable[Any]] = {
    kind.capability: kind.definable for kind in KINDS if kind.definable is not None
}


def is_definable(device: Device) -> bool:
    """Return whether mdevctl could have a definition of such a device."""
    return not _DEFINABLE.keys().isdisjoint(map(type, device.capabilities))


def is_defined(device: Device) -> bool:
    """Return whether mdevctl has a definition of the device."""
    return any(of_kind.defined(capability) for capability, of_kind in _definable(device))


def has_autostart(device: Device) -> bool:
    """Return whether mdevctl starts the device along with its parent."""
    return any(of_kind.autostart(capability) for capability, of_kind in _definable(device))


def _definable(device: Device) -> Iterator[tuple[Capability, Definable[Any]]]:
    for capability in device.capabilities:
        of_kind = _DEFINABLE.get(type(capability))
        if of_kind is not None:
            yield capability, of_kind


def as_defined(device: Device) -> Device:
    """Return a device as its definition describes it; others than active mdevs stay as they are."""
    if not device.active or not is_definable(device):
        return device
    capabilities = [
        _DEFINABLE[type(one)].inactive(one) if type(one) in _DEFINABLE else one
        for one in device.capabilities
    ]
    return replace(
        device, path=None, driver=None, devnode=None, devlinks=(), capabilities=tuple(capabilities)
    )
