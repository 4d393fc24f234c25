"""summary: what a fleet knows of a host without its tree: counts, and the room for vGPUs.

A pure function of the devices. It has the numbers of `fits`, so that nobody needs the devices of
a thousand hosts to find one with room.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from typing import Annotated

import msgspec

from nodedevd.kinds.shared.vgpu_types import TEXT_LIMIT
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.fits import CardType, NoRoomReason, Types, types
from nodedevd.questions.vgpus import Framework

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
VgpuCount = Annotated[int, msgspec.Meta(ge=0, le=1 << 32)]
"""Added up over the cards of all hosts, the sum still has less than 64 bits."""
Text = Annotated[str, msgspec.Meta(max_length=TEXT_LIMIT)]


class TypeName(msgspec.Struct, frozen=True, gc=False):
    """A vGPU type of a host."""

    name: Text | None = None
    framebuffer: Count | None = None
    """bytes"""


class TypeRoom(msgspec.Struct, frozen=True, gc=False):
    """The room of a card for one of its types; the fields are those of `CardType`."""

    id: Text
    available: VgpuCount | None
    sure: VgpuCount
    active: VgpuCount
    defined: VgpuCount = 0
    ceiling: VgpuCount | None = None
    reason: Text | None = None


class CardRoom(msgspec.Struct, frozen=True, gc=False):
    """A card, and its room for each of its types."""

    card: Text
    framework: Framework | None = None
    functions: Count = 0
    """number of functions that offer types, or have vGPUs"""
    types: tuple[TypeRoom, ...] = ()
    reason: NoRoomReason | None = None
    """why it offers no types at all"""
    driver: Text | None = None


class HostRoom(msgspec.Struct, frozen=True):
    """What can be said of a host without its devices."""

    devices: Count
    """present ones"""
    counts: dict[Text, Count]
    """present devices by capability"""
    types: dict[Text, TypeName]
    """by id"""
    cards: tuple[CardRoom, ...]


def host_room(snapshot: Snapshot) -> HostRoom:
    """Return the counts of a host, and the room of its cards."""
    counts: Counter[str] = Counter()
    devices = 0
    for device in snapshot:
        if device.active:
            devices += 1
            counts.update(device.types)
    return room_of(types(snapshot), devices, dict(sorted(counts.items())))


def room_of(found: Types, devices: int, counts: dict[str, int]) -> HostRoom:
    """Return the same from the answer of `types`."""
    names = {
        one.type: TypeName(one.type_name, one.facts.framebuffer_bytes if one.facts else None)
        for one in found.types
        if one.type is not None
    }
    cards = tuple([_card(list(rows)) for _, rows in groupby(found.types, lambda one: one.card)])
    return HostRoom(devices, counts, names, cards)


def _card(rows: list[CardType]) -> CardRoom:
    first = rows[0]
    functions = {place.name for one in rows for place in one.functions}
    return CardRoom(
        card=first.card,
        framework=first.framework,
        functions=len(functions),
        types=tuple(_types(rows)),
        reason=first.reason if first.type is None else None,
        driver=first.driver,
    )


def _types(rows: Iterable[CardType]) -> Iterable[TypeRoom]:
    for one in rows:
        if one.type is not None:
            yield TypeRoom(
                one.type,
                one.available,
                one.sure,
                one.active,
                one.defined,
                one.ceiling,
                one.reason,
            )
