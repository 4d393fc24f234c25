"""start: creates the mdev of one of mdevctl's definitions, as `mdevctl start` does."""

from __future__ import annotations

from nodedevd.actions.attributes import attributes_of_mdev
from nodedevd.actions.callouts import with_callouts
from nodedevd.actions.existing import as_it_is, existing_mdev
from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.named import DefinedMdev, definition_named, parent_by_kernel_name
from nodedevd.actions.plan import CreateMdev, Expected, Plan, Step
from nodedevd.actions.requests import Start
from nodedevd.errors import Conflict, NoRoom, NotPossible
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.vgpus import card_of, type_of


def plan(snapshot: Snapshot, facts: ActionFacts, request: Start) -> Plan:
    """Return what creates the mdev and writes its attributes; nothing if it runs already.

    Raises NoSuchDevice, NotPossible, NoRoom, Conflict, OwnedByOther, MadeByOther.
    """
    defined = definition_named(snapshot, facts, request.name, request.parent)
    already = _already(snapshot, facts, request, defined)
    if already is not None:
        return already
    parent = _parent(snapshot, defined)
    path = parent.path or ""
    type_id, mdev = defined.definition.mdev_type, f"{path}/{defined.uuid}"
    steps: tuple[Step, ...] = (
        CreateMdev(path, type_id, defined.uuid),
        *attributes_of_mdev(defined.name, mdev, defined.definition.attributes),
    )
    steps = with_callouts(facts, "start", defined.parent, defined.uuid, defined.definition, steps)
    return Plan(
        action="start",
        cards=(card_of(parent),),
        steps=steps,
        expected=(Expected(path=mdev, uuid=defined.uuid, active=True, type=type_id),),
        records=(facts.record(defined.uuid, "definition", request, type_id),),
    )


def _already(
    snapshot: Snapshot, facts: ActionFacts, request: Start, defined: DefinedMdev
) -> Plan | None:
    """Return the plan without steps if the mdev runs; None if its UUID is free.

    Raises Conflict, NotPossible, OwnedByOther, MadeByOther.
    """
    found = existing_mdev(snapshot, defined.uuid)
    if found is None:
        return None
    device, mdev = found
    if mdev.parent_addr != defined.parent:
        raise Conflict(device.name, f"an mdev of this UUID runs on {mdev.parent_addr}")
    kind, wanted = type_of(device), defined.definition.mdev_type
    if kind is None or kind.id != wanted:
        runs = "" if kind is None else f" of type {kind.id}"
        raise Conflict(device.name, f"it runs{runs}; its definition is of type {wanted}")
    return as_it_is(device, mdev, facts, request)


def _parent(snapshot: Snapshot, defined: DefinedMdev) -> Device:
    """Return the parent, if the mdev can be created on it now. Raises NotPossible, NoRoom."""
    found = parent_by_kernel_name(snapshot, defined.parent)
    if found is None:
        detail = f"its parent {defined.parent} is missing; start it when the device is there"
        raise NotPossible(defined.name, "parent", detail)
    parent = found.capability(MdevParent)
    if parent is None:
        driver = f" {found.driver}" if found.driver else ""
        detail = f"the driver{driver} of {found.name} has not registered it as an mdev parent"
        raise NotPossible(defined.name, "registration", detail)
    wanted = defined.definition.mdev_type
    for one in parent.types:
        if one.id == wanted:
            if one.available_instances == 0:
                raise NoRoom(wanted, f"{found.name} has none available")
            return found
    offered = ", ".join(one.id for one in parent.types) or "none"
    detail = f"{found.name} does not offer its type {wanted}; it offers {offered}"
    raise NotPossible(defined.name, "type", detail)
