"""vgpus: mdevs and functions with vendor VFIO as one model, whichever framework a card uses.

The framework is a property of each function, since a host may have cards of two generations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Literal, TypeAlias

import msgspec

from nodedevd.errors import NoSuchType
from nodedevd.kinds.mdev_child import MdevChild, MdevChildType
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.shared.vgpu_types import TypeFacts, normalised, type_matches
from nodedevd.kinds.vgpu import CURRENT, Vgpu, VgpuType
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import device_name
from nodedevd.steps import STEP_ITEMS, Steps, collected, groups

Framework: TypeAlias = Literal["mdev", "vendor-vfio"]
CAPABILITIES = ("mdev_parent", "vgpu")
"""The capabilities of vGPU-capable functions, as filter words."""
_STEP_FUNCTIONS = 4
"""Functions, each with a dozen offers, that are looked through in a step."""
_RELATED = frozenset({MdevParent, MdevChild, Vgpu})
_TYPELESS = frozenset({"incomplete", "removing"})
_NEAREST = 5
_COMPARED = 256  # characters of a name: to compare two takes their product


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
    """number of instances on the function, including mdevs that are being removed"""
    mdevs: tuple[str, ...]
    """uuids of these mdevs, sorted"""


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
    untyped: tuple[str, ...] = ()
    """uuids of the mdevs whose type is unknown, since they are being created or removed; they
    take capacity, too"""


def vgpu_related(devices: Iterable[Device]) -> list[Device]:
    """Return the devices that answers about vGPUs depend on: a few of the many of a host.

    They are vGPU-capable functions, mdevs, and the functions of cards with SR-IOV.
    """
    found = []
    for device in devices:
        for one in device.capabilities:
            # In line and by type: it is done for every device of the host.
            if type(one) in _RELATED or (
                isinstance(one, Pci) and (one.physical_function or one.virtual_functions)
            ):
                found.append(device)
                break
    return found


def vgpu_functions(
    devices: Iterable[Device], mdevs: Iterable[Device] | None = None
) -> Iterator[VgpuFunction]:
    """Return the vGPU-capable functions among devices, in their order.

    The kernel takes the type of an mdev away before it waits for the VM that has it open. Such
    an mdev still takes its capacity; it is counted if it is among the devices, or if its parent
    lists it.

    `mdevs` are those among the devices, if the caller knows them.
    """
    devices = list(devices)
    leaving = _leaving(devices if mdevs is None else mdevs)
    for device in devices:
        parent, vgpu = device.capability(MdevParent), device.capability(Vgpu)
        if parent is not None:
            types = _types_of_mdevs(parent, leaving.get(device.name, {}))
            offers = tuple(_mdev_offers(parent, types))
            known = all(one.available is not None for one in offers)
            placed = {uuid for one in offers for uuid in one.mdevs}
            untyped = tuple(sorted(types.keys() - placed))
            yield VgpuFunction(device.name, "mdev", card_of(device), offers, known, untyped)
        elif vgpu is not None:
            known = vgpu.creatable is not None and _current_is_known(device)
            offers = tuple(_vendor_offers(vgpu, known=known))
            yield VgpuFunction(device.name, "vendor-vfio", card_of(device), offers, known)


def vgpu_functions_in_steps(snapshot: Snapshot) -> Steps[list[VgpuFunction]]:
    """Return the vGPU-capable functions of a host, in steps."""
    devices = yield from vgpu_related_in_steps(snapshot)
    return (yield from functions_in_steps(devices))


def vgpu_related_in_steps(snapshot: Snapshot) -> Steps[list[Device]]:
    """Do the same as `vgpu_related`, in steps."""
    devices: list[Device] = []
    for group in snapshot.in_groups(STEP_ITEMS):
        devices += vgpu_related(group)
        yield
    return devices


def functions_in_steps(devices: Sequence[Device]) -> Steps[list[VgpuFunction]]:
    """Do the same as `vgpu_functions`, in steps."""
    mdevs: list[Device] = []
    for group in groups(devices):
        mdevs += [one for one in group if one.capability(MdevChild) is not None]
        yield
    return (yield from collected(vgpu_functions(devices, mdevs), _STEP_FUNCTIONS))


def _leaving(devices: Iterable[Device]) -> dict[str, dict[str, str | None]]:
    """Return the types of active mdevs that may have lost it, by the parent's name and by uuid."""
    found: dict[str, dict[str, str | None]] = {}
    for device in devices:
        mdev = device.capability(MdevChild)
        if mdev is not None and mdev.parent is not None and mdev.state in _TYPELESS:
            type_id = None if mdev.mdev_type is None else mdev.mdev_type.id
            found.setdefault(mdev.parent, {})[mdev.uuid] = type_id
    return found


def _types_of_mdevs(parent: MdevParent, leaving: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the type of each mdev of a parent, None if it is unknown."""
    types: dict[str, str | None] = dict.fromkeys(parent.children)
    types.update(leaving)
    types.update((uuid, one.id) for one in parent.types for uuid in one.devices)
    return types


def card_of(device: Device) -> str:
    """Return the name of a virtual function's physical function; of others, their own name."""
    pci = device.capability(Pci)
    if pci is None or pci.physical_function is None:
        return device.name
    return device_name("pci", pci.physical_function)


def find_type(functions: Iterable[VgpuFunction], wanted: str) -> tuple[Offer, ...]:
    """Return the offers of a type, given by its id or name, one of each function that has it.

    An offer with exactly this id or name is preferred to others that the name can also mean.
    Raises NoSuchType, with the nearest names, if no function offers it.
    """
    functions = list(functions)
    found = [one for function in functions for one in matching_offers(function, wanted)]
    if not found:
        raise NoSuchType(wanted, nearest_types(functions, wanted))
    return tuple([one for one in found if wanted in (one.id, one.name)] or found)


def matching_offers(function: VgpuFunction, wanted: str) -> tuple[Offer, ...]:
    """Return the offers of a function that an id or name can mean, usually one.

    An offer with exactly this id or name comes first.
    """
    found = [one for one in function.offers if type_matches(wanted, one.id, one.name)]
    return tuple(sorted(found, key=lambda one: wanted not in (one.id, one.name)))


def nearest_types(functions: Iterable[VgpuFunction], wanted: str) -> tuple[str, ...]:
    """Return the names, or else the ids, of a few offered types, the most similar ones first."""
    names: dict[str, str] = {}
    for function in functions:
        for one in function.offers:
            name = one.name or one.id
            names.setdefault(normalised(name[:_COMPARED]), name)
    wanted = normalised(wanted[:_COMPARED])
    close = get_close_matches(wanted, names, n=_NEAREST, cutoff=0.5)
    return tuple([names[key] for key in dict.fromkeys([*close, *names])][:_NEAREST])


def type_of(device: Device) -> MdevChildType | VgpuType | None:
    """Return the type of an mdev, or the profile set on a function; None if none or unknown."""
    mdev, vgpu = device.capability(MdevChild), device.capability(Vgpu)
    if mdev is not None:
        return mdev.mdev_type
    return None if vgpu is None else vgpu.current


def _current_is_known(device: Device) -> bool:
    return all(error.attribute != CURRENT for error in device.errors)


def _mdev_offers(parent: MdevParent, types: Mapping[str, str | None]) -> Iterator[Offer]:
    for one in parent.types:
        mdevs = tuple(sorted([uuid for uuid, type_id in types.items() if type_id == one.id]))
        yield Offer(
            id=one.id,
            name=one.name,
            description=one.description,
            facts=one.facts,
            device_api=one.device_api,
            available=one.available_instances,
            active=len(mdevs),
            mdevs=mdevs,
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
