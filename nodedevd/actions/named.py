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


class DefinitionFile(NamedTuple):
    """A definition that mdevctl has of an mdev, malformed or not."""

    parent: str
    """kernel name of the parent, which may be missing"""
    uuid: str
    text: str
    """content of the file"""
    device: Device | None
    """the mdev, active or not"""
    name: str
    """name of the mdev's device, or by which it was asked for"""

    @property
    def path(self) -> str:
        """Path of the file."""
        return definition_path(self.parent, self.uuid)

    def definition(self) -> Definition:
        """Return what it says. Raises NotPossible if it is malformed."""
        try:
            return parse_definition(self.text)
        except ValueError as error:
            raise NotPossible(
                self.name,
                "malformed-definition",
                f"its definition {self.path} is malformed ({error}), and mdevctl cannot read it"
                " either; correct the file, or undefine it",
            ) from None


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
    # A CCW device may have the bus id of another subchannel, and has no mdevs.
    named = [one for one in snapshot.by_sysname(name) if one.subsystem != "ccw"]
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
    if not is_uuid(name) and parse_mdev_name(name) != (mdev.uuid, None):
        return ((exact, mdev),)
    found = [
        (device, child)
        for device in snapshot.by_sysname(mdev.uuid)
        if (child := device.capability(MdevChild)) is not None
    ]
    return tuple(sorted(found, key=lambda one: (not one[0].active, one[0].name)))


def mdev_named(snapshot: Snapshot, uuid: str, parent: str) -> Device | None:
    """Return the mdev of a UUID and of its parent's kernel name, active or not."""
    for device in snapshot.by_sysname(uuid):
        mdev = device.capability(MdevChild)
        if mdev is not None and mdev.parent_addr == parent:
            return device
    return None


def uuid_named(snapshot: Snapshot, name: str) -> str:
    """Return the UUID of the mdev that a name means, whether or not there is one.

    Raises NoSuchDevice; NotPossible if it is another device.
    """
    device = snapshot.find(name)
    mdev = None if device is None else device.capability(MdevChild)
    if mdev is not None:
        return mdev.uuid
    if device is not None:
        raise NotPossible(device.name, "no-mdev", "it is no mdev, so it has no definition")
    if is_uuid(name):
        return name.lower()
    parsed = parse_mdev_name(name)
    if parsed is None:
        raise NoSuchDevice(name, snapshot.nearest(name))
    return parsed.uuid


def definition_named(
    snapshot: Snapshot, facts: ActionFacts, name: str, parent: str | None
) -> DefinedMdev:
    """Return the definition that a request means, which is well-formed.

    The arguments are those of `definition_file`. Raises NoSuchDevice, NotPossible.
    """
    file = definition_file(snapshot, facts, name, parent)
    return DefinedMdev(file.parent, file.uuid, file.text, file.definition(), file.name)


def definition_file(
    snapshot: Snapshot, facts: ActionFacts, name: str, parent: str | None
) -> DefinitionFile:
    """Return the definition that a request means, malformed or not.

    Args:
        snapshot: The devices of the host.
        facts: Has the definitions.
        name: The UUID of the mdev, or any name of its device.
        parent: Any name of the parent, or its kernel name; needed if several parents have a
            definition of this UUID.

    Raises NoSuchDevice, NotPossible.
    """
    found = definition_files(snapshot, facts, name, parent)
    if len(found) > 1:
        parents = ", ".join(one.parent for one in found)
        detail = f"several parents have a definition of it: {parents}; give one as parent, --parent"
        raise NotPossible(name, "several-definitions", detail)
    if found:
        return found[0]
    if snapshot.find(name) is None:
        raise NoSuchDevice(name, snapshot.nearest(name))
    on = "" if parent is None else f" on {parent}"
    raise NotPossible(name, "not-defined", f"mdevctl has no definition of it{on}")


def definition_files(
    snapshot: Snapshot, facts: ActionFacts, name: str, parent: str | None
) -> list[DefinitionFile]:
    """Return all definitions that a request may mean, sorted by their parents.

    The arguments are those of `definition_file`. Raises NoSuchDevice, NotPossible.
    """
    uuid = uuid_named(snapshot, name)
    device, parsed = snapshot.find(name), parse_mdev_name(name)
    mdev = None if device is None else device.capability(MdevChild)
    found = sorted(one for one in facts.definitions if one[1] == uuid)
    if parent is not None:
        above = parent_named(snapshot, parent)
        wanted = {parent} if above is None else {parent, above.sysname}
        found = [one for one in found if one[0] in wanted]
    if parsed is not None and parsed.parent is not None and snapshot.get(name) is None:
        found = [one for one in found if sanitise(one[0]) == sanitise(parsed.parent)]
    elif mdev is not None and not is_uuid(name) and parsed != (uuid, None):
        found = [one for one in found if one[0] == mdev.parent_addr]
    files = []
    for above_name, _ in found:
        known = mdev_named(snapshot, uuid, above_name)
        text = facts.definitions[above_name, uuid]
        files.append(
            DefinitionFile(above_name, uuid, text, known, name if known is None else known.name)
        )
    return files
