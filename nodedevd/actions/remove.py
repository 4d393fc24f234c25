"""remove: removes an mdev, or takes the profile of a function with vendor VFIO away.

What is gone already is success: a defined mdev that is not active, a function without a profile,
and an mdev of which only the record is left. A name that never meant a vGPU is an error.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from nodedevd.actions.callouts import with_callouts
from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.named import mdevs_named
from nodedevd.actions.open_devices import note_if_open, refuse_if_open
from nodedevd.actions.ownership import Claim, check_claim, living_record
from nodedevd.actions.plan import Action, Expected, Plan, RemoveMdev, SetProfile, Step
from nodedevd.actions.requests import Remove
from nodedevd.errors import NoSuchDevice, NotPossible
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.shared.mdevctl import Definition
from nodedevd.kinds.vgpu import CURRENT, Vgpu
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import parse_mdev_name
from nodedevd.questions.vgpus import card_of, type_of


def plan(snapshot: Snapshot, facts: ActionFacts, request: Remove) -> Plan:
    """Return what removes the vGPU.

    Raises NoSuchDevice, NotPossible, DeviceInUse, OwnedByOther, MadeByOther, Changed.
    """
    claim = facts.claim(request)
    mdevs = mdevs_named(snapshot, request.name)
    if mdevs:
        device, mdev = mdevs[0]
        if claim.origin == "client" and not mdev.defined:
            claim = _as_started(facts, claim, device, mdev)
        return remove_mdev(snapshot, facts, claim, device, mdev, "remove")
    found = snapshot.find(request.name)
    if found is None:
        return _gone(snapshot, facts, claim, request.name)
    vgpu = found.capability(Vgpu)
    if vgpu is None:
        detail = "it is neither an mdev nor a function with vendor VFIO, so there is no vGPU"
        raise NotPossible(found.name, "no-vgpu", detail)
    return _take_profile(facts, claim, found, vgpu)


def _as_started(facts: ActionFacts, claim: Claim, device: Device, mdev: MdevChild) -> Claim:
    """Return the claim to an mdev without a definition, from which it may have been started.

    `stop` would remove it until somebody undefines it, so a client may remove it then.
    """
    kind = type_of(device)
    record = living_record(facts.records, mdev.uuid, None if kind is None else kind.id)
    if record is None or record.origin != "definition":
        return claim
    return replace(claim, origin="definition")


def remove_mdev(
    snapshot: Snapshot,
    facts: ActionFacts,
    claim: Claim,
    device: Device,
    mdev: MdevChild,
    action: Action,
) -> Plan:
    """Return what removes one mdev; nothing if it is not active.

    Raises NotPossible, DeviceInUse, OwnedByOther, MadeByOther, Changed.
    """
    if not device.active:
        _check_listed(snapshot, device.name)
        return Plan(
            action=action,
            cards=(),
            steps=(),
            expected=(Expected(uuid=mdev.uuid, parent=mdev.parent_addr, active=False),),
            notes=(f"{device.name} is defined, and was not active",),
        )
    kind = type_of(device)
    type_id = None if kind is None else kind.id
    check_claim(device.name, mdev.uuid, facts.records, claim, type_id=type_id)
    if mdev.state == "removing":
        use = facts.usage.use(device.name, device.path)
        by = f": process {use.holders[0].pid}" if use.holders and facts.names_processes else ""
        detail = (
            "the kernel is removing it already, and waits until no process has it open"
            f"{by}; `nodedevctl in-use {device.name}` shows who has"
        )
        raise NotPossible(device.name, "removing", detail)
    if mdev.state == "incomplete" and not claim.force:
        detail = (
            "its type cannot be told: it is being created or removed; wait for it, or use force,"
            " and then it cannot be created again if the removal fails"
        )
        raise NotPossible(device.name, "incomplete", detail)
    refuse_if_open(device, facts, claim)
    path = device.path or ""
    parent = path.rpartition("/")[0]
    steps: tuple[Step, ...] = (RemoveMdev(parent, type_id, mdev.uuid),)
    definition = mdev.definition or Definition(type_id or "", False, ())
    steps = with_callouts(facts, "stop", mdev.parent_addr, mdev.uuid, definition, steps)
    above = snapshot.at(parent)
    return Plan(
        action=action,
        cards=(card_of(device if above is None else above),),
        steps=steps,
        expected=(Expected(path=path, uuid=mdev.uuid, active=False), *_left(mdev)),
        forgotten=(mdev.uuid,),
        forced=claim.force,
        notes=note_if_open(device, facts),
    )


def _left(mdev: MdevChild) -> Iterator[Expected]:
    """Yield what the tree shows of a defined mdev afterwards: it is inactive."""
    if mdev.defined:
        yield Expected(uuid=mdev.uuid, parent=mdev.parent_addr, active=False)


def _take_profile(facts: ActionFacts, claim: Claim, device: Device, vgpu: Vgpu) -> Plan:
    path = device.path or ""
    expected = (Expected(path=path, profile=False),)
    if vgpu.current is None:
        if device.is_unknown(CURRENT):
            detail = f"its profile cannot be read, see the errors of {device.name}"
            raise NotPossible(device.name, "unreadable", detail)
        note = f"{device.name} has no profile"
        return Plan(action="remove", cards=(), steps=(), expected=expected, notes=(note,))
    check_claim(device.name, path, facts.records, claim, type_id=vgpu.current.id)
    refuse_if_open(device, facts, claim)
    return Plan(
        action="remove",
        cards=(card_of(device),),
        steps=(SetProfile(path, None, before=vgpu.current.id),),
        expected=expected,
        forgotten=(path,),
        forced=claim.force,
        notes=note_if_open(device, facts),
    )


def _gone(snapshot: Snapshot, facts: ActionFacts, claim: Claim, name: str) -> Plan:
    """Return the plan without steps for an mdev that was made here, and that somebody removed.

    Raises NoSuchDevice if nothing is known of such a device, NotPossible if it may be there.
    """
    parsed = parse_mdev_name(name)
    uuid = name.lower() if parsed is None else parsed.uuid
    if uuid not in facts.records:
        raise NoSuchDevice(name, snapshot.nearest(name))
    check_claim(name, uuid, facts.records, claim)
    _check_listed(snapshot, name)
    return Plan(
        action="remove",
        cards=(),
        steps=(),
        expected=(Expected(uuid=uuid, active=False),),
        forgotten=(uuid,),
        notes=(f"{name} was gone already",),
    )


def _check_listed(snapshot: Snapshot, name: str) -> None:
    """Refuse to call gone what the tree may lack. Raises NotPossible."""
    for one in snapshot.errors:
        detail = (
            f"{one.attribute} could not be listed ({one.detail}), so whether it is gone cannot be"
            " told; see `nodedevctl doctor`"
        )
        raise NotPossible(name, "unreadable", detail)
