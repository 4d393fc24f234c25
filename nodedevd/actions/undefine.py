"""undefine: remove a definition; an mdev that is active goes on without one."""

from __future__ import annotations

from nodedevd.actions.callouts import with_callouts
from nodedevd.actions.definable import lock_of
from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.named import definition_file
from nodedevd.actions.plan import Expected, Plan, Step, WriteDefinition
from nodedevd.actions.requests import Undefine
from nodedevd.errors import NotPossible
from nodedevd.model.snapshot import Snapshot


def plan(snapshot: Snapshot, facts: ActionFacts, request: Undefine) -> Plan:
    """Plan to remove the one definition that is meant, malformed or not.

    Raises NoSuchDevice, NotPossible.
    """
    found = definition_file(snapshot, facts, request.name, request.parent)
    remove = WriteDefinition(parent=found.parent, uuid=found.uuid, text=None, before=found.text)
    steps: tuple[Step, ...] = (remove,)
    notes: tuple[str, ...] = ()
    try:
        definition = found.definition()
        steps = with_callouts(facts, "undefine", found.parent, found.uuid, definition, steps)
    except NotPossible:
        notes = (f"{found.path} is malformed and has no type, so mdevctl's callouts are not run",)
    return Plan(
        action="undefine",
        cards=(lock_of(found.parent),),
        steps=steps,
        expected=(Expected(uuid=found.uuid, parent=found.parent, defined=False),),
        notes=notes,
    )
