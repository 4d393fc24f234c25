"""mdev_child: a mediated device, of one type of its parent.

Reads  mdev_type (a link), its name and device_api, iommu_group, vfio-dev/vfio<N>/dev, remove;
       of vfio-ap matrix and control_domains; /etc/mdevctl.d/<parent>/<uuid>
ABI    Documentation/ABI/testing/sysfs-bus-vfio-mdev, Documentation/driver-api/vfio.rst

What runs and what mdevctl has defined are two configurations of one device, which can differ:
`mdevctl modify` changes the definition alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

from nodedevd.errors import NodeGone
from nodedevd.host.faults import Fault, Faults
from nodedevd.host.job import Unanswered
from nodedevd.host.listing import names_in, target_of
from nodedevd.host.mdev_paths import MDEV_BUS, MDEV_DEVICES, MDEV_TYPES
from nodedevd.host.node import Node, parse_number
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.base import (
    Capability,
    Definable,
    DeviceLike,
    HeldType,
    Kind,
    LibvirtForm,
    NameOf,
    TreeLike,
    VolatileOf,
)
from nodedevd.kinds.pci.sriov import sharing_functions
from nodedevd.kinds.shared.mdevctl import (
    Definition,
    MdevAttribute,
    definition_path,
    definitions_directory,
    read_definition,
)
from nodedevd.kinds.shared.vfio import VfioDevice, read_vfio_device, write_vfio_device
from nodedevd.kinds.shared.vfio_ap import NO_MATRIX, VfioApMatrix, read_matrix
from nodedevd.names import is_uuid
from nodedevd.text import printable_path
from nodedevd.xml_writer import Out

Missing: TypeAlias = Literal["parent", "registration", "type", "capacity"]
"""parent: no device has its kernel name; registration: the device is present, and its driver has
not registered it as an mdev parent; type: the parent does not offer it; capacity:
available_instances is 0"""

State: TypeAlias = Literal["complete", "incomplete", "removing", "inactive"]
"""incomplete: mdev_type is missing (yet); removing: the kernel has taken `remove` away, and waits
until no process has the device open; inactive: there is a definition, but no device"""

_PARENT_BUSES = ("pci", "css", "matrix", "ccwgroup")
"""The buses by whose addresses libvirt finds the parent of a definition,
nodeDeviceObjFormatAddress in node_device_driver.c."""


class MdevChildType(msgspec.Struct, frozen=True, gc=False):
    """The type of an mdev."""

    id: str = msgspec.field(name="type")
    name: str | None = msgspec.field(name="type_name")
    device_api: str | None


class MdevChild(Capability, frozen=True, gc=False, tag="mdev_child"):
    """One mdev. It has no mdev_type right after its creation and during its removal.

    `mdev_type` and `attributes` are of the device that runs; of an inactive mdev they are those of
    its definition.
    """

    uuid: str
    mdev_type: MdevChildType | None
    """None is unknown (yet); in state removing it is as it was last"""
    parent: str | None
    """name of the parent device"""
    parent_addr: str
    """kernel name of the parent, libvirt's parent_addr: 0000:3b:00.0, matrix"""
    parent_path: str | None
    """sysfs path of the parent, which may be no mdev parent now; None if it is missing"""
    iommu_group: int | None
    """None if VFIO has no groups, or while no driver is bound"""
    vfio_device: VfioDevice | None
    state: State = msgspec.field(name="mdev_state")
    """incomplete: its type is unknown (yet)"""
    attributes: tuple[MdevAttribute, ...]
    """attributes that mdevctl would write, in order; of an active mdev only vfio-ap's are known"""
    defined: bool = msgspec.field(name="has_definition")
    """whether mdevctl has a definition of it, readable or not"""
    definition: Definition | None
    """what mdevctl would start; None without a definition, and if it is unreadable"""
    waits_for: Missing | None
    """what an inactive mdev needs before it can be started"""
    queues: tuple[str, ...] = ()
    """AP queues of an active mdev of vfio_ap, as the kernel names them: 05.0004"""

    @property
    def autostart(self) -> bool | None:
        """Whether mdevctl starts it along with its parent; None without a readable definition."""
        return None if self.definition is None else self.definition.autostart


def read(node: Node) -> MdevChild:
    """Read an active mdev, complete or not."""
    if not is_uuid(node.sysname):
        node.fault("", "malformed", "the name of an mdev is a UUID")
    parent_path = node.path.rpartition("/")[0]
    # The kernel waits in the removal until no process has the device open. By then it has taken
    # away the entry of the bus, `remove`, `mdev_type` and `driver`, and left `iommu_group`.
    removing = not node.has("remove")
    mdev_type = _read_type(node, expected=not removing)
    state: State = "complete"
    if removing:
        state = "removing"
    elif mdev_type is None:
        state = "incomplete"
    parent_addr = parent_path.rpartition("/")[2]
    path = definition_path(parent_addr, node.sysname)
    matrix = _read_matrix(node, mdev_type)
    defined, definition = _read_definition(node.sysroot, path, printable_path(path), node.faults)
    return MdevChild(
        uuid=printable_path(node.sysname),
        mdev_type=mdev_type,
        parent=None,
        parent_addr=printable_path(parent_addr),
        parent_path=printable_path(parent_path),
        iommu_group=_read_iommu_group(node),
        vfio_device=read_vfio_device(node),
        state=state,
        attributes=matrix.attributes,
        defined=defined,
        definition=definition,
        waits_for=None,
        queues=matrix.queues,
    )


def _read_definition(
    sysroot: Sysroot, path: str, attribute: str, faults: Faults
) -> tuple[bool, Definition | None]:
    """Return whether there is a definition, and its content; add a fault if it is unreadable."""
    try:
        definition = read_definition(sysroot, path)
    except OSError as error:
        faults.add(attribute, error)
        return True, None
    except ValueError as error:
        faults.append(Fault(attribute, "malformed", str(error)))
        return True, None
    return definition is not None, definition


def read_inactive(sysroot: Sysroot, path: str, faults: Faults) -> MdevChild | None:
    """Read the definition at a path; None if it is gone, or its device is not.

    Raises OSError if it cannot be told whether the device or its parent is there.
    """
    parent_addr, uuid = path.split("/")[-2:]
    active = target_of(sysroot, f"{MDEV_DEVICES}/{uuid}")
    is_there = active is not None and sysroot.exists(active)  # Otherwise the link dangles.
    if active is not None and is_there and active.split("/")[-2] == parent_addr:
        return None
    parent_path = _find_parent(sysroot, parent_addr)
    if parent_path is not None and sysroot.exists(f"{parent_path}/{uuid}"):
        return None  # The kernel is removing the device, and its bus no longer lists it.
    defined, definition = _read_definition(sysroot, path, "", faults)
    if not defined:
        return None
    mdev_type: MdevChildType | None = None
    waits_for: Missing | None = None
    if parent_path is None:
        waits_for = "parent"
    elif not sysroot.exists(f"{parent_path}/{MDEV_TYPES}"):
        waits_for = "registration"
    if definition is not None:
        mdev_type = MdevChildType(definition.mdev_type, None, None)
        if parent_path is not None and waits_for is None:
            try:
                offered = f"{parent_path}/{MDEV_TYPES}/{definition.mdev_type}"
                with sysroot.job.besides(offered, owner=parent_path):
                    there = _offered(sysroot, parent_path, definition.mdev_type)
                    available = there.read_number("available_instances", promised=True)
                    mdev_type = _type(there)
                faults.take(there.faults, "mdev_type")
                waits_for = "capacity" if available == 0 else None
            except NodeGone:
                waits_for = "type"
            except OSError as error:
                faults.add("mdev_type", error)
    return MdevChild(
        uuid=uuid,
        mdev_type=mdev_type,
        parent=None,
        parent_addr=printable_path(parent_addr),
        parent_path=None if parent_path is None else printable_path(parent_path),
        iommu_group=None,
        vfio_device=None,
        state="inactive",
        attributes=() if definition is None else definition.attributes,
        defined=True,
        definition=definition,
        waits_for=waits_for,
    )


def _find_parent(sysroot: Sysroot, parent_addr: str) -> str | None:
    """Return the path of the device of this kernel name, whether it is an mdev parent or not."""
    for directory in (MDEV_BUS, *[f"/sys/bus/{bus}/devices" for bus in _PARENT_BUSES]):
        path = target_of(sysroot, f"{directory}/{parent_addr}")
        if path is not None:
            return path
    return None


def _offered(sysroot: Sysroot, parent_path: str, type_id: str) -> Node:
    """Return the parent's type of this id, which can be any text. Raises NodeGone, OSError."""
    directory = f"{parent_path}/{MDEV_TYPES}"
    if type_id not in names_in(sysroot, directory):
        raise NodeGone(directory)
    return Node(sysroot, f"{directory}/{type_id}", subsystem="mdev")


def _read_type(node: Node, *, expected: bool) -> MdevChildType | None:
    target = node.link("mdev_type")
    # The link appears after the device, and goes before it; its target can also go first.
    try:
        if target is None:
            raise NodeGone(node.path)
        known: MdevChildType | None = node.sysroot.alike.get(target)
        if known is not None:
            return known
        with node.sysroot.job.besides(target, owner=target.rpartition(f"/{MDEV_TYPES}/")[0]):
            # Read below the link's target: a path through the link could leave a sysroot.
            there = Node(node.sysroot, target, subsystem="mdev")
            found = _type(there)
    except Unanswered as error:
        node.faults.add("mdev_type", error)
        return MdevChildType(printable_path(str(target).rpartition("/")[2]), None, None)
    except NodeGone:
        if expected:
            node.fault("mdev_type", "absent", "" if target is None else "dangling")
        return None
    except OSError as error:
        node.faults.add("mdev_type", error)
        return None
    node.faults.take(there.faults, "mdev_type")
    if not there.faults:
        node.sysroot.keep(target, found)  # for the other mdevs of this parent and type
    return found


def _type(there: Node) -> MdevChildType:
    return MdevChildType(
        id=printable_path(there.sysname),
        name=there.read("name"),
        device_api=there.read("device_api", promised=True),
    )


def _read_matrix(node: Node, mdev_type: MdevChildType | None) -> VfioApMatrix:
    """Return the matrix of a running mdev; no other driver than vfio_ap has one."""
    return read_matrix(node) if _has_matrix(mdev_type) else NO_MATRIX


def _has_matrix(mdev_type: MdevChildType | None) -> bool:
    return mdev_type is not None and mdev_type.device_api == "vfio-ap"


def _read_iommu_group(node: Node) -> int | None:
    name = node.link_name("iommu_group")
    if name is None:
        return None
    number = parse_number(name)
    if number is None:
        node.fault("iommu_group", "malformed", name)
    return number


def link(cap: MdevChild, name_of: NameOf) -> MdevChild:
    """Fill in the name of the parent."""
    if cap.parent_path is None:
        return cap
    return msgspec.structs.replace(cap, parent=name_of(cap.parent_path))


def recall(cap: MdevChild, before: MdevChild) -> MdevChild:
    """Keep the type of a device whose `mdev_type` the kernel has taken away."""
    if cap.state != "removing" or cap.mdev_type is not None:
        return cap
    return msgspec.structs.replace(cap, mdev_type=before.mdev_type)


def outdated(sysroot: Sysroot, path: str, cap: MdevChild) -> bool:
    """Return whether the removal has begun, which sends no event."""
    try:
        return _removal_has_begun(sysroot, path, cap)
    except OSError:
        return True  # The read of the whole device says why.


def _removal_has_begun(sysroot: Sysroot, path: str, cap: MdevChild) -> bool:
    return cap.state != "removing" and not sysroot.exists(f"{path}/remove")


def reread_volatile(sysroot: Sysroot, path: str, cap: MdevChild) -> MdevChild | None:
    """Look whether the removal has begun, and read a vfio-ap matrix: neither sends an event."""
    if _removal_has_begun(sysroot, path, cap):
        return None
    try:
        node = Node(sysroot, path, subsystem="mdev")
        matrix = _read_matrix(node, cap.mdev_type)
    except NodeGone:
        return None
    if node.faults:
        return None
    if matrix == VfioApMatrix(cap.attributes, cap.queues):
        return cap
    return msgspec.structs.replace(cap, attributes=matrix.attributes, queues=matrix.queues)


def as_defined(cap: MdevChild) -> MdevChild:
    """Return an active mdev as its definition describes it."""
    mdev_type, definition = cap.mdev_type, cap.definition
    if definition is not None and (mdev_type is None or mdev_type.id != definition.mdev_type):
        mdev_type = MdevChildType(definition.mdev_type, None, None)
    return msgspec.structs.replace(
        cap,
        mdev_type=mdev_type,
        state="inactive",
        iommu_group=None,
        vfio_device=None,
        attributes=() if definition is None else definition.attributes,
    )


def held_type(cap: MdevChild) -> HeldType | None:
    """Return the type; of an inactive mdev that of its definition."""
    return None if cap.mdev_type is None else HeldType(cap.mdev_type.id, cap.mdev_type.name)


def tree_path(cap: MdevChild) -> str | None:
    """Return the path that an mdev has when it is active; None if its parent is missing."""
    return None if cap.parent_path is None else f"{cap.parent_path}/{cap.uuid}"


def neighbours(cap: MdevChild, device: DeviceLike, tree: TreeLike) -> Iterator[str | VolatileOf]:
    """Return the parent, the parents that share its counts, and the definitions for all of them.

    An inactive mdev has no neighbours: it takes nothing from its parent.
    """
    if cap.parent_path is None or not device.active:
        return
    yield cap.parent_path
    parent = tree.at(cap.parent_path)
    for path in () if parent is None else sharing_functions(parent, tree):
        yield VolatileOf(path)
        yield from tree.below(definitions_directory(path))


def dependents(cap: MdevChild, device: DeviceLike, tree: TreeLike) -> Iterator[str]:
    """Return the parent: an mdev that is being removed leaves the list of its type."""
    if cap.parent_path is not None and device.active:
        yield cap.parent_path


def write(cap: MdevChild, out: Out) -> None:
    """Write type, parent, VFIO group and device, state and definition."""
    out.text("uuid", cap.uuid)
    if cap.mdev_type is None:
        out.empty("type", state="unknown")
    elif cap.waits_for in ("parent", "registration", "type"):
        out.empty("type", id=cap.mdev_type.id)
    else:
        out.once(_write_type, cap.mdev_type)
    if cap.parent is not None:
        out.text("parent", cap.parent)
    out.text("parent_addr", cap.parent_addr)
    if cap.iommu_group is not None:
        out.lines(f"<iommuGroup number='{cap.iommu_group}'/>")
    elif "iommu_group" in out.unknown:
        out.empty("iommuGroup", state="unknown")
    write_vfio_device(cap.vfio_device, out)
    out.text("state", cap.state)
    _write_attributes(cap.attributes, out)
    for queue in cap.queues:
        adapter, _, domain = queue.partition(".")
        out.empty("queue", adapter=f"0x{adapter}", domain=f"0x{domain}")
    if cap.defined:
        _write_definition(cap, out)
    if cap.waits_for is not None:
        out.text("waitsFor", cap.waits_for)


def _write_type(one: MdevChildType, out: Out) -> None:
    with out.begin("type", id=one.id):
        out.value("name", one.name, "mdev_type/name")
        out.value("deviceAPI", one.device_api, "mdev_type/device_api")


def _write_definition(cap: MdevChild, out: Out) -> None:
    """Write whether it is started with its parent, and of an active mdev what would be started."""
    definition = cap.definition
    if definition is None:
        out.empty("defined", autostart="unknown")
        return
    autostart = "yes" if definition.autostart else "no"
    if cap.state == "inactive":
        out.empty("defined", autostart=autostart)
        return
    with out.begin("defined", autostart=autostart):
        out.empty("type", id=definition.mdev_type)
        _write_attributes(definition.attributes, out)


def _write_attributes(attributes: tuple[MdevAttribute, ...], out: Out) -> None:
    for one in attributes:
        out.empty("attr", name=one.name, value=one.value)


def write_as_libvirt(cap: MdevChild, out: Out) -> None:
    """Write what libvirt shows, in its order."""
    out.empty("type", id="" if cap.mdev_type is None else cap.mdev_type.id)
    out.text("uuid", cap.uuid)
    out.text("parent_addr", cap.parent_addr)
    if cap.iommu_group is not None:
        out.empty("iommuGroup", number=str(cap.iommu_group))
    _write_attributes(cap.attributes, out)


def _shown_by_libvirt(cap: MdevChild, device: DeviceLike) -> bool:
    """Return whether type and group are known; libvirt waits a second for them, then ignores it."""
    return cap.mdev_type is not None and (cap.iommu_group is not None or cap.state == "inactive")


KIND = Kind(
    capability=MdevChild,
    read=read,
    write=write,
    subsystems=frozenset({"mdev"}),
    link=link,
    recall=recall,
    removing=lambda cap: cap.state == "removing",
    held_type=held_type,
    reread_volatile=reread_volatile,
    volatile=lambda cap: _has_matrix(cap.mdev_type),
    outdated=outdated,
    neighbours=neighbours,
    dependents=dependents,
    definable=Definable(
        read=read_inactive,
        defined=lambda cap: cap.defined,
        autostart=lambda cap: cap.autostart is True,
        inactive=as_defined,
        tree_path=tree_path,
    ),
    libvirt=LibvirtForm(
        "mdev",
        bit=14,
        write=write_as_libvirt,
        shown=_shown_by_libvirt,
        # Since 7.7: one uuid can be defined for two parents.
        suffix=lambda cap: cap.parent_addr,
    ),
)
