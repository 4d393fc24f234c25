"""modify: change a definition and, if asked for, the mdev that runs."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from nodedevd.actions.callouts import callout, with_callouts
from nodedevd.actions.definable import lock_of, parent_for, type_for
from nodedevd.actions.define import as_defined, attributes_of
from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.named import DefinitionFile, definition_file, definition_files
from nodedevd.actions.ownership import check_claim, living_record
from nodedevd.actions.plan import Expected, Plan, Step, WriteDefinition
from nodedevd.actions.requests import Modify
from nodedevd.errors import InvalidParameter, NotPossible
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.shared.mdevctl import Definition, definition_text
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.vgpus import card_of


def plan(snapshot: Snapshot, facts: ActionFacts, request: Modify) -> Plan:
    """Plan to change the one definition that is meant; what the request leaves out stays.

    With `live`, mdevctl's callouts change the mdev that runs, too, before the definition is
    written: if they refuse, it stays as it is. An mdev without a definition is changed alone, and
    so is any with `live_only`.

    Raises NoSuchDevice, NoSuchType, NotPossible, InvalidParameter, and as `check_claim`.
    """
    if request.live_only or (
        request.live and not definition_files(snapshot, facts, request.name, request.parent)
    ):
        return _plan_live_only(snapshot, facts, request)
    found = definition_file(snapshot, facts, request.name, request.parent)
    before = found.definition()
    after = _changed(snapshot, found, before, request)
    steps: list[Step] = []
    cards = [lock_of(found.parent)]
    if request.live:
        device = _running(found.device, request.name)
        _check_live(device, facts, request, after)
        steps.append(callout("live", "modify", found.parent, found.uuid, after))
        cards.append(_card(snapshot, device))
    if after != before:
        text = definition_text(after)
        steps.append(
            WriteDefinition(parent=found.parent, uuid=found.uuid, text=text, before=found.text)
        )
    if steps:
        steps = list(with_callouts(facts, "modify", found.parent, found.uuid, after, steps))
    return Plan(
        action="modify",
        cards=tuple(sorted(cards)),
        steps=tuple(steps),
        expected=(as_defined(after, found.parent, found.uuid, found.device),),
        notes=tuple(_notes(found, request)),
    )


def _plan_live_only(snapshot: Snapshot, facts: ActionFacts, request: Modify) -> Plan:
    """Plan to change an mdev that runs, and nothing that is written about it."""
    device = _running(snapshot.lookup(request.name), request.name)
    mdev = device.capability(MdevChild)
    assert mdev is not None, "as _running returns it"
    assert mdev.mdev_type is not None, "it is complete"
    if request.parent is not None and parent_for(snapshot, request.parent).name != mdev.parent_addr:
        raise NotPossible(device.name, "not-active", f"it is an mdev of {mdev.parent_addr}")
    if request.autostart is not None:
        if request.live_only:
            raise InvalidParameter("live_only", "autostart is of the definition, which stays")
        raise NotPossible(device.name, "not-defined", "autostart needs a definition; define it")
    if request.live_only and request.attributes is None:
        raise InvalidParameter("live_only", "give the attributes that the mdev is to have")
    wanted = Definition(
        mdev_type=request.type or mdev.mdev_type.id,
        autostart=False,
        attributes=attributes_of(request.attributes or ()),
    )
    _check_live(device, facts, request, wanted)
    # As mdevctl does it: where nothing is written, there is nothing to veto.
    steps = (
        callout("live", "modify", mdev.parent_addr, mdev.uuid, wanted),
        callout("notify", "modify", mdev.parent_addr, mdev.uuid, wanted),
    )
    return Plan(
        action="modify",
        cards=(_card(snapshot, device),),
        steps=steps,
        expected=(Expected(path=device.path, active=True),),
    )


def _changed(
    snapshot: Snapshot, found: DefinitionFile, before: Definition, request: Modify
) -> Definition:
    """Return the definition with what the request gives in place of what it has."""
    type_id, autostart, attributes = before.mdev_type, before.autostart, before.attributes
    if request.type is not None and request.type != type_id:
        parent = parent_for(snapshot, found.parent)
        type_id = type_for(parent, request.type, force=bool(request.force))
    if request.autostart is not None:
        autostart = request.autostart
    if request.attributes is not None:
        attributes = attributes_of(request.attributes)
    return Definition(mdev_type=type_id, autostart=autostart, attributes=attributes)


def _running(device: Device | None, name: str) -> Device:
    """Return an mdev that is active and complete. Raises NotPossible for another device."""
    mdev = None if device is None else device.capability(MdevChild)
    if device is None or mdev is None or mdev.state != "complete":
        raise NotPossible(name, "not-active", "it does not run, so there is nothing to change live")
    return device


def _check_live(device: Device, facts: ActionFacts, request: Modify, after: Definition) -> None:
    """Raise NotPossible, or as `check_claim`, if the mdev that runs cannot become like this."""
    mdev = device.capability(MdevChild)
    if mdev is None or mdev.mdev_type is None or mdev.mdev_type.id != after.mdev_type:
        raise NotPossible(
            device.name, "type-is-fixed", "the type of an mdev that runs cannot be changed"
        )
    if not facts.callouts:
        raise NotPossible(
            device.name,
            "no-live-modify",
            "only a callout of mdevctl can change an mdev that runs, and there is none",
        )
    claim, type_id = facts.claim(request), mdev.mdev_type.id
    record = living_record(facts.records, mdev.uuid, type_id)
    if record is not None and record.origin == "definition" and mdev.defined:
        # Whoever may change its definition may change what was started from it.
        claim = replace(claim, origin="definition")
    check_claim(device.name, mdev.uuid, facts.records, claim, type_id=type_id)


def _card(snapshot: Snapshot, device: Device) -> str:
    """Return the card of an mdev that runs."""
    parent = snapshot.get(device.parent or "")
    return device.name if parent is None else card_of(parent)


def _notes(found: DefinitionFile, request: Modify) -> Iterator[str]:
    active = found.device is not None and found.device.active
    if active and not request.live and (request.type, request.attributes) != (None, None):
        yield "the mdev is active, and stays as it is until it is started again; see --live"
