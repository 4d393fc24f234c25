"""define: write a definition, so that the mdev can be started, now or along with its parent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nodedevd.actions.callouts import with_callouts
from nodedevd.actions.definable import Parent, lock_of, parent_for, type_for
from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.named import DefinitionFile, mdev_named
from nodedevd.actions.plan import Expected, Plan, WriteDefinition
from nodedevd.actions.requests import Attribute, Define
from nodedevd.errors import NotPossible
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.shared.mdevctl import Definition, MdevAttribute, definition_text
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot


def plan(snapshot: Snapshot, facts: ActionFacts, request: Define) -> Plan:
    """Plan to write a definition, or to replace the one of the same UUID and parent.

    What the request leaves out stays as it was: autostart, and the attributes unless the type
    changes. A parent that is absent is taken by its kernel name, and any type with it.

    Raises InvalidParameter, NoSuchType, NotPossible.
    """
    parent = parent_for(snapshot, request.parent)
    uuid = request.uuid or facts.new_uuids[0]
    device = mdev_named(snapshot, uuid, parent.name)
    before = facts.definitions.get((parent.name, uuid))
    known = _known(before, parent.name, uuid, force=bool(request.force))
    if known is not None and known.mdev_type == request.type:
        type_id = known.mdev_type  # what was defined before may be kept, even if it is not offered
    else:
        type_id = type_for(parent, request.type, force=bool(request.force))
    if request.autostart is not None:
        autostart = request.autostart
    else:
        autostart = known is not None and known.autostart
    if request.attributes is not None:
        attributes = attributes_of(request.attributes)
    elif known is not None and known.mdev_type == type_id:
        attributes = known.attributes
    else:
        attributes = _running_attributes(device, type_id)
    definition = Definition(mdev_type=type_id, autostart=autostart, attributes=attributes)
    text = definition_text(definition)
    write = WriteDefinition(parent=parent.name, uuid=uuid, text=text, before=before)
    return Plan(
        action="define",
        cards=(lock_of(parent.name),),
        steps=()
        if definition == known
        else with_callouts(facts, "define", parent.name, uuid, definition, [write]),
        expected=(as_defined(definition, parent.name, uuid, device),),
        notes=tuple(_notes(snapshot, facts, parent, uuid)),
    )


def attributes_of(given: Sequence[Attribute]) -> tuple[MdevAttribute, ...]:
    """Return the attributes of a request as a definition has them."""
    return tuple([MdevAttribute(one.name, one.value) for one in given])


def as_defined(definition: Definition, parent: str, uuid: str, device: Device | None) -> Expected:
    """Return what the tree shows of an mdev once it has this definition."""
    active = device is not None and device.active
    return Expected(
        uuid=uuid,
        parent=parent,
        defined=True,
        autostart=definition.autostart,
        type=None if active else definition.mdev_type,  # one that runs keeps its own
    )


def _known(before: str | None, parent: str, uuid: str, *, force: bool) -> Definition | None:
    """Return what is defined so far. Raises NotPossible if that is malformed, unless forced."""
    if before is None:
        return None
    try:
        return DefinitionFile(parent, uuid, before, None, uuid).definition()
    except NotPossible:
        if force:
            return None
        raise


def _running_attributes(device: Device | None, type_id: str) -> tuple[MdevAttribute, ...]:
    """Return the attributes of an mdev that runs with this type, as far as the tree knows them."""
    mdev = None if device is None or not device.active else device.capability(MdevChild)
    if mdev is None or mdev.mdev_type is None or mdev.mdev_type.id != type_id:
        return ()
    return mdev.attributes


def _notes(snapshot: Snapshot, facts: ActionFacts, parent: Parent, uuid: str) -> Iterator[str]:
    if parent.device is None:
        yield f"no device has the kernel name {parent.name} now, so the type is not checked"
    elif parent.device.capability(MdevParent) is None:
        yield f"{parent.device.name} is no mdev parent now, so the type is not checked"
    others = sorted({above for above, known in facts.definitions if known == uuid} - {parent.name})
    if others:
        yield (
            f"the UUID is also defined for {', '.join(others)}: only one of them can be active,"
            " and libvirt and mdevctl without --parent act on all of them or refuse"
        )
    for other in snapshot.by_sysname(uuid):
        mdev = other.capability(MdevChild)
        if mdev is not None and other.active and mdev.parent_addr != parent.name:
            yield f"the UUID is active on {mdev.parent_addr}: stop that mdev to start this one"
