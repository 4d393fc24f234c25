"""mdev_child: a mediated device, made from one type of its parent.

Reads  mdev_type (a link), its name and device_api, iommu_group, vfio-dev/vfio<N>/dev, remove
ABI    Documentation/ABI/testing/sysfs-bus-vfio-mdev, Documentation/driver-api/vfio.rst
"""

from __future__ import annotations

from typing import Literal

import msgspec

from nodedevd.capabilities.base import Capability, Kind, NameOf
from nodedevd.errors import NodeGone
from nodedevd.naming import is_uuid
from nodedevd.node import Node, parse_number, shown
from nodedevd.xmltext import Out


class MdevChildType(msgspec.Struct, frozen=True, gc=False):
    """The type an mdev was made from."""

    id: str
    name: str | None
    device_api: str | None


class VfioDevice(msgspec.Struct, frozen=True, gc=False):
    """The VFIO character device of an mdev (kernel 6.1 and later)."""

    name: str
    """vfio-dev/<name>"""
    node: str | None
    """/dev/vfio/devices/<name>; None where the kernel makes no such node (before 6.6)"""


class MdevChild(Capability, frozen=True, gc=False, tag="mdev_child"):
    """One mdev. It has no mdev_type for a moment after it appeared, and none while it goes."""

    uuid: str
    mdev_type: MdevChildType | None
    """None is unknown (yet)"""
    parent: str | None
    """name of the parent device"""
    parent_addr: str
    """the parent's kernel name, as libvirt's element of that name: 0000:3b:00.0, matrix"""
    parent_path: str
    iommu_group: int | None
    """None where VFIO has no groups, and while no driver is bound"""
    vfio_device: VfioDevice | None
    state: Literal["complete", "incomplete", "removing"]
    """incomplete: mdev_type is not there (yet); removing: the kernel has taken `remove` away"""


def read(node: Node) -> MdevChild:
    """Read an mdev, as far as it is there."""
    if not is_uuid(node.sysname):
        node.fault("", "malformed", "the name of an mdev is a UUID")
    parent_path = node.path.rpartition("/")[0]
    mdev_type = _read_type(node)
    state: Literal["complete", "incomplete", "removing"] = "complete"
    if not node.has("remove"):
        state = "removing"
    elif mdev_type is None:
        state = "incomplete"
    return MdevChild(
        uuid=shown(node.sysname),
        mdev_type=mdev_type,
        parent=None,
        parent_addr=shown(parent_path.rpartition("/")[2]),
        parent_path=shown(parent_path),
        iommu_group=_read_iommu_group(node),
        vfio_device=_read_vfio_device(node),
        state=state,
    )


def _read_type(node: Node) -> MdevChildType | None:
    target = node.link("mdev_type")
    # The link comes after the device and goes before it; where it leads can go first, too.
    try:
        if target is None:
            raise NodeGone(node.path)
        # Read at the link's target: a path through the link could lead out of a sysroot.
        there = Node(node.sysroot, target, subsystem="mdev")
    except NodeGone:
        node.fault("mdev_type", "absent", "" if target is None else "dangling")
        return None
    found = MdevChildType(
        id=shown(there.sysname),
        name=there.read("name"),
        device_api=there.read("device_api", promised=True),
    )
    for fault in there.faults:
        node.fault(f"mdev_type/{fault.attribute}", fault.code, fault.detail)
    return found


def _read_iommu_group(node: Node) -> int | None:
    name = node.link_name("iommu_group")
    if name is None:
        return None
    number = parse_number(name)
    if number is None:
        node.fault("iommu_group", "malformed", name)
    return number


def _read_vfio_device(node: Node) -> VfioDevice | None:
    for name in node.names("vfio-dev"):
        has_node = node.sysroot.exists(f"{node.path}/vfio-dev/{name}/dev")
        name = shown(name)
        return VfioDevice(name=name, node=f"/dev/vfio/devices/{name}" if has_node else None)
    return None


def link(cap: MdevChild, name_of: NameOf) -> MdevChild:
    """Put in the parent's name."""
    return msgspec.structs.replace(cap, parent=name_of(cap.parent_path))


def write(cap: MdevChild, out: Out) -> None:
    """Write the mdev's identity, type, parent and VFIO handles."""
    out.text("uuid", cap.uuid)
    if cap.mdev_type is None:
        out.empty("type", state="unknown")
    else:
        with out.begin("type", id=cap.mdev_type.id):
            out.value("name", cap.mdev_type.name, "mdev_type/name")
            out.value("deviceAPI", cap.mdev_type.device_api, "mdev_type/device_api")
    if cap.parent is not None:
        out.text("parent", cap.parent)
    out.text("parent_addr", cap.parent_addr)
    if cap.iommu_group is not None:
        out.empty("iommuGroup", number=str(cap.iommu_group))
    elif "iommu_group" in out.unknown:
        out.empty("iommuGroup", state="unknown")
    if cap.vfio_device is not None:
        if cap.vfio_device.node is None:
            out.empty("vfioDevice", name=cap.vfio_device.name)
        else:
            out.empty("vfioDevice", name=cap.vfio_device.name, node=cap.vfio_device.node)
    out.text("state", cap.state)


KIND = Kind(
    capability=MdevChild,
    read=read,
    write=write,
    subsystems=frozenset({"mdev"}),
    words=("mdev",),
    link=link,
)
