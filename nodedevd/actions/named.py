"""named: the mdevs, definitions and parents that the names of a request mean."""

from __future__ import annotations

from typing import NamedTuple

from nodedevd.actions.facts import ActionFacts
from nodedevd.errors import NoSuchDevice, NotPossible
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.shared.mdevctl import Definition, definition_path, parse_definition
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import is_uuid, parse_mdev_name, sanitise


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
    return snapshot.find(name) or parent_by_kernel_name(snapshot, name)


def parent_by_kernel_name(snapshot: Snapshot, name: str) -> Device | None:
    """Return the device of a kernel name, preferably one that is an mdev parent."""
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
    if not _is_uuid_alone(name):
        return ((exact, mdev),)
    found = [
        (device, child)
        for device in snapshot.by_sysname(mdev.uuid)
        if (child := device.capability(MdevChild)) is not None
    ]
    return tuple(sorted(found, key=lambda one: (not one[0].active, one[0].name)))


def uuid_named(name: str) -> str | None:
    """Return the UUID in a name of an mdev that need not exist; None for any other text."""
    parsed = parse_mdev_name(name)
    if parsed is not None:
        return parsed.uuid
    return name.lower() if is_uuid(name) else None


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
    found = _definitions(snapshot, facts, name)
    if parent is not None:
        above = parent_named(snapshot, parent)
        wanted = {parent} if above is None else {parent, above.sysname}
        found = [one for one in found if one[0] in wanted]
    if not found:
        on = "" if parent is None else f" on {parent}"
        raise NotPossible(name, "not-defined", f"mdevctl has no definition of it{on}")
    if len(found) > 1:
        parents = ", ".join(one[0] for one in found)
        detail = f"several parents have a definition of it: {parents}; give one as the parent"
        raise NotPossible(name, "several-definitions", detail)
    [(kernel_name, uuid)] = found
    text = facts.definitions[kernel_name, uuid]
    try:
        definition = parse_definition(text)
    except ValueError as error:
        path = definition_path(kernel_name, uuid)
        detail = f"its definition {path} is malformed: {error}; correct the file or undefine it"
        raise NotPossible(name, "malformed-definition", detail) from None
    devices = mdevs_named(snapshot, uuid)
    of_parent = [device.name for device, mdev in devices if mdev.parent_addr == kernel_name]
    return DefinedMdev(kernel_name, uuid, text, definition, next(iter(of_parent), name))


def _definitions(snapshot: Snapshot, facts: ActionFacts, name: str) -> list[tuple[str, str]]:
    """Return parent and UUID of the definitions that a name may mean, sorted.

    Raises NoSuchDevice, NotPossible if there cannot be any.
    """
    device = snapshot.find(name)
    mdev = None if device is None else device.capability(MdevChild)
    if device is not None and mdev is None:
        raise NotPossible(device.name, "no-mdev", "it is no mdev, so it has no definition")
    uuid = uuid_named(name) if mdev is None else mdev.uuid
    found = sorted(one for one in facts.definitions if one[1] == uuid)
    if _is_uuid_alone(name):
        pass
    elif mdev is not None:
        found = [one for one in found if one[0] == mdev.parent_addr]
    else:
        parsed = parse_mdev_name(name)
        above = None if parsed is None or parsed.parent is None else sanitise(parsed.parent)
        found = [one for one in found if sanitise(one[0]) == above]
    if not found and mdev is None:
        raise NoSuchDevice(name, snapshot.nearest(name))
    return found


def _is_uuid_alone(name: str) -> bool:
    """Return whether a name has nothing but a UUID, which says nothing of the parent."""
    parsed = parse_mdev_name(name)
    return is_uuid(name) or (parsed is not None and parsed.parent is None)
