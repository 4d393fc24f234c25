"""mdev_parent: a device that can be divided into mediated devices, on any bus or none.

Reads  mdev_supported_types/<type>/{name,description,device_api,available_instances,devices/}
ABI    Documentation/ABI/testing/sysfs-bus-vfio-mdev
"""

from __future__ import annotations

from collections.abc import Iterable

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
    """One type a parent offers; the directory `mdev_supported_types/<id>`."""

    id: str
    name: str | None
    """name; kernels before 6.1 leave it to the driver"""
    description: str | None
    """description, raw; its form is the driver's own"""
    facts: TypeFacts | None
    """what name and description say, as far as they are understood"""
    device_api: str | None
    """device_api: vfio-pci, vfio-ccw, vfio-ap; None is unknown"""
    available_instances: int | None
    """available_instances: how many more could be created now; None is unknown"""
    devices: tuple[str, ...]
    """devices/: the uuids of the active mdevs of this type, sorted"""


class MdevParent(Capability, frozen=True, gc=False, tag="mdev_parent"):
    """The types on offer and the mdevs there are."""

    types: tuple[MdevType, ...]
    children: tuple[str, ...]
    """uuids of all mdevs below this device, half-made ones included, sorted"""


def read(node: Node) -> MdevParent | None:
    """Read a device that has types, or that the kernel lists as a parent."""
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
    """Return what says that two PCI functions offer the same types; None if nothing does."""
    if "PCI_ID" not in node.uevent:
        return None
    ids = [node.uevent.get(name, "") for name in ("DRIVER", "PCI_ID", "PCI_SUBSYS_ID")]
    return (*ids, "physfn" if "physfn" in node.entries else "")


def read_type(
    node: Node, name: str, unplaced: set[str], model: tuple[str, ...] | None = None
) -> MdevType | None:
    """Read one type; None if it is gone again, or is no directory.

    Mdevs of the type are among the device's children that have no type yet, `unplaced`, and
    are taken from them; with none left, none need be looked for. What a type is called, and is,
    is read once for all devices of the same driver and model.
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
        return read_type(node, name, unplaced)  # it may be no type at all
    devices = tuple(map(printable_path, node.names(f"{path}/devices"))) if unplaced else ()
    unplaced.difference_update(devices)
    if (available, devices) != (found.available_instances, found.devices):
        found = replace(found, available_instances=available, devices=devices)
    if model is not None and len(node.faults) == faults:
        node.sysroot.keep((*model, name), found)
    if found.device_api is None and found.available_instances is None and not node.names(path):
        del node.faults[faults:]
        return None
    return found


def reread_volatile(sysroot: Sysroot, path: str, cap: MdevParent) -> MdevParent | None:
    """Read what changes without an event, and nothing else: how many are available.

    The same object if nothing is different; None if the device has to be read as a whole.
    """
    types = []
    for one in cap.types:
        try:
            text = sysroot.read(f"{path}/{MDEV_TYPES}/{one.id}/available_instances")
            number = parse_number(text.decode().removesuffix("\n"))
        except (OSError, UnicodeDecodeError):
            return None
        if number is None or one.available_instances is None:
            return None
        if number != one.available_instances:
            one = replace(one, available_instances=number)
        types.append(one)
    return cap if tuple(types) == cap.types else replace(cap, types=tuple(types))


def definitions(cap: MdevParent, device: DeviceLike, tree: TreeLike) -> Iterable[str]:
    """Return the inactive mdevs that are defined for this parent: they may wait for it."""
    return tree.below(definitions_directory(device.path or ""))


def write(cap: MdevParent, out: Out) -> None:
    """Write each type with its active mdevs, then all mdevs of the device."""
    for one in cap.types:
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
    if cap.children:
        with out.begin("children"):
            for uuid in cap.children:
                out.empty("device", uuid=uuid)


def write_as_libvirt(cap: MdevParent, out: Out) -> None:
    """Write the types that are complete; libvirt does not list a device with one that is not."""
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
    """Return whether there are types, or the device has nothing else to be listed for."""
    return len(cap.types) > 0 or len(device.capabilities) == 1


KIND = Kind(
    capability=MdevParent,
    read=read,
    write=write,
    reread_volatile=reread_volatile,
    neighbours=definitions,
    dependents=definitions,
    # libvirt knows one parent that is nothing else, mtty, and nests the types of it twice.
    libvirt=LibvirtForm(
        "mdev_types",
        bit=13,
        write=write_as_libvirt,
        shown=_shown_by_libvirt,
        within_others=True,
    ),
)
