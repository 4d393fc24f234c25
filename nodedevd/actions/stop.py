"""stop: removes an mdev that has a definition, which stays, as `mdevctl stop` does."""

from __future__ import annotations

from msgspec.structs import replace

from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.named import mdevs_named
from nodedevd.actions.ownership import living_record
from nodedevd.actions.plan import Plan
from nodedevd.actions.remove import remove_mdev
from nodedevd.actions.requests import Stop
from nodedevd.errors import NoSuchDevice, NotPossible
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.vgpus import type_of


def plan(snapshot: Snapshot, facts: ActionFacts, request: Stop) -> Plan:
    """Return what removes the mdev; nothing if it is not active.

    Whether a client or a start of the definition has made it is alike; what mdevctl or anybody
    else has started needs force.

    Raises NoSuchDevice, NotPossible, DeviceInUse, OwnedByOther, MadeByOther, Changed.
    """
    mdevs = mdevs_named(snapshot, request.name)
    if not mdevs:
        device = snapshot.find(request.name)
        if device is None:
            raise NoSuchDevice(request.name, snapshot.nearest(request.name))
        raise NotPossible(device.name, "no-mdev", "it is no mdev, so it cannot be stopped")
    device, mdev = mdevs[0]
    if device.active and not mdev.defined:
        detail = "mdevctl has no definition of it, so it would be lost; remove it instead"
        raise NotPossible(device.name, "not-defined", detail)
    claim = facts.claim(request)
    if claim.origin == "client":
        kind = type_of(device)
        record = living_record(facts.records, mdev.uuid, None if kind is None else kind.id)
        by_client = record is not None and record.origin == "client"
        claim = replace(claim, origin="client" if by_client else "definition")
    return remove_mdev(snapshot, facts, claim, device, mdev, "stop")
