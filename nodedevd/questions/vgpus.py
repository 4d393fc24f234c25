"""vGPU-capable functions: mdev parents and functions with vendor VFIO, as one model.

Who asks which types there are, or where one fits, need not know by which framework a card does it;
that is told function by function, since a host may have cards of two generations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import msgspec

from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.shared.vgpu_types import TypeFacts
from nodedevd.kinds.vgpu import CURRENT, Vgpu
from nodedevd.model.device import Device
from nodedevd.names import device_name

Framework: TypeAlias = Literal["mdev", "vendor-vfio"]
CAPABILITIES = ("mdev_parent", "vgpu")
"""The capabilities of such functions, as filter words."""


class Offer(msgspec.Struct, frozen=True, gc=False):
    """What a function offers of one type."""

    id: str
    name: str | None
    description: str | None
    facts: TypeFacts | None
    device_api: str | None
    """None is unknown"""
    available: int | None
    """how many more the function could hold now; None is unknown"""
    active: int
    """how many it holds"""


class VgpuFunction(msgspec.Struct, frozen=True, gc=False):
    """A device that can hold vGPUs, or be one."""

    device: str
    """its name"""
    framework: Framework
    card: str
    """name of the physical function whose memory it shares with others; its own without SR-IOV"""
    offers: tuple[Offer, ...]
    known: bool
    """whether all that it offers could be told"""


def vgpu_functions(devices: Iterable[Device]) -> Iterator[VgpuFunction]:
    """Return those of the devices that are vGPU-capable, in their order."""
    for device in devices:
        parent, vgpu = device.capability(MdevParent), device.capability(Vgpu)
        if parent is not None:
            offers = tuple(_mdev_offers(parent))
            known = all(one.available is not None for one in offers)
            yield VgpuFunction(device.name, "mdev", card_of(device), offers, known)
        elif vgpu is not None:
            known = vgpu.creatable is not None and _is_told(device)
            offers = tuple(_vendor_offers(vgpu, known=known))
            yield VgpuFunction(device.name, "vendor-vfio", card_of(device), offers, known)


def card_of(device: Device) -> str:
    """Return the name of the physical function that a device is, or is a virtual function of."""
    pci = device.capability(Pci)
    if pci is None or pci.physical_function is None:
        return device.name
    return device_name("pci", pci.physical_function)


def _is_told(device: Device) -> bool:
    return all(error.attribute != CURRENT for error in device.errors)


def _mdev_offers(parent: MdevParent) -> Iterator[Offer]:
    for one in parent.types:
        yield Offer(
            id=one.id,
            name=one.name,
            description=one.description,
            facts=one.facts,
            device_api=one.device_api,
            available=one.available_instances,
            active=len(one.devices),
        )


def _vendor_offers(vgpu: Vgpu, *, known: bool) -> Iterator[Offer]:
    """A function holds one vGPU, and what it lists could be made while it holds none."""
    current = vgpu.current
    offered = {one.id: one for one in vgpu.creatable or ()}
    if current is not None:
        offered.setdefault(current.id, current)
    for one in offered.values():
        yield Offer(
            id=one.id,
            name=one.name,
            description=None,
            facts=one.facts,
            device_api="vfio-pci",
            available=int(current is None) if known else None,
            active=int(current is not None and one.id == current.id),
        )
