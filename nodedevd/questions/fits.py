"""fits, types: the room of each card for vGPUs of each type, and why there is none.

A pure function of the devices. A card is a physical function with its virtual functions, which
share its memory, or any other mdev parent. `capacity` counts the room.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Literal, TypeAlias

import msgspec

from nodedevd.errors import NoSuchType
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.shared.vgpu_types import TEXT_LIMIT, TypeFacts, normalised, parse_name
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.capacity import ceiling, room
from nodedevd.questions.cards_without_vgpus import (
    CardWithoutVgpus,
    NoVgpusReason,
    cards_without_vgpus_in_steps,
    functions_by_card,
)
from nodedevd.questions.vgpus import (
    Framework,
    Offer,
    VgpuFunction,
    card_of,
    functions_in_steps,
    matching_offers,
    nearest_types,
    vgpu_related_in_steps,
)
from nodedevd.steps import Steps, collected, finish, groups

Verdict: TypeAlias = Literal["yes", "perhaps", "no"]
"""perhaps: enough are offered, but may not fit at the same time, or a count is unknown"""

NoRoomReason: TypeAlias = Literal[
    "not-offered",
    "not-listed",
    "other-profile-active",
    "full",
    "mdev-removing",
    "no-gpu-instance",
    "none-available",
    "unknown",
    NoVgpusReason,
]
"""Why no vGPU of the type can be created on a card; those of `NoVgpusReason`, and:

not-offered: the card has other types.
not-listed: the card has vendor VFIO and lists only types that fit beside its vGPUs; this one
does not fit, or does not exist.
other-profile-active: vGPUs of other types prevent it.
full: the card is full of vGPUs of this type.
mdev-removing: an mdev that is being created or removed may take the capacity.
no-gpu-instance: the type is MIG-backed, and no GPU instance of its profile is free.
none-available: the driver reports none available, without a reason.
unknown: the available count cannot be read.
"""

_OF_FUNCTIONS = ("no-types", "none-creatable")
"""The reasons of cards that have vGPU-capable functions."""

_STEP_ROWS = 2


class Place(msgspec.Struct, frozen=True, gc=False):
    """A function that offers the type, or holds a vGPU of it."""

    name: str
    """name of the function"""
    framework: Framework
    type: str
    """id of the type on this function"""
    type_name: str | None
    available: int | None
    """as reported by the driver; None if unknown"""
    active: int


class CardType(msgspec.Struct, frozen=True, gc=False):
    """A card, and its room for one type."""

    card: str
    """name of the physical function, or of another mdev parent"""
    framework: Framework | None
    """None for a card that offers no vGPUs"""
    type: str | None
    """id of the type; None if the card does not offer it, or offers no vGPUs"""
    type_name: str | None
    available: int | None
    """the largest number that may still be created; None if unknown"""
    sure: int
    """the number that can be created for sure, if no other vGPU is created first"""
    active: int
    """number of vGPUs of the type that exist, including mdevs that are being removed"""
    defined: int
    """number of inactive mdevs of the type, which take capacity when they are started"""
    ceiling: int | None
    """number that an otherwise empty card holds; None if the driver does not report it"""
    reason: NoRoomReason | None
    """why none can be created; None if one can"""
    driver: str | None
    """driver of the functions, for the reason vfs-on-other-driver"""
    functions: tuple[Place, ...]
    """functions with room come first"""
    others: tuple[str, ...]
    """names, or ids, of other types that are active on the card"""
    device_api: str | None
    description: str | None
    """description, as the driver words it"""
    facts: TypeFacts | None
    """facts in name and description"""


class Types(msgspec.Struct, frozen=True, gc=False):
    """The types of each card, and the cards that should offer types and offer none."""

    generation: int
    types: tuple[CardType, ...]
    """sorted by card, in the order of the driver"""


class Fits(msgspec.Struct, frozen=True, gc=False):
    """The cards, and whether `count` vGPUs fit on them."""

    generation: int
    type: str | None
    """as the caller gave it; None for all types"""
    count: int
    answer: Verdict
    """for all types: the best answer of any type"""
    cards: tuple[CardType, ...]
    """cards with most room come first; of all types, as in `Types`"""


def types(snapshot: Snapshot, names: Iterable[str] | None = None) -> Types:
    """Return the room of each card for each of its types.

    Args:
        snapshot: The devices of the host.
        names: Only the cards that these devices belong to: functions, cards, mdevs.

    Raises NoSuchDevice.
    """
    return finish(types_in_steps(snapshot, names))


def types_in_steps(snapshot: Snapshot, names: Iterable[str] | None = None) -> Steps[Types]:
    """Do the same as `types`, in steps."""
    cards = yield from _cards(snapshot, names)
    found = yield from collected(cards.every_type(), _STEP_ROWS)
    return Types(snapshot.generation, tuple(found))


def fits(
    snapshot: Snapshot,
    wanted: str | None = None,
    count: int = 1,
    names: Iterable[str] | None = None,
) -> Fits:
    """Return the room of each card for `count` more vGPUs of a type, given by id or name.

    Args:
        snapshot: The devices of the host.
        wanted: The type; all types without it.
        count: The number of vGPUs.
        names: Only the cards that these devices belong to: functions, cards, mdevs.

    Raises NoSuchType, NoSuchDevice.
    """
    return finish(fits_in_steps(snapshot, wanted, count, names))


def fits_in_steps(
    snapshot: Snapshot,
    wanted: str | None = None,
    count: int = 1,
    names: Iterable[str] | None = None,
) -> Steps[Fits]:
    """Do the same as `fits`, in steps."""
    cards = yield from _cards(snapshot, names)
    if wanted is None:
        found = yield from collected(cards.every_type(), _STEP_ROWS)
        answer = _best([_verdict(group, count) for group in _by_type(found)])
    else:
        found = yield from collected(cards.one_type(wanted), _STEP_ROWS)
        if all(card.reason == "not-offered" for card in found):
            raise NoSuchType(wanted, cards.nearest(wanted))
        found.sort(key=lambda card: (-card.sure, -(card.available or 0), card.card))
        answer = _verdict(found, count)
    return Fits(snapshot.generation, wanted, count, answer, tuple(found))


def _by_type(cards: Iterable[CardType]) -> list[list[CardType]]:
    groups: dict[str, list[CardType]] = {}
    for card in cards:
        groups.setdefault(normalised(card.type_name or card.type or ""), []).append(card)
    return list(groups.values())


def _best(verdicts: Sequence[Verdict]) -> Verdict:
    order: tuple[Verdict, ...] = ("yes", "perhaps", "no")
    return min(verdicts, key=order.index, default="no")


def _verdict(cards: Sequence[CardType], count: int) -> Verdict:
    if sum(card.sure for card in cards) >= count:
        return "yes"
    if any(card.available is None for card in cards):
        return "perhaps"
    return "perhaps" if sum(card.available or 0 for card in cards) >= count else "no"


def _cards(snapshot: Snapshot, names: Iterable[str] | None) -> Steps[_Cards]:
    """Return the cards of a host, or those of some devices."""
    devices = yield from vgpu_related_in_steps(snapshot)
    functions = yield from functions_in_steps(devices)
    without = yield from cards_without_vgpus_in_steps(devices, functions)
    defined = yield from _defined(snapshot, devices)
    chosen: set[str] | None = None
    if names is not None:
        chosen = set((yield from collected(_card_with(snapshot, name) for name in names)))
    return _Cards(functions, without, defined, chosen)


class _Cards:
    """Cards, by what is on them."""

    def __init__(
        self,
        functions: Sequence[VgpuFunction],
        without: Iterable[CardWithoutVgpus],
        defined: Mapping[str, Counter[str]],
        chosen: Set[str] | None,
    ) -> None:
        self._functions = functions
        self._groups = functions_by_card(functions)
        self._without = {
            one.card: one
            for one in without
            if one.card not in self._groups or one.reason in _OF_FUNCTIONS
        }
        self._defined = defined
        if chosen is not None:
            self._groups = {card: one for card, one in self._groups.items() if card in chosen}
            self._without = {card: one for card, one in self._without.items() if card in chosen}

    def every_type(self) -> Iterator[CardType]:
        """Yield each card with each of its types."""
        for card in sorted({*self._groups, *self._without}):
            functions = self._groups.get(card, [])
            types: dict[str, list[tuple[VgpuFunction, Offer]]] = {}
            for function in functions:
                for offer in function.offers:
                    types.setdefault(offer.id, []).append((function, offer))
            for offers in types.values():
                yield self._row(card, functions, offers)
            if not types:
                yield self._row(card, functions, [])

    def one_type(self, wanted: str) -> Iterator[CardType]:
        """Yield each card with the wanted type, or with the reason why it lacks it."""
        if len(wanted) > TEXT_LIMIT:  # before it is normalised, which takes time and is cached
            raise NoSuchType(wanted, self.nearest(wanted))
        for card in sorted({*self._groups, *self._without}):
            functions = self._groups.get(card, [])
            offers = [
                (function, matches[0])
                for function in functions
                if (matches := matching_offers(function, wanted))
            ]
            yield self._row(card, functions, offers, wanted)

    def nearest(self, wanted: str) -> tuple[str, ...]:
        """Return the types that are most similar to one that no card offers."""
        return nearest_types(self._functions, wanted)

    def _row(
        self,
        card: str,
        functions: Sequence[VgpuFunction],
        offers: Sequence[tuple[VgpuFunction, Offer]],
        wanted: str | None = None,
    ) -> CardType:
        available, sure = room(functions, offers)
        without = self._without.get(card)
        ids = dict.fromkeys(offer.id for _, offer in offers)
        others = {
            one.id: one.name or one.id
            for function in functions
            for one in function.offers
            if one.active and one.id not in ids
        }
        reason: NoRoomReason | None = None
        if available is None and not sure:
            reason = "unknown"
        elif available == 0:
            reason = _why_not(functions, offers, others, without, wanted)
        first = next((one for _, one in offers if one.name is not None), None)
        if first is None and offers:
            first = offers[0][1]
        defined = self._defined.get(card, Counter())
        return CardType(
            card=card,
            framework=functions[0].framework if functions else None,
            type=None if first is None else first.id,
            type_name=None if first is None else first.name,
            available=available,
            sure=sure,
            active=sum(offer.active for _, offer in offers),
            defined=_count(defined, ids, wanted),
            ceiling=ceiling(offers),
            reason=reason,
            driver=without.driver if without is not None and reason == without.reason else None,
            functions=_places(offers),
            others=tuple(dict.fromkeys(others.values())),
            device_api=None if first is None else first.device_api,
            description=None if first is None else first.description,
            facts=None if first is None else first.facts,
        )


def _places(offers: Iterable[tuple[VgpuFunction, Offer]]) -> tuple[Place, ...]:
    places = [
        Place(
            name=function.device,
            framework=function.framework,
            type=offer.id,
            type_name=offer.name,
            available=offer.available,
            active=offer.active,
        )
        for function, offer in offers
    ]
    places.sort(key=lambda place: -(place.available or 0))
    return tuple(places)


# -- why there is no room ---------------------------------------------------------------------


def _why_not(
    functions: Sequence[VgpuFunction],
    offers: Sequence[tuple[VgpuFunction, Offer]],
    others: Mapping[str, str],
    without: CardWithoutVgpus | None,
    wanted: str | None,
) -> NoRoomReason:
    if not offers:
        return _why_not_offered(functions, others, without, wanted)
    mig_backed = _is_mig_backed(offers[0][1])
    beside = [
        one
        for function in functions
        for one in function.offers
        if one.id in others and one.active and _is_mig_backed(one) == mig_backed
    ]
    if mig_backed and {one.id for one in beside} == others.keys():
        return "no-gpu-instance"
    if others:
        return "other-profile-active"
    if any(offer.active for _, offer in offers):
        return "full"
    if any(function.untyped for function in functions):
        return "mdev-removing"
    return "none-available"


def _why_not_offered(
    functions: Sequence[VgpuFunction],
    others: Mapping[str, str],
    without: CardWithoutVgpus | None,
    wanted: str | None,
) -> NoRoomReason:
    offers = [one for function in functions for one in function.offers]
    if without is not None and not offers:
        may_be = wanted is None or without.reason == "no-types" or _may_be_nvidia(wanted, ())
        return without.reason if may_be else "not-offered"
    vendor = any(function.framework == "vendor-vfio" for function in functions)
    if not vendor or wanted is None or not _may_be_nvidia(wanted, offers):
        return "not-offered"
    # An idle card lists all its types, but those of GPU instances only if it has the instances.
    name = parse_name(wanted)
    by_instance = (name is not None and name.mig_backed) or any(map(_is_mig_backed, offers))
    return "not-listed" if others or by_instance else "not-offered"


def _may_be_nvidia(wanted: str, offers: Iterable[Offer]) -> bool:
    """Return whether a text can be the id or name of a type of NVIDIA, of the card of `offers`."""
    if normalised(wanted).isdecimal():
        return True
    name = parse_name(wanted)
    if name is None:
        return False
    listed = [parse_name(one.name) for one in offers if one.name is not None]
    products = {one.product for one in listed if one is not None}
    return not products or any(f"-{one}".endswith(f"-{name.product}") for one in products)


def _is_mig_backed(offer: Offer) -> bool:
    return offer.facts is not None and offer.facts.gpu_instance_slices is not None


# -- what is defined, and which card is meant ---------------------------------------------------


def _defined(snapshot: Snapshot, devices: Sequence[Device]) -> Steps[dict[str, Counter[str]]]:
    """Return the number of inactive mdevs by the card of their parent, and by their type's id."""
    found: dict[str, Counter[str]] = {}
    for group in groups(devices):
        yield
        for device in group:
            mdev = device.capability(MdevChild)
            if mdev is None or mdev.state != "inactive" or mdev.mdev_type is None:
                continue
            for parent in snapshot.by_sysname(mdev.parent_addr):
                if _may_have_vgpus(parent):
                    counts = found.setdefault(card_of(parent), Counter())
                    counts[normalised(mdev.mdev_type.id)] += 1
                    break
    return found


def _may_have_vgpus(device: Device) -> bool:
    return any(device.capability(kind) is not None for kind in (MdevParent, Vgpu, Pci))


def _count(defined: Mapping[str, int], ids: Iterable[str], wanted: str | None) -> int:
    """Return how many are defined of these types or, on a card without them, of the wanted one."""
    keys = {normalised(one) for one in ids}
    if not keys and wanted is None:
        return sum(defined.values())
    return sum(defined[one] for one in keys or {normalised(wanted or "")} if one in defined)


def _card_with(snapshot: Snapshot, name: str) -> str:
    """Return the name of the card that a device belongs to. Raises NoSuchDevice."""
    device = snapshot.lookup(name)
    mdev = device.capability(MdevChild)
    if mdev is not None:
        for parent in snapshot.by_sysname(mdev.parent_addr):
            if _may_have_vgpus(parent):
                return card_of(parent)
    return card_of(device)
