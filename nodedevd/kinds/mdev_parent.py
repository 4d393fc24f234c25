"""mdev_parent: a device of any bus or class that can be divided into mediated devices.

Reads  mdev_supported_types/<type>/{name,description,device_api,available_instances,devices/}
ABI    Documentation/ABI/testing/sysfs-bus-vfio-mdev
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import is_

import msgspec
from msgspec.structs import replace

from nodedevd.host.mdev_paths import MDEV_BUS, MDEV_TYPES
from nodedevd.host.node import Node, parse_number
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.base import Capability, DeviceLike, Kind, LibvirtForm, TreeLike
from nodedevd.kinds.shared.mdevctl import definitions_directory
from nodedevd.kinds.shared.vgpu_types import TypeFacts, type_facts, write_facts
from nodedevd.names import is_uuid
from nodedevd.text import printable_path
from nodedevd.xml_writer import Out


class MdevType(msgspec.Struct, frozen=True, gc=False):
    """One type that a parent offers; the directory `mdev_supported_types/<id>`."""

    id: str = msgspec.field(name="type")
    name: str | None = msgspec.field(name="type_name")
    """name; optional before Linux 6.1"""
    description: str | None
    """description, as the driver words it"""
    facts: TypeFacts | None
    """facts parsed from name and description"""
    device_api: str | None
    """device_api: vfio-pci, vfio-ccw, vfio-ap; None is unknown"""
    available_instances: int | None = msgspec.field(name="available")
    """available_instances: how many more can be created now; None is unknown"""
    devices: tuple[str, ...] = msgspec.field(name="mdevs")
    """devices/: uuids of the active mdevs of this type, sorted"""
    active: int = 0
    """number of these mdevs"""

    def __post_init__(self) -> None:
        if self.active != len(self.devices):
            msgspec.structs.force_setattr(self, "active", len(self.devices))


class MdevParent(Capability, frozen=True, gc=False, tag="mdev_parent"):
    """An mdev parent, with its types and mdevs."""

    types: tuple[MdevType, ...]
    children: tuple[str, ...] = msgspec.field(name="mdevs")
    """uuids of all active mdevs of this parent, including incomplete ones, sorted"""


def read(node: Node) -> MdevParent | None:
    """Read a device that has types, or that the kernel lists as a parent; None for others."""
    if not node.has(MDEV_TYPES):
        if MDEV_BUS not in node.listed_in:
            return None
        node.fault(MDEV_TYPES, "absent", "")
    children = tuple(sorted([name for name in node.entries if is_uuid(name)]))
    model = _model(node)
    unplaced = set(children)
    types = [read_type(node, name, unplaced, model) for name in node.names(MDEV_TYPES)]
    return MdevParent(types=tuple([one for one in types if one is not None]), children=children)


def _model(node: Node) -> tuple[str, ...] | None:
    """Return a key that is equal for PCI functions with the same types; None if there is none."""
    if "PCI_ID" not in node.uevent:
        return None
    ids = [node.uevent.get(name, "") for name in ("DRIVER", "PCI_ID", "PCI_SUBSYS_ID")]
    return (*ids, "physfn" if "physfn" in node.entries else "")


def read_type(
    node: Node, name: str, unplaced: set[str], model: tuple[str, ...] | None = None
) -> MdevType | None:
    """Read one type; None if it is gone, or is not a directory.

    `unplaced` are the mdevs of the parent whose type is not known yet. Those of this type are
    removed from it; once it is empty, `devices/` is not listed any more. The texts of a type
    are read once for all devices of the same driver and model.
    """
    path = f"{MDEV_TYPES}/{name}"
    faults = len(node.faults)
    known: MdevType | None = None if model is None else node.sysroot.alike.get((*model, name))
    found = known
    if found is None:
        type_name = node.read(f"{path}/name")
        description = node.read(f"{path}/description")
        found = MdevType(
            id=printable_path(name),
            name=type_name,
            description=description,
            facts=type_facts(type_name, description),
            device_api=node.read(f"{path}/device_api", promised=True),
            available_instances=None,
            devices=(),
        )
    available = node.read_number(f"{path}/available_instances", promised=True)
    if known is not None and available is None:
        del node.faults[faults:]
        return read_type(node, name, unplaced)  # it may not be a type
    devices = tuple(map(printable_path, node.names(f"{path}/devices"))) if unplaced else ()
    unplaced.difference_update(devices)
    if (available, devices) != (found.available_instances, found.devices):
        found = replace(found, available_instances=available, devices=devices, active=len(devices))
    if model is not None and len(node.faults) == faults:
        node.sysroot.keep((*model, name), found)
    if found.device_api is None and found.available_instances is None and not node.names(path):
        del node.faults[faults:]
        return None
    return found


def reread_volatile(sysroot: Sysroot, path: str, cap: MdevParent) -> MdevParent | None:
    """Read only `available_instances`, which changes without an event.

    Returns the same object if the counts are the same, None if one cannot be read.
    """
    types = []
    for one in cap.types:
        if one.available_instances is None:
            return None
        try:
            text = sysroot.read(f"{path}/{MDEV_TYPES}/{one.id}/available_instances")
            if text != b"%d\n" % one.available_instances:
                number = parse_number(text.decode().removesuffix("\n"))
                if number is None:
                    return None
                if number != one.available_instances:
                    one = replace(one, available_instances=number)
        except (OSError, UnicodeDecodeError):
            return None
        types.append(one)
    return cap if all(map(is_, types, cap.types)) else replace(cap, types=tuple(types))


def definitions(cap: MdevParent, device: DeviceLike, tree: TreeLike) -> Iterable[str]:
    """Return the inactive mdevs that are defined for this parent: they may be waiting for it."""
    return tree.below(definitions_directory(device.path or ""))


def write(cap: MdevParent, out: Out) -> None:
    """Write each type with its active mdevs, then all mdevs of the parent."""
    for one in cap.types:
        if one.devices:
            _write_type(one, out)
        else:
            out.once(_write_type, one)
    if cap.children:
        with out.begin("children"):
            for uuid in cap.children:
                out.empty("device", uuid=uuid)


def _write_type(one: MdevType, out: Out) -> None:
    path = f"{MDEV_TYPES}/{one.id}"
    with out.begin("type", id=one.id):
        out.value("name", one.name, f"{path}/name")
        out.value("description", one.description, f"{path}/description")
        write_facts(one.facts, out)
        out.value("deviceAPI", one.device_api, f"{path}/device_api")
        out.value("availableInstances", one.available_instances, f"{path}/available_instances")
        out.text("activeInstances", len(one.devices))
        for uuid in one.devices:
            out.empty("device", uuid=uuid)


def write_as_libvirt(cap: MdevParent, out: Out) -> None:
    """Write the complete types; libvirt does not list a device with an incomplete one."""
    types = [
        (one, one.device_api, one.available_instances)
        for one in cap.types
        if one.device_api is not None and one.available_instances is not None
    ]
    if not types:
        return
    with out.begin("capability", type="mdev_types"):
        for one, device_api, available_instances in types:
            with out.begin("type", id=one.id):
                if one.name:
                    out.text("name", one.name)
                out.text("deviceAPI", device_api)
                out.text("availableInstances", available_instances)


def _shown_by_libvirt(cap: MdevParent, device: DeviceLike) -> bool:
    """Return whether it has types, or is the only capability of the device."""
    return len(cap.types) > 0 or len(device.capabilities) == 1


KIND = Kind(
    capability=MdevParent,
    read=read,
    write=write,
    reread_volatile=reread_volatile,
    neighbours=definitions,
    dependents=definitions,
    # libvirt knows one device that is only a parent, mtty, and nests its types twice.
    libvirt=LibvirtForm(
        "mdev_types",
        bit=13,
        write=write_as_libvirt,
        shown=_shown_by_libvirt,
        within_others=True,
    ),
)
