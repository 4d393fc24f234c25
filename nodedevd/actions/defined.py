"""defined: which of mdevctl's definitions a client means, and which parent and type one may have.

mdevctl goes by the UUID alone where it can, and one UUID may be defined for several parents: it
then removes all of them, or refuses. Here a definition is always that of a UUID and a parent.
"""

from __future__ import annotations

import msgspec

from nodedevd.actions.facts import ActionFacts
from nodedevd.errors import InvalidParameter, NoSuchDevice, NoSuchType, NotPossible
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.shared.mdevctl import Definition, definition_path, is_parent_name
from nodedevd.kinds.shared.mdevctl import parse_definition as parse
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import device_name, is_file_name, is_uuid, parse_mdev_name, sanitise
from nodedevd.questions.vgpus import find_type, vgpu_functions


class Defined(msgspec.Struct, frozen=True):
    """One of mdevctl's definitions."""

    parent: str
    """kernel name of the parent"""
    uuid: str
    text: str
    device: Device | None
    """the mdev, active or not; None if the tree does not show it (yet)"""

    @property
    def path(self) -> str:
        """Path of its file."""
        return definition_path(self.parent, self.uuid)

    def definition(self) -> Definition:
        """Return what it says. Raises NotPossible if it is malformed."""
        try:
            return parse(self.text)
        except ValueError as error:
            raise NotPossible(
                self.uuid,
                "malformed-definition",
                f"its definition {self.path} is malformed ({error}), and mdevctl cannot read it"
                " either; repair the file, or remove it with undefine",
            ) from None


class Parent(msgspec.Struct, frozen=True):
    """The parent of a definition, which may be absent."""

    name: str
    """kernel name"""
    device: Device | None


def uuid_of(snapshot: Snapshot, name: str) -> str | None:
    """Return the UUID of the mdev that a name means, whether or not the tree shows it."""
    device = snapshot.find(name)
    mdev = None if device is None else device.capability(MdevChild)
    if mdev is not None:
        return mdev.uuid
    if device is not None:
        return None
    if is_uuid(name):
        return name.lower()
    parsed = parse_mdev_name(name)
    return None if parsed is None else parsed.uuid


def find_definition(
    snapshot: Snapshot, facts: ActionFacts, name: str, parent: str | None
) -> Defined:
    """Return the one definition that a client means.

    Raises NoSuchDevice, and NotPossible: there is none of this device, or there are several.
    """
    found = find_definitions(snapshot, facts, name, parent)
    if len(found) > 1:
        parents = ", ".join([one.parent for one in found])
        raise NotPossible(
            name, "ambiguous-definition", f"it is defined for several parents: {parents}; name one"
        )
    if found:
        return found[0]
    if uuid_of(snapshot, name) is None and snapshot.find(name) is None:
        raise NoSuchDevice(name, snapshot.nearest(name))
    where = "" if parent is None else f" for the parent {parent}"
    raise NotPossible(name, "not-defined", f"mdevctl has no definition of it{where}; define it")


def find_definitions(
    snapshot: Snapshot, facts: ActionFacts, name: str, parent: str | None
) -> list[Defined]:
    """Return all definitions that a client may mean, sorted by their parents."""
    uuid = uuid_of(snapshot, name)
    wanted = None if parent is None else find_parent(snapshot, parent).name
    return [
        Defined(
            parent=above, uuid=uuid, text=text, device=mdev_of(snapshot, uuid=uuid, parent=above)
        )
        for (above, known), text in sorted(facts.definitions.items())
        if uuid == known and wanted in (None, above) and _means(snapshot, name, uuid, above)
    ]


def _means(snapshot: Snapshot, name: str, uuid: str, parent: str) -> bool:
    """Return whether a name may mean the mdev of this parent; one that names a parent does not.

    Names with a parent are libvirt's, paths, and those that tell devices of one name apart.
    """
    parsed = parse_mdev_name(name)
    if name.startswith("/") or (parsed is None and not is_uuid(name)):
        mdev = snapshot.lookup(name).capability(MdevChild)
        return mdev is not None and mdev.parent_addr == parent
    if parsed is None or parsed.parent is None:
        return True
    exact = snapshot.get(name)
    if exact is not None and name != device_name("mdev", uuid):
        mdev = exact.capability(MdevChild)
        return mdev is not None and mdev.parent_addr == parent
    return sanitise(parsed.parent) == sanitise(parent)


def mdev_of(snapshot: Snapshot, *, uuid: str, parent: str) -> Device | None:
    """Return the mdev of a UUID and a parent's kernel name, active or not."""
    for device in snapshot.by_sysname(uuid):
        mdev = device.capability(MdevChild)
        if mdev is not None and mdev.parent_addr == parent:
            return device
    return None


def find_parent(snapshot: Snapshot, name: str) -> Parent:
    """Return the parent of any name; one that is absent goes by its kernel name.

    Raises InvalidParameter for a text that is no kernel name.
    """
    named = [one for one in (snapshot.find(name),) if one is not None]
    # A CCW device may have the bus id of another subchannel, and has no mdevs.
    named += [one for one in snapshot.by_sysname(name) if one.subsystem != "ccw"]
    parents = [one for one in named if one.capability(MdevParent) is not None]
    device = next(iter(parents or named), None)
    kernel_name = name if device is None else device.sysname or ""
    if not is_parent_name(kernel_name):
        raise InvalidParameter("parent", f"{name!r} is no kernel name of a device")
    return Parent(kernel_name, device)


def type_for(parent: Parent, wanted: str, *, force: bool) -> str:
    """Return the id of a type, given by id or name; whatever is given if the parent is absent.

    Raises NoSuchType if the parent offers others only, unless forced; NotPossible if its vGPUs
    are no mdevs, or several types have the name; InvalidParameter.
    """
    device = parent.device
    if device is not None and device.capability(Vgpu) is not None:
        raise NotPossible(
            device.name,
            "no-mdev-parent",
            "its vGPUs are no mdevs, and mdevctl cannot define them; create them without",
        )
    offers = device is not None and device.capability(MdevParent)
    if device is not None and offers and offers.types:
        try:
            found = {one.id for one in find_type(vgpu_functions([device]), wanted)}
        except NoSuchType:
            if not force:
                raise
            found = set()
        if len(found) > 1:
            raise NotPossible(
                wanted, "ambiguous-type", f"it can mean {', '.join(sorted(found))}; give one"
            )
        wanted = next(iter(found), wanted)
    if not is_file_name(wanted):
        raise InvalidParameter("type", f"{wanted!r} is no id of a type")
    return wanted


def lock_of(parent: str) -> str:
    """Return what is locked while definitions for a parent change.

    It is not the card: a definition changes no device, and a card whose driver hangs still takes
    definitions.
    """
    return device_name("mdevctl", parent)
