"""fitting: on which hosts of a fleet vGPUs of a type fit, and in which order to use them.

A pure function of the hosts. Only hosts whose summary is what they have now are counted; all
others are named with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import msgspec

from nodedevd.client.fleet.hosts import Host, Hosts, HostState
from nodedevd.errors import NoSuchType
from nodedevd.kinds.shared.vgpu_types import normalised, type_matches
from nodedevd.questions.fits import Verdict
from nodedevd.questions.summary import CardRoom, TypeRoom

Order: TypeAlias = Literal["spread", "pack"]
"""spread: hosts with most room first, and the vGPUs on as many as possible. pack: the host with the
least room that suffices first, so that others keep theirs."""
_NEAREST = 5


class HostFit(msgspec.Struct, frozen=True):
    """The room of a host for a type, by the counts of `nodedevctl fits`."""

    host: str
    name: str
    type: str
    type_name: str | None
    available: int | None
    """the largest number that may still be created; None if unknown"""
    sure: int
    """the number that can be created for sure"""
    active: int
    place: int
    """how many of the wanted vGPUs this host takes, in this order, for sure"""
    cards: tuple[str, ...]
    """cards with room, most first"""


class LeftOut(msgspec.Struct, frozen=True):
    """A host that was not counted."""

    host: str
    name: str
    state: HostState
    reason: str | None


class FleetFits(msgspec.Struct, frozen=True):
    """The hosts, and whether `count` vGPUs of a type fit on them."""

    type: str
    count: int
    order: Order
    answer: Verdict
    hosts: tuple[HostFit, ...]
    """that offer the type, in the order to use them; those without room come last"""
    left_out: tuple[LeftOut, ...]
    """hosts whose room is not known now"""
    not_offered: int
    """number of other hosts, which do not offer the type"""


class FleetType(msgspec.Struct, frozen=True):
    """A type, on all hosts that offer it."""

    type: str
    """id on the first of them"""
    name: str | None
    hosts: int
    available: int
    """the largest number that may still be created, where it is known"""
    sure: int
    active: int
    unknown: int
    """number of hosts whose available number is not known"""


class FleetTypes(msgspec.Struct, frozen=True):
    """The types of a fleet."""

    types: tuple[FleetType, ...]
    """sorted by name"""
    left_out: tuple[LeftOut, ...]
    """hosts whose types are not counted"""


def fleet_fits(found: Hosts, wanted: str, count: int = 1, order: Order = "spread") -> FleetFits:
    """Return the hosts with room for `count` vGPUs of a type, given by id or name.

    Raises NoSuchType if no host that can be counted offers it.
    """
    usable = [one for one in found.hosts if one.usable]
    rows = [row for one in usable if (row := _host(one, wanted)) is not None]
    left_out = _left_out(found)
    if not rows and not left_out:
        raise NoSuchType(wanted, _nearest(usable, wanted))
    if order == "spread":
        rows.sort(key=lambda one: (-one.sure, -(one.available or 0), one.host))
    else:
        rows.sort(
            key=lambda one: (
                one.sure < count,
                one.sure if one.sure >= count else -one.sure,
                one.host,
            )
        )
    places = _spread(rows, count) if order == "spread" else _pack(rows, count)
    placed = tuple(
        [msgspec.structs.replace(one, place=many) for one, many in zip(rows, places, strict=True)]
    )
    return FleetFits(
        wanted,
        count,
        order,
        _verdict(rows, count, bool(left_out)),
        placed,
        left_out,
        len(usable) - len(rows),
    )


def fleet_types(found: Hosts) -> FleetTypes:
    """Return the types that the hosts offer, with what is left of each."""
    groups: dict[str, list[tuple[str | None, TypeRoom, str]]] = {}
    for host in found.hosts:
        if not host.usable or host.summary is None:
            continue
        for card in host.summary.cards:
            for one in card.types:
                named = host.summary.types.get(one.id)
                name = None if named is None else named.name
                groups.setdefault(normalised(name or one.id), []).append((name, one, host.id))
    types = [_type(rows) for _, rows in sorted(groups.items())]
    return FleetTypes(tuple(types), _left_out(found))


def _type(rows: Sequence[tuple[str | None, TypeRoom, str]]) -> FleetType:
    return FleetType(
        type=rows[0][1].id,
        name=rows[0][0],
        hosts=len({host for _, _, host in rows}),
        available=sum(one.available or 0 for _, one, _ in rows),
        sure=sum(one.sure for _, one, _ in rows),
        active=sum(one.active for _, one, _ in rows),
        unknown=len({host for _, one, host in rows if one.available is None}),
    )


def _host(host: Host, wanted: str) -> HostFit | None:
    """Return the room of a host; None if no card of it offers the type."""
    assert host.summary is not None
    found: list[tuple[CardRoom, TypeRoom]] = []
    for card in host.summary.cards:
        matches = [one for one in card.types if _matches(host, one, wanted)]
        matches.sort(key=lambda one: wanted not in (one.id, _name(host, one)))
        found += [(card, one) for one in matches[:1]]
    if not found:
        return None
    first = found[0][1]
    unknown = any(one.available is None for _, one in found)
    found.sort(key=lambda pair: (-pair[1].sure, -(pair[1].available or 0), pair[0].card))
    return HostFit(
        host=host.id,
        name=host.name,
        type=first.id,
        type_name=_name(host, first),
        available=None if unknown else sum(one.available or 0 for _, one in found),
        sure=sum(one.sure for _, one in found),
        active=sum(one.active for _, one in found),
        place=0,
        cards=tuple([card.card for card, one in found if one.available != 0]),
    )


def _matches(host: Host, one: TypeRoom, wanted: str) -> bool:
    return type_matches(wanted, one.id, _name(host, one))


def _name(host: Host, one: TypeRoom) -> str | None:
    assert host.summary is not None
    named = host.summary.types.get(one.id)
    return None if named is None else named.name


def _pack(rows: Sequence[HostFit], count: int) -> list[int]:
    """Fill one host after the other."""
    places = []
    for row in rows:
        places.append(min(row.sure, count))
        count -= places[-1]
    return places


def _spread(rows: Sequence[HostFit], count: int) -> list[int]:
    """Level the room that is left: each next vGPU goes where most is left."""
    places = [0] * len(rows)
    total = sum(row.sure for row in rows)
    count = min(count, total)
    # The level to which hosts are filled down, found by halving: counts may be large.
    low, high = 0, max((row.sure for row in rows), default=0)
    while low < high:
        level = (low + high) // 2
        if sum(max(0, row.sure - level) for row in rows) > count:
            low = level + 1
        else:
            high = level
    for number, row in enumerate(rows):
        places[number] = max(0, row.sure - low)
    left = count - sum(places)
    for number, row in enumerate(rows):
        if left and row.sure - places[number] == low and low:
            places[number] += 1
            left -= 1
    return places


def _verdict(rows: Iterable[HostFit], count: int, some_unknown: bool) -> Verdict:
    rows = list(rows)
    if sum(one.sure for one in rows) >= count:
        return "yes"
    if some_unknown or any(one.available is None for one in rows):
        return "perhaps"
    return "perhaps" if sum(one.available or 0 for one in rows) >= count else "no"


def _left_out(found: Hosts) -> tuple[LeftOut, ...]:
    """Return the hosts that are not counted, but for those that have left in order."""
    return tuple(
        [
            LeftOut(one.id, one.name, one.state, one.reason)
            for one in found.hosts
            if not one.usable and one.state != "left"
        ]
    )


def _nearest(hosts: Iterable[Host], wanted: str) -> tuple[str, ...]:
    from difflib import get_close_matches  # needed after a failure only

    names: dict[str, str] = {}
    for host in hosts:
        for type_id, one in ({} if host.summary is None else host.summary.types).items():
            names.setdefault(normalised((one.name or type_id)[:256]), one.name or type_id)
    close = get_close_matches(normalised(wanted[:256]), names, n=_NEAREST, cutoff=0.5)
    return tuple([names[key] for key in dict.fromkeys([*close, *names])][:_NEAREST])
