"""check: what of a layout can never be so on a host, whatever is on its cards now.

`compare` says what is to do; this says what is wrong, with file, line and key. The room of an
empty card is counted by the rules of `questions/capacity`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Final

from msgspec.structs import replace

from nodedevd.kinds.pci import Pci
from nodedevd.layout.card import Card, devices_meant
from nodedevd.layout.problem import Code, Problem, key_text
from nodedevd.layout.wanted import KeyPath, Layout, WantedCard
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.capacity import limit_by_sharing
from nodedevd.questions.vgpus import (
    Offer,
    VgpuFunction,
    matching_offers,
    nearest_types,
)
from nodedevd.text import abbreviated

_NVIDIA: Final = "0x10de"
_NVIDIA_DRIVER: Final = "nvidia"


def check_layout(layout: Layout, snapshot: Snapshot) -> tuple[Problem, ...]:
    """Return what cannot be so on a host: missing cards, types nobody offers, too many vGPUs."""
    problems: list[Problem] = []
    meant: dict[str, WantedCard] = {}
    for card in layout.cards:
        devices = devices_meant(card.match, snapshot)
        if not devices:
            problems.append(_no_card(card))
        for device in devices:
            first = meant.setdefault(device.name, card)
            if first is not card:
                message = f"{device.name} is wanted by {first.file}:{first.line}, too"
                instead = "name each card in one entry"
                problems.append(_problem(card, (), "claimed-twice", message, instead))
            else:
                problems += _Check(card, Card(device, snapshot)).problems()
    return tuple(dict.fromkeys(problems))


def why_never(wanted: WantedCard, card: Card, *, is_prepared: bool) -> tuple[str, ...]:
    """Return why a card can never be as its entry wants it, with file, line and key, in words.

    Nothing is to be done on such a card. `is_prepared` says that its virtual functions and drivers
    are as wanted; until then it may come to offer other types than now.
    """
    check = _Check(wanted, card)
    found = check.of_vgpus() if is_prepared else check.unprepared()
    return tuple(
        [str(replace(one, message=one.message.removeprefix(f"{card.name}: "))) for one in found]
    )


def room_without(card: Card, type_name: str, uuids: Set[str]) -> int | None:
    """Return how many vGPUs of a type a card has room for once some of its mdevs are removed.

    By what its functions share, as long as vGPUs of other types do not prevent it; None if nothing
    is known of it.
    """
    functions = [_without(one, uuids) for one in card.holders.values()]
    return limit_by_sharing(functions, _offers_of(functions, type_name))


def _problem(card: WantedCard, path: KeyPath, code: Code, message: str, instead: str) -> Problem:
    return Problem(card.file, card.line_of(path), key_text(path) or None, code, message, instead)


def _no_card(card: WantedCard) -> Problem:
    match = card.match
    keys = ("address", "slots", "parent", "vendor")
    key = next(key for key in keys if getattr(match, key) is not None)
    what = "mdev parent" if match.parent is not None else "PCI function"
    return _problem(
        card,
        (key,),
        "no-such-card",
        f"the host has no {what} {match}",
        "see `nodedevctl list`; a card that comes later is waited for",
    )


class _Check:
    """One card, and what its entry wants of it."""

    def __init__(self, wanted: WantedCard, card: Card) -> None:
        self._wanted = wanted
        self._card = card

    def problems(self) -> Iterator[Problem]:
        """Yield what cannot be so."""
        functions = list(self._functions())
        yield from functions
        if all(one.code != "not-capable" for one in functions):
            yield from self._numbers()
            yield from self._types()
            yield from list(self._too_many()) or self._more_than_functions()

    def unprepared(self) -> Iterator[Problem]:
        """Yield what stays wrong whatever is done to virtual functions and drivers."""
        functions = list(self._functions())
        yield from functions
        if all(one.code != "not-capable" for one in functions):
            yield from self._numbers()
            yield from self._more_than_functions()
            # Other functions of the same driver offer no other types.
            driver = self._wanted.driver
            if any(
                one is not None and one.name in self._card.holders and driver in (None, one.driver)
                for one in self._card.functions
            ):
                yield from self._types()

    def of_vgpus(self) -> Iterator[Problem]:
        """Yield types that are not offered, and what does not fit."""
        yield from self._types()
        yield from self._too_many()

    def _say(self, path: KeyPath, code: Code, message: str, instead: str) -> Problem:
        return _problem(self._wanted, path, code, f"{self._card.name}: {message}", instead)

    # -- virtual functions ----------------------------------------------------------------------

    def _functions(self) -> Iterator[Problem]:
        wanted, device = self._wanted, self._card.device
        pci, sriov = device.capability(Pci), self._card.sriov
        if pci is not None and pci.physical_function is not None:
            message = f"it is a virtual function of {pci.physical_function}"
            instead = f'write address = "{pci.physical_function}"'
            yield self._say((), "not-capable", message, instead)
            return
        number = wanted.virtual_functions
        if number is None or (number == 0 and sriov is None):
            return
        path: KeyPath = ("virtual_functions",)
        if sriov is None:
            if not device.is_unknown("sriov_totalvfs"):
                message = "it has no SR-IOV"
                yield self._say(path, "not-capable", message, "leave virtual_functions out")
            return
        most = sriov.maximum
        if most is not None and number != "all" and number > most:
            message = f"it can have {most} virtual functions at most, not {number}"
            yield self._say(path, "does-not-fit", message, f"write {most}, or less")
        elif number not in (0, "all", most, len(sriov.addresses)) and _is_nvidias(device):
            message = f"NVIDIA's sriov-manage enables all virtual functions or none, not {number}"
            yield self._say(path, "does-not-fit", message, 'write "all", or 0')

    @property
    def _usable(self) -> int | None:
        """The number of virtual functions that are not spare; None if it is open."""
        number = self._wanted.virtual_functions
        sriov = self._card.sriov
        if number == "all":
            number = None if sriov is None else sriov.maximum
        elif number is None and sriov is not None:
            number = len(sriov.addresses)
        return None if number is None else max(0, number - self._wanted.spare)

    def _has_to_come(self) -> bool:
        """Return whether the card has other virtual functions now than it is to have."""
        number, sriov = self._wanted.virtual_functions, self._card.sriov
        if number is None or sriov is None:
            return False
        return (sriov.maximum if number == "all" else number) != len(sriov.addresses)

    def _numbers(self) -> Iterator[Problem]:
        """Yield virtual functions that are named, and that there are not."""
        usable = self._usable
        named: list[tuple[int, KeyPath]] = [
            (number, ("vgpus", at, "functions", position))
            for at, one in enumerate(self._wanted.vgpus)
            for position, number in enumerate(one.functions)
        ]
        named += [
            (one.function, ("mdevs", at, "function"))
            for at, one in enumerate(self._wanted.mdevs)
            if one.function is not None
        ]
        for number, path in named:
            if usable is None or number >= usable:
                message = f"it has no virtual function {number}"
                instead = f"give a number below {usable}" if usable else "leave it out"
                yield self._say(path, "does-not-fit", message, instead)

    # -- types --------------------------------------------------------------------------------

    def _types(self) -> Iterator[Problem]:
        """Yield types that nothing of the card offers; a card that lists none offers any."""
        holders = list(self._card.holders.values())
        if not any(one.offers for one in holders):
            return
        wanted: list[tuple[str, KeyPath]] = [
            (one.type, ("vgpus", at, "type")) for at, one in enumerate(self._wanted.vgpus)
        ]
        wanted += [(one.type, ("mdevs", at, "type")) for at, one in enumerate(self._wanted.mdevs)]
        for type_name, path in wanted:
            if any(matching_offers(one, type_name) for one in holders):
                continue
            if self._may_be_unlisted(type_name):
                continue
            near = abbreviated(nearest_types(holders, type_name))
            message = f"it offers no type {type_name}"
            yield self._say(path, "unknown-type", message, f"write one of its types: {near}")

    def _may_be_unlisted(self, type_name: str) -> bool:
        """Return whether vendor VFIO may offer a type again when the card holds other vGPUs.

        The row of `fits` says so; see `NoRoomReason`.
        """
        row = self._card.row(type_name)
        return row is not None and row.reason == "not-listed"

    # -- room -----------------------------------------------------------------------------------

    def _too_many(self) -> Iterator[Problem]:
        """Yield what does not fit on the card if nothing else is on it."""
        functions = [_emptied(one) for one in self._card.holders.values()]
        numbers = [one.device for one in functions if one.device != self._card.name]
        usable = self._usable
        slots = len(numbers) if usable is None else usable
        if not self._has_to_come():
            slots = min(slots, len(numbers))
        beside: list[str] = []
        for path, type_name, count in self._counts():
            offers = _offers_of(functions, type_name)
            if not offers:
                continue
            name = offers[0][1].name or offers[0][1].id
            limit = limit_by_sharing(functions, offers)
            if numbers:
                limit = slots if limit is None else min(slots, limit)
            if limit is not None and count > limit:
                others = f" beside {', '.join(beside)}" if beside else ""
                message = f"{count} x {name} do not fit{others}: {limit} at the most"
                instead = f"write {limit}, or less" if limit else "leave it out"
                yield self._say(path, "does-not-fit", message, instead)
                return
            functions = _with(functions, offers, count)
            slots -= count
            beside.append(f"{count} x {name}")

    def _more_than_functions(self) -> Iterator[Problem]:
        """Yield the first vGPUs for which no virtual function is left: each takes one."""
        left = most = self._usable
        if most is None or left is None or self._wanted.virtual_functions in (None, 0):
            return
        for path, type_name, count in self._counts():
            if count > left:
                message = f"{count} x {type_name} do not fit: {left} of {most} functions are left"
                instead = f"write {left}, or less" if left else "leave it out"
                yield self._say(path, "does-not-fit", message, instead)
                return
            left -= count

    def _counts(self) -> Iterator[tuple[KeyPath, str, int]]:
        for at, mdev in enumerate(self._wanted.mdevs):
            if mdev.active:
                yield ("mdevs", at, "type"), mdev.type, 1
        for at, one in enumerate(self._wanted.vgpus):
            yield ("vgpus", at, "count"), one.type, one.count


def _is_nvidias(device: Device) -> bool:
    pci = device.capability(Pci)
    vendor = None if pci is None or pci.vendor is None else pci.vendor.id
    return vendor == _NVIDIA and device.driver == _NVIDIA_DRIVER


def _emptied(function: VgpuFunction) -> VgpuFunction:
    """Return a function as it is on an empty card."""
    offers = [replace(one, active=0, mdevs=(), available=None) for one in function.offers]
    return replace(function, offers=tuple(offers), untyped=())


def _without(function: VgpuFunction, uuids: Set[str]) -> VgpuFunction:
    """Return a function as it is once some of its mdevs are removed."""
    offers = []
    for one in function.offers:
        left = tuple([uuid for uuid in one.mdevs if uuid not in uuids])
        offers.append(
            replace(one, active=one.active - len(one.mdevs) + len(left), mdevs=left, available=None)
        )
    return replace(function, offers=tuple(offers))


def _offers_of(
    functions: Sequence[VgpuFunction], type_name: str
) -> list[tuple[VgpuFunction, Offer]]:
    return [(one, found[0]) for one in functions if (found := matching_offers(one, type_name))]


def _with(
    functions: Sequence[VgpuFunction],
    offers: Sequence[tuple[VgpuFunction, Offer]],
    count: int,
) -> list[VgpuFunction]:
    """Return the functions with vGPUs of a type, all on the first one: the card shares it all."""
    name, type_id = offers[0][0].device, offers[0][1].id
    found = []
    for function in functions:
        if function.device == name:
            changed = [
                replace(one, active=one.active + count) if one.id == type_id else one
                for one in function.offers
            ]
            function = replace(function, offers=tuple(changed))
        found.append(function)
    return found
