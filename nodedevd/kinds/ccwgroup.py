"""ccwgroup: CCW devices that work as one, such as the three of a network adapter.

Reads  the device's name, online, cdev<N> (links), uevent (DEVTYPE), card_type, chpid
ABI    Documentation/arch/s390/driver-model.rst, section 1.1; drivers/s390/cio/ccwgroup.c;
       card_type, chpid: drivers/s390/net/qeth_core_sys.c
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

from nodedevd.host.node import Node
from nodedevd.kinds.base import Capability, DeviceLike, Kind, LibvirtForm, TreeLike
from nodedevd.kinds.shared.ccw import State, read_address, read_state, write_address
from nodedevd.names import device_name
from nodedevd.xml_writer import Out

QethType: TypeAlias = Literal["qeth_generic", "qeth_layer2", "qeth_layer3"]

_MEMBER = re.compile("cdev([0-9]+)")
_QETH: dict[str, QethType] = {
    "qeth_generic": "qeth_generic",
    "qeth_layer2": "qeth_layer2",
    "qeth_layer3": "qeth_layer3",
}


class CcwMember(msgspec.Struct, frozen=True, gc=False):
    """One device of a group."""

    ref: str
    """cdev<N>, the link to it"""
    device: str = msgspec.field(name="name")
    """name of the ccw device"""


class Qeth(msgspec.Struct, frozen=True, gc=False):
    """A network adapter of the driver qeth."""

    layer: QethType
    """DEVTYPE; qeth_generic until the driver has found the layer"""
    card_type: str | None
    """card_type, such as OSD_10GIG"""
    chpid: str | None
    """chpid: the channel path, two hex digits"""


class CcwGroup(Capability, frozen=True, gc=False, tag="ccwgroup"):
    """A group of CCW devices."""

    state: State | None
    """online; None is unknown"""
    address: str | None
    """address of its first member; None if the kernel's name is not such an address"""
    members: tuple[CcwMember, ...]
    """in the order of their links"""
    qeth: Qeth | None
    """None for groups of other drivers"""


def read(node: Node) -> CcwGroup:
    """Read a group; each device of the bus is one."""
    return CcwGroup(
        state=read_state(node),
        address=read_address(node),
        members=tuple(_read_members(node)),
        qeth=_read_qeth(node),
    )


def _read_members(node: Node) -> list[CcwMember]:
    indices = sorted(int(match[1]) for match in map(_MEMBER.fullmatch, node.entries) if match)
    targets = [(f"cdev{index}", node.link_name(f"cdev{index}")) for index in indices]
    return [CcwMember(ref, device_name("ccw", target)) for ref, target in targets if target]


def _read_qeth(node: Node) -> Qeth | None:
    layer = _QETH.get(node.uevent.get("DEVTYPE", ""))
    if layer is None:
        return None
    return Qeth(
        layer=layer,
        card_type=node.read("card_type", promised=True),
        chpid=node.read("chpid", promised=True),
    )


def neighbours(cap: CcwGroup, device: DeviceLike, tree: TreeLike) -> Iterator[str]:
    """Return the members, whose `group_device` is this group, and which go online with it."""
    for member in cap.members:
        found = tree.get(member.device)
        if found is not None and found.path is not None:
            yield found.path


def write(cap: CcwGroup, out: Out) -> None:
    """Write as libvirt does."""
    out.value("state", cap.state, "online")
    write_address(cap.address, out)
    if cap.members:
        with out.begin("members"):
            for member in cap.members:
                out.text("ccw_device", member.device, ref=member.ref)
    if cap.qeth is not None:
        with out.begin("capability", type=cap.qeth.layer):
            out.value("card_type", cap.qeth.card_type, "card_type")
            out.value("chpid", cap.qeth.chpid, "chpid")


def _shown_by_libvirt(cap: CcwGroup, device: DeviceLike) -> bool:
    return None not in (cap.address, cap.qeth) and len(cap.members) > 0


KIND = Kind(
    capability=CcwGroup,
    read=read,
    write=write,
    subsystems=frozenset({"ccwgroup"}),
    neighbours=neighbours,
    dependents=neighbours,
    follows_children=True,
    libvirt=LibvirtForm("ccwgroup", bit=22, write=write, shown=_shown_by_libvirt),
)
