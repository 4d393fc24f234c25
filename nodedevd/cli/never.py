"""Refuses to wait for what can never come true."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from nodedevd.client import Condition, MdevChild, NodedevError
from nodedevd.kinds.shared.vgpu_types import type_matches
from nodedevd.model.device import Device
from nodedevd.names import ROOT, is_uuid, parse_mdev_name, parse_pci
from nodedevd.questions.vgpus import VgpuFunction, vgpu_functions

Devices: TypeAlias = Mapping[str, Device]
Reason: TypeAlias = Callable[[Devices], str | None]
"""Returns why the devices can never meet a condition; None if they may."""

_REGISTERING_SECONDS: Final = 0.9
"""A driver creates the types of a parent one by one, and a scan may see only some of them."""
_NAME: Final = re.compile("[A-Za-z0-9_]+")
_TYPES_SHOWN: Final = 4


class NeverTrue(NodedevError):
    """The condition of a wait cannot come true."""

    code = "never-true"
    reason: str

    def __str__(self) -> str:
        return f"this can never come true: {self.reason}"


def refusing(condition: Condition, reason: Reason) -> Condition:
    """Return a condition that raises NeverTrue if it does not hold and never can."""

    def reached(devices: Devices) -> bool:
        if condition.reached(devices):
            return True
        found = reason(devices)
        if found is not None:
            raise NeverTrue(found)
        return False

    return msgspec.structs.replace(condition, reached=reached)


def never_named(name: str) -> Reason:
    """Return the reason for a name in none of the forms that a device can have."""
    known = parse_mdev_name(name) or parse_pci(name) or is_uuid(name) or name.startswith("/sys/")
    if known or _NAME.fullmatch(name):
        return lambda devices: None
    return lambda devices: f"{name!r} is no device name, UUID, PCI address or path below /sys"


def never_gone(name: str) -> Reason:
    """Return the reason for the root of the tree, which is the host."""
    return lambda devices: f"{name} is the host itself" if ROOT in devices else None


def never_available(parent: str, wanted: str, count: int) -> Reason:
    """Return the reason for vGPUs that a device which is present does not have room for."""
    by_name = never_named(parent)
    since: float | None = None

    def reason(devices: Devices) -> str | None:
        nonlocal since
        found = next(filter(None, [_short(one, wanted, count) for one in devices.values()]), None)
        since = (since or time.monotonic()) if found is not None else None
        if since is not None and time.monotonic() - since >= _REGISTERING_SECONDS:
            return found
        return by_name(devices)

    return reason


def _short(device: Device, wanted: str, count: int) -> str | None:
    if device.name == ROOT or device.capability(MdevChild) is not None:
        return f"{device.name} cannot be divided into vGPUs"
    function = next(vgpu_functions([device]), None)
    return None if function is None else _short_function(function, wanted, count)


def _short_function(function: VgpuFunction, wanted: str, count: int) -> str | None:
    if function.framework == "vendor-vfio":
        return f"{function.device} holds one vGPU at most" if count > 1 else None
    # The types of a parent are fixed while it is registered: mdev_register_parent of the kernel.
    same = [one for one in function.offers if type_matches(wanted, one.id, one.name)]
    if not same and function.offers and function.known:
        types = [one.id for one in function.offers]
        more = ", …" if len(types) > _TYPES_SHOWN else ""
        return (
            f"{function.device} does not offer {wanted}; it offers"
            f" {', '.join(types[:_TYPES_SHOWN])}{more}"
        )
    limits = [one.facts.max_instances for one in same if one.facts is not None]
    most = max((one for one in limits if one is not None), default=None)
    if most is not None and len(limits) == len(same) and None not in limits and count > most:
        return f"a card holds {most} of {wanted} at most"
    return None
