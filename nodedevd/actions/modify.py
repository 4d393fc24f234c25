"""modify: change a definition and, if asked for, the mdev that runs."""

from __future__ import annotations

from msgspec.structs import replace

from nodedevd.actions.callouts import callout, with_callouts
from nodedevd.actions.define import as_defined, attributes_of
from nodedevd.actions.defined import (
    Defined,
    Parent,
    find_definition,
    find_definitions,
    find_parent,
    lock_of,
    type_for,
    uuid_of,
)
from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.ownership import check_claim
from nodedevd.actions.plan import Expected, Plan, RunCallouts, Step, WriteDefinition
from nodedevd.actions.requests import Modify, claim_of
from nodedevd.errors import NotPossible
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.shared.mdevctl import Definition, definition_text
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.vgpus import card_of


def plan(snapshot: Snapshot, facts: ActionFacts, request: Modify) -> Plan:
    """Plan to change the one definition that is meant; what the request leaves out stays.

    With `live`, mdevctl's callouts change the mdev that runs, too, before the definition is
    written: if they refuse, it stays as it is. An mdev without a definition is changed alone.

    Raises NoSuchDevice, NotPossible, and as `check_claim`.
    """
    if request.live and not find_definitions(snapshot, facts, request.name, request.parent):
        return _plan_without_definition(snapshot, facts, request)
    found = find_definition(snapshot, facts, request.name, request.parent)
    before = found.definition()
    after = _changed(before, request, find_parent(snapshot, found.parent))
    text = definition_text(after)
    steps: list[Step] = []
    cards = [lock_of(found.parent)]
    if request.live:
        device = _running(found.device, request)
        _check(snapshot, facts, request, device)
        steps.append(callout("live", "modify", found.parent, found.uuid, after))
        cards.append(_card(snapshot, device))
    if after != before:
        steps.append(
            WriteDefinition(parent=found.parent, uuid=found.uuid, text=text, before=found.text)
        )
    return Plan(
        action="modify",
        cards=tuple(sorted(cards)),
        steps=with_callouts(facts, "modify", found.parent, found.uuid, after, steps)
        if steps
        else (),
        expected=(as_defined(after, found.parent, found.uuid, found.device),),
        notes=_notes(found, before, after, live=bool(request.live)),
    )
