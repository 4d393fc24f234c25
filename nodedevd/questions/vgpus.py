"""vgpus: mdevs and functions with vendor VFIO as one model, whichever framework a card uses.

The framework is a property of each function, since a host may have cards of two generations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import msgspec

from nodedevd.kinds.mdev_child import MdevChild, MdevChildType
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.shared.vgpu_types import TypeFacts
from nodedevd.kinds.vgpu import CURRENT, Vgpu, VgpuType
from nodedevd.model.device import Device
from nodedevd.names import device_name

Framework: TypeAlias = Literal["mdev", "vendor-vfio"]
CAPABILITIES = ("mdev_parent", "vgpu")
"""The capabilities of vGPU-capable functions, as filter words."""
_NEAREST = 5


class Offer(msgspec.Struct, frozen=True, gc=False):
    """A type that a function offers, with its instances."""

    id: str
    name: str | None
    description: str | None
    facts: TypeFacts | None
    device_api: str | None
    """None is unknown"""
    available: int | None
    """number of instances that the function can still create; None is unknown"""
    active: int
    """number of instances on the function"""
    mdevs: tuple[str, ...]
    """uuids of the active mdevs of this type, sorted"""


class VgpuFunction(msgspec.Struct, frozen=True, gc=False):
    """A device that can hold vGPUs, or become one."""

    device: str
    """name of the device"""
    framework: Framework
    card: str
    """name of the physical function whose memory it shares; its own name without SR-IOV"""
    offers: tuple[Offer, ...]
    known: bool
    """whether everything that it offers could be read"""


def vgpu_functions(devices: Iterable[Device]) -> Iterator[VgpuFunction]:
    """Return the vGPU-capable functions among devices, in their order."""
    for device in devices:
        parent, vgpu = device.capability(MdevParent), device.capability(Vgpu)
        if parent is not None:
            offers = tuple(_mdev_offers(parent))
            known = all(one.available is not None for one in offers)
            yield VgpuFunction(device.name, "mdev", card_of(device), offers, known)
        elif vgpu is not None:
            known = vgpu.creatable is not None and _current_is_known(device)
            offers = tuple(_vendor_offers(vgpu, known=known))
            yield VgpuFunction(device.name, "vendor-vfio", card_of(device), offers, known)


def card_of(device: Device) -> str:
    """Return the name of a virtual function's physical function; of others, their own name."""
    pci = device.capability(Pci)
    if pci is None or pci.physical_function is None:
        return device.name
    return device_name("pci", pci.physical_function)


def nearest_types(functions: Iterable[VgpuFunction], wanted: str) -> tuple[str, ...]:
    """Return the names, or else the ids, of a few offered types."""
    names = {one.name or one.id: None for function in functions for one in function.offers}
    return tuple(names)[:_NEAREST]


def type_of(device: Device) -> MdevChildType | VgpuType | None:
    """Return the type of an mdev, or the profile set on a function; None if none or unknown."""
    mdev, vgpu = device.capability(MdevChild), device.capability(Vgpu)
    if mdev is not None:
        return mdev.mdev_type
    return None if vgpu is None else vgpu.current


def _current_is_known(device: Device) -> bool:
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
            mdevs=one.devices,
        )


def _vendor_offers(vgpu: Vgpu, *, known: bool) -> Iterator[Offer]:
    """A function holds one vGPU; while it holds none, it can create any type that it lists."""
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
            mdevs=(),
        )
