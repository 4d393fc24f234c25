"""named: the mdevs, definitions and parents that the names of a request mean."""

from __future__ import annotations

from typing import NamedTuple

from nodedevd.actions.facts import ActionFacts
from nodedevd.errors import NoSuchDevice, NotPossible
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.shared.mdevctl import Definition, parse_definition
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import device_name, is_uuid, parse_mdev_name, sanitise


class DefinedMdev(NamedTuple):
    """A definition that mdevctl has of an mdev."""

    parent: str
    """kernel name of the parent, which may be missing"""
    uuid: str
    text: str
    """content of the file"""
    definition: Definition
    name: str
    """name of the mdev's device, active or not"""


def parent_named(snapshot: Snapshot, name: str) -> Device | None:
    """Return the device of any of its names, also of the kernel name by which mdevctl knows it."""
    device = snapshot.find(name)
    if device is not None:
        return device
    named = snapshot.by_sysname(name)
    parents = [one for one in named if one.capability(MdevParent) is not None]
    return next(iter((*parents, *named)), None)


def mdevs_named(snapshot: Snapshot, name: str) -> tuple[tuple[Device, MdevChild], ...]:
    """Return the mdevs that a name means: the one of exactly this name, or all of its UUID.

    A UUID may be defined on several parents, and active on one. An active mdev comes first.
    """
    exact = snapshot.find(name)
    mdev = None if exact is None else exact.capability(MdevChild)
    if exact is None or mdev is None:
        return ()
    if not is_uuid(name) and name != device_name("mdev", mdev.uuid):
        return ((exact, mdev),)
    found = [
        (device, child)
        for device in snapshot.by_sysname(mdev.uuid)
        if (child := device.capability(MdevChild)) is not None
    ]
    return tuple(sorted(found, key=lambda one: (not one[0].active, one[0].name)))


def definition_named(
    snapshot: Snapshot, facts: ActionFacts, name: str, parent: str | None
) -> DefinedMdev:
    """Return the definition that a request means.

    Args:
        snapshot: The devices of the host.
        facts: Has the definitions.
        name: The UUID of the mdev, or any name of its device.
        parent: Any name of the parent, or its kernel name; needed if several parents have a
            definition of this UUID.

    Raises NoSuchDevice, NotPossible.
    """
    device = snapshot.find(name)
    mdev = None if device is None else device.capability(MdevChild)
    parsed = parse_mdev_name(name)
    if mdev is not None:
        uuid = mdev.uuid
    elif is_uuid(name):
        uuid = name.lower()
    elif parsed is not None:
        uuid = parsed.uuid
    else:
        if device is not None:
            raise NotPossible(device.name, "no-mdev", "it is no mdev, so it has no definition")
        raise NoSuchDevice(name, snapshot.nearest(name))
    found = sorted(one for one in facts.definitions if one[1] == uuid)
    if parent is not None:
        above = parent_named(snapshot, parent)
        wanted = {parent} if above is None else {parent, above.sysname}
        found = [one for one in found if one[0] in wanted]
    elif device is not None and mdev is not None and device.name != device_name("mdev", uuid):
        found = [one for one in found if one[0] == mdev.parent_addr]
    elif parsed is not None and parsed.parent is not None:
        found = [one for one in found if sanitise(one[0]) == sanitise(parsed.parent)]
    if len(found) > 1:
        parents = ", ".join(one[0] for one in found)
        detail = f"several parents have a definition of it: {parents}; give one as the parent"
        raise NotPossible(name, "several-definitions", detail)
    if not found:
        if mdev is None:
            raise NoSuchDevice(name, snapshot.nearest(name))
        on = "" if parent is None else f" on {parent}"
        raise NotPossible(name, "not-defined", f"mdevctl has no definition of it{on}")
    key = found[0]
    text = facts.definitions[key]
    path = f"/etc/mdevctl.d/{key[0]}/{uuid}"
    try:
        definition = parse_definition(text)
    except ValueError as error:
        detail = f"its definition {path} is malformed: {error}; correct the file or undefine it"
        raise NotPossible(name, "malformed-definition", detail) from None
    of_parent = [
        one.name for one, child in mdevs_named(snapshot, uuid) if child.parent_addr == key[0]
    ]
    return DefinedMdev(key[0], uuid, text, definition, next(iter(of_parent), name))
