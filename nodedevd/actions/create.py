"""create: creates mdevs of a type, or sets it as the profile of functions with vendor VFIO.

Which of the two follows from the function that is chosen. An mdev has a UUID, so asking for the
same one again is success; a function has none, and asking again takes another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from typing import NamedTuple

from msgspec.structs import replace

from nodedevd.actions.attributes import attributes_of_function, attributes_of_mdev
from nodedevd.actions.callouts import with_callouts
from nodedevd.actions.existing import as_it_is, existing_mdev
from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.named import mdevs_named
from nodedevd.actions.ownership import Record, living_record
from nodedevd.actions.places import (
    choose_places,
    devices_named,
    free_places,
    functions_meant,
    no_room,
)
from nodedevd.actions.plan import CreateMdev, Expected, Plan, SetProfile, Step
from nodedevd.actions.requests import Attribute, Create
from nodedevd.errors import Conflict, InvalidParameter
from nodedevd.kinds.shared.mdevctl import Definition, MdevAttribute
from nodedevd.kinds.shared.vgpu_types import type_matches
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.fits import CardType, Place, fits
from nodedevd.questions.vgpus import card_of, type_of


class _Made(NamedTuple):
    """What makes one vGPU."""

    steps: tuple[Step, ...]
    expected: Expected
    record: Record


def plan(snapshot: Snapshot, facts: ActionFacts, request: Create) -> Plan:
    """Return what creates the vGPUs, all of them or none.

    Cards with most room come first, as in `fits`, and each is filled before the next one. Where
    the drivers do not say whether there is room, it is tried.

    Raises NoSuchDevice, NoSuchType, NoRoom, Conflict, OwnedByOther, MadeByOther, NotPossible,
    InvalidParameter.
    """
    if request.names is not None and not request.names:
        raise InvalidParameter("names", "give at least one name, or leave them out for anywhere")
    names = None if request.names is None else devices_named(snapshot, request.names)
    chosen = None if names is None else functions_meant(snapshot, names)
    if request.uuid is not None:
        already = _already(snapshot, facts, request, request.uuid, chosen)
        if already is not None:
            return already
    elif names is not None:
        already = _already_set(snapshot, facts, request, names)
        if already is not None:
            return already
    count = request.count or 1
    found = fits(
        snapshot, request.type, count, None if names is None else [one.name for one in names]
    )
    places = choose_places(found.cards, chosen, count, mdevs_only=request.uuid is not None)
    if len(places) < count:
        raise no_room(request, found.cards, chosen, len(places))
    uuids = iter(facts.new_uuids if request.uuid is None else (request.uuid,))
    made = [_make(snapshot, facts, request, place, uuids) for place in places]
    return Plan(
        action="create",
        cards=tuple(sorted({card_of(snapshot.lookup(place.name)) for place in places})),
        steps=tuple(step for one in made for step in one.steps),
        expected=tuple(one.expected for one in made),
        records=tuple(one.record for one in made),
        notes=tuple(_notes(snapshot, request, found.cards, chosen, count)),
    )


# -- what is so already ------------------------------------------------------------------------


def _already(
    snapshot: Snapshot, facts: ActionFacts, request: Create, uuid: str, chosen: Set[str] | None
) -> Plan | None:
    """Return the plan without steps if the mdev exists; None if the UUID is free.

    Raises Conflict, NotPossible, OwnedByOther, MadeByOther.
    """
    found = existing_mdev(snapshot, uuid)
    if found is None:
        return None
    device, mdev = found
    held = type_of(device)
    same_type = held is not None and type_matches(request.type, held.id, held.name)
    if not same_type or not (chosen is None or mdev.parent in chosen):
        which = "" if held is None else f" of type {held.id}"
        detail = f"the UUID is taken by an mdev{which} on {mdev.parent or mdev.parent_addr}"
        raise Conflict(device.name, detail)
    plan = as_it_is(device, mdev, facts, request)
    if request.attributes:
        plan = replace(plan, notes=(*plan.notes, "the attributes were not written to it"))
    return plan


def _already_set(
    snapshot: Snapshot, facts: ActionFacts, request: Create, names: Sequence[Device]
) -> Plan | None:
    """Return the plan without steps if the client owns the vGPU of the one function it names.

    None if a function that it names, or one of a card, may have room. Raises Conflict.
    """
    held = [
        (device, vgpu.current)
        for device in names
        if (vgpu := device.capability(Vgpu)) is not None and vgpu.current is not None
    ]
    if len(held) < len(names) or not held:
        return None
    device, current = held[0]
    record = living_record(facts.records, device.path or "", current.id)
    claim = facts.claim(request)
    if (
        len(held) == 1
        and record is not None
        and record.owner is not None
        and (record.origin, record.owner) == (claim.origin, claim.owner)
        and type_matches(request.type, current.id, current.name)
    ):
        return Plan(
            action="create",
            cards=(),
            steps=(),
            expected=(Expected(path=device.path, profile=True, type=current.id),),
            generation=record.generation,
            notes=(f"{device.name} had the profile already",),
        )
    detail = (
        f"it is a vGPU already, of type {current.id}; name another function, or its card"
        f" {card_of(device)}, or remove this one first"
    )
    raise Conflict(device.name, detail)


# -- the steps ------------------------------------------------------------------------------------


def _make(
    snapshot: Snapshot,
    facts: ActionFacts,
    request: Create,
    place: Place,
    uuids: Iterator[str],
) -> _Made:
    device = snapshot.lookup(place.name)
    path, attributes = device.path or "", request.attributes or []
    if place.framework == "vendor-vfio":
        writes = attributes_of_function(device.name, path, attributes)
        steps: tuple[Step, ...] = (SetProfile(path, place.type, before=None), *writes)
        expected = Expected(path=path, profile=True, type=place.type)
        return _Made(steps, expected, facts.record(path, "client", request, place.type))
    uuid = next(uuids)
    mdev = f"{path}/{uuid}"
    steps = (
        CreateMdev(path, place.type, uuid),
        *attributes_of_mdev(request.uuid or device.name, mdev, attributes),
    )
    definition = _definition(place.type, attributes)
    steps = with_callouts(facts, "start", device.sysname or "", uuid, definition, steps)
    expected = Expected(path=mdev, uuid=uuid, active=True, type=place.type)
    return _Made(steps, expected, facts.record(uuid, "client", request, place.type))


def _definition(type_id: str, attributes: Iterable[Attribute]) -> Definition:
    return Definition(
        mdev_type=type_id,
        autostart=False,
        attributes=tuple(MdevAttribute(one.name, one.value) for one in attributes),
    )


def _notes(
    snapshot: Snapshot,
    request: Create,
    cards: Sequence[CardType],
    chosen: Set[str] | None,
    count: int,
) -> Iterator[str]:
    sure = [
        min(card.sure, len(free_places(card, chosen, count, mdevs_only=request.uuid is not None)))
        for card in cards
    ]
    if sum(sure) < count:
        yield (
            f"that {count} can be created is not sure: the driver decides; if it refuses one,"
            " none is left"
            if count > 1
            else "that one can be created is not sure: the driver decides"
        )
    for _, mdev in mdevs_named(snapshot, request.uuid or ""):
        if mdev.defined:
            on = f"{mdev.uuid} on {mdev.parent_addr}"
            yield f"mdevctl has a definition of {on}, which is not used"
