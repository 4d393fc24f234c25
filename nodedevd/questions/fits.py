"""fits: finds the cards that have room for vGPUs of a type, and why others have none.

A pure function of the devices. A card is a physical function with its virtual functions, which
share its memory. For a card with one function, the count of the driver is the answer. The
counts of several functions cannot be added up: each of sixteen virtual functions may report 1
when two vGPUs fit. Their sum is bounded by the ceiling of the type, if the driver reports one,
minus the vGPUs that exist; without a ceiling only one is certain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import msgspec

from nodedevd.errors import NoSuchType
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.shared.vgpu_types import type_matches
from nodedevd.model.device import Device
from nodedevd.questions.vgpus import Framework, Offer, VgpuFunction, card_of, vgpu_functions

Verdict: TypeAlias = Literal["yes", "perhaps", "no"]
"""perhaps: enough are offered, but may not fit at the same time, or a count is unknown"""

NoRoomReason: TypeAlias = Literal[
    "not-offered",
    "not-listed",
    "other-profile-active",
    "full",
    "none-available",
    "no-vf-enabled",
    "unknown",
]
"""Why no vGPU of the type can be created on a card.

not-offered: the card has other types.
not-listed: the card has vendor VFIO and lists only types that fit beside its vGPUs; this one
does not fit, or does not exist.
other-profile-active: vGPUs of other types prevent it.
full: the card is full of vGPUs of this type.
none-available: the driver reports none available, without a reason.
no-vf-enabled: the card needs virtual functions, and none is enabled.
unknown: the available count cannot be read.
"""

COUNT_AT_MOST = 1_000_000
"""the largest count that a client may ask for"""


class Place(msgspec.Struct, frozen=True, gc=False):
    """A function that offers the type, or holds a vGPU of it."""

    device: str
    framework: Framework
    type: str
    """id of the type on this function"""
    name: str | None
    available: int | None
    """as reported by the driver; None if unknown"""
    active: int


class Card(msgspec.Struct, frozen=True, gc=False):
    """A physical function with its virtual functions, and its room for the type."""

    card: str
    """name of the physical function"""
    available: int | None
    """the largest number that may still be created; None if unknown"""
    certain: int
    """the number that can certainly be created, if no other vGPU is created first"""
    active: int
    """number of vGPUs of the type that exist"""
    ceiling: int | None
    """number that an otherwise empty card holds; None if the driver does not report it"""
    reason: NoRoomReason | None
    """why none can be created; None if one can"""
    places: tuple[Place, ...]
    """functions with room come first"""
    others: tuple[str, ...]
    """names, or ids, of other types that are active on the card"""


class Fits(msgspec.Struct, frozen=True, gc=False):
    """All cards, and whether `count` vGPUs fit on them."""

    type: str
    """as the caller gave it"""
    count: int
    answer: Verdict
    cards: tuple[Card, ...]
    """cards with most room come first"""


def fits(devices: Iterable[Device], wanted: str, count: int = 1) -> Fits:
    """Return the room of each card for `count` more vGPUs of a type, given by id or name.

    Raises NoSuchType.
    """
    devices = list(devices)
    functions: dict[str, list[VgpuFunction]] = {}
    for function in vgpu_functions(devices):
        functions.setdefault(function.card, []).append(function)
    cards = [_card(name, group, wanted) for name, group in functions.items()]
    cards += [_without_functions(one) for one in devices if _lacks_functions(one)]
    if all(card.reason == "not-offered" for card in cards):
        raise NoSuchType(wanted, _names_of_types(functions.values()))
    cards.sort(key=lambda card: (-card.certain, -(card.available or 0), card.card))
    return Fits(wanted, count, _verdict(cards, count), tuple(cards))


def _verdict(cards: Sequence[Card], count: int) -> Verdict:
    if sum(card.certain for card in cards) >= count:
        return "yes"
    if any(card.reason == "unknown" or card.available is None for card in cards):
        return "perhaps"
    return "perhaps" if sum(card.available or 0 for card in cards) >= count else "no"


def _card(name: str, functions: Sequence[VgpuFunction], wanted: str) -> Card:
    matches = [(function, _match(function, wanted)) for function in functions]
    offers = [match for _, match in matches if match is not None]
    places = [_place(function, match) for function, match in matches if match is not None]
    places.sort(key=lambda place: -(place.available or 0))
    active = [one for function in functions for one in function.offers if one.active]
    others = [one for one in active if not type_matches(wanted, one.id, one.name)]
    ceiling = next((one.facts.max_instances for one in offers if one.facts is not None), None)
    available = certain = sum(place.available or 0 for place in places)
    if len(functions) > 1 and available:
        room, even = _room(ceiling, next(map(_size, offers)), active)
        # One always fits where the driver reports an available instance.
        available = available if room is None else min(available, max(1, room))
        certain = available if even else 1
    reason: NoRoomReason | None = None
    if not available:
        known = all(function.known for function in functions)
        reason = _reason(functions, places, others, known=known)
    return Card(
        card=name,
        available=None if reason == "unknown" else available,
        certain=certain,
        active=sum(place.active for place in places),
        ceiling=ceiling,
        reason=reason,
        places=tuple(places),
        others=tuple(dict.fromkeys(one.name or one.id for one in others)),
    )


def _place(function: VgpuFunction, match: Offer) -> Place:
    return Place(
        device=function.device,
        framework=function.framework,
        type=match.id,
        name=match.name,
        available=match.available,
        active=match.active,
    )


def _match(function: VgpuFunction, wanted: str) -> Offer | None:
    """Return the matching offer, preferably one with exactly this id or name."""
    found = [one for one in function.offers if type_matches(wanted, one.id, one.name)]
    exact = [one for one in found if wanted in (one.id, one.name)]
    return next(iter(exact or found), None)


def _size(one: Offer) -> int | None:
    return None if one.facts is None else one.facts.framebuffer_bytes or one.facts.nominal_bytes


def _room(
    ceiling: int | None, size: int | None, active: Sequence[Offer]
) -> tuple[int | None, bool]:
    """Return how many more vGPUs the card's memory holds, and whether that is certain.

    With vGPUs of several sizes, the free memory may be fragmented.
    """
    sizes = [_size(one) for one in active]
    if ceiling is None or size is None or None in sizes:
        return None, False
    used = sum((_size(one) or 0) * one.active for one in active)
    return max(0, ceiling - -(-used // size)), all(one == size for one in sizes)


def _reason(
    functions: Sequence[VgpuFunction],
    places: Sequence[Place],
    others: Sequence[Offer],
    *,
    known: bool,
) -> NoRoomReason:
    if not known:
        return "unknown"
    if not places:
        vendor = any(function.framework == "vendor-vfio" for function in functions)
        return "not-listed" if others and vendor else "not-offered"
    if others:
        return "other-profile-active"
    return "full" if any(place.active for place in places) else "none-available"


def _lacks_functions(device: Device) -> bool:
    """Return whether a device is an SR-IOV vGPU card of NVIDIA without virtual functions.

    Its physical function offers no types; sriov-manage enables the virtual functions.
    """
    pci = device.capability(Pci)
    functions = None if pci is None else pci.virtual_functions
    return (
        pci is not None
        and functions is not None
        and bool(functions.maximum)
        and not functions.addresses
        and device.driver == "nvidia"
        and card_of(device) == device.name
        and "mdev_parent" not in device.types
    )


def _without_functions(device: Device) -> Card:
    return Card(
        card=device.name,
        available=0,
        certain=0,
        active=0,
        ceiling=None,
        reason="no-vf-enabled",
        places=(),
        others=(),
    )


def _names_of_types(groups: Iterable[Sequence[VgpuFunction]]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for group in groups:
        for function in group:
            names.update({one.name or one.id: None for one in function.offers})
    return tuple(names)[:5]
