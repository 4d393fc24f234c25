"""existing: the mdev that has a UUID already, which may be the one that is asked for."""

from __future__ import annotations

from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.named import mdevs_named
from nodedevd.actions.ownership import check_shared, living_record
from nodedevd.actions.plan import Expected, Plan
from nodedevd.actions.requests import Request
from nodedevd.errors import NotPossible
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.vgpus import type_of


def existing_mdev(snapshot: Snapshot, uuid: str) -> tuple[Device, MdevChild] | None:
    """Return the active mdev of a UUID, None if the UUID is free.

    Raises NotPossible while the kernel creates or removes it.
    """
    for device, mdev in mdevs_named(snapshot, uuid):
        if not device.active:
            continue
        if mdev.state != "complete":
            doing = "removed" if mdev.state == "removing" else "created or removed"
            detail = f"the mdev is being {doing}; wait until that has ended, or use another UUID"
            raise NotPossible(device.name, mdev.state, detail)
        return device, mdev
    return None


def as_it_is(device: Device, mdev: MdevChild, facts: ActionFacts, request: Request) -> Plan:
    """Return the plan without steps for an mdev that is as it is asked for.

    Raises OwnedByOther, MadeByOther: it is another client's, who may remove it at any time.
    """
    kind = type_of(device)
    type_id = None if kind is None else kind.id
    record = living_record(facts.records, mdev.uuid, type_id)
    notes = [f"{device.name} existed already"]
    if record is None:
        notes.append("it was not made by nodedevd, so a change of it needs force")
    else:
        check_shared(device.name, record, facts.claim(request))
    return Plan(
        action=request.action,
        cards=(),
        steps=(),
        expected=(Expected(path=device.path, uuid=mdev.uuid, active=True, type=type_id),),
        generation=None if record is None else record.generation,
        notes=tuple(notes),
    )
