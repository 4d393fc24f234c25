"""ccw: an I/O device of an IBM Z, behind a subchannel.

Reads  the device's name, online, group_device (a link), cutype, devtype
ABI    Documentation/arch/s390/driver-model.rst, Documentation/ABI/testing/sysfs-bus-ccw;
       group_device: drivers/s390/cio/ccwgroup.c
"""

from __future__ import annotations

from nodedevd.host.node import Node
from nodedevd.kinds.base import Capability, DeviceLike, Kind, LibvirtForm
from nodedevd.kinds.shared.ccw import State, read_address, read_state, write_address
from nodedevd.names import device_name
from nodedevd.xml_writer import Out


class Ccw(Capability, frozen=True, gc=False, tag="ccw"):
    """A CCW device."""

    state: State | None
    """online; None is unknown"""
    address: str | None
    """cssid.ssid.devno; None if the kernel's name is not such an address"""
    group_device: str | None
    """name of the ccwgroup device that it is a member of, if any"""
    cutype: str | None
    """cutype: type and model of the control unit"""
    devtype: str | None
    """devtype: type and model of the device; n/a for a control unit alone"""


def read(node: Node) -> Ccw:
    """Read a device of the bus; each has the capability."""
    group = node.link_name("group_device")
    return Ccw(
        state=read_state(node),
        address=read_address(node),
        group_device=None if group is None else device_name("ccwgroup", group),
        cutype=node.read("cutype") or None,
        devtype=node.read("devtype") or None,
    )


def write_as_libvirt(cap: Ccw, out: Out) -> None:
    """Write what libvirt shows, in its order and number formats."""
    out.value("state", cap.state, "online")
    write_address(cap.address, out)
    if cap.group_device is not None:
        with out.begin("capability", type="ccwgroup_member"):
            out.text("group_device", cap.group_device)


def _shown_by_libvirt(cap: Ccw, device: DeviceLike) -> bool:
    return cap.address is not None


def write(cap: Ccw, out: Out) -> None:
    """Write what libvirt shows, then types and models."""
    write_as_libvirt(cap, out)
    out.value("cutype", cap.cutype, "cutype")
    out.value("devtype", cap.devtype, "devtype")


KIND = Kind(
    capability=Ccw,
    read=read,
    write=write,
    subsystems=frozenset({"ccw"}),
    follows_children=True,
    nested={"ccwgroup_member": lambda cap: cap.group_device is not None},
    libvirt=LibvirtForm(
        "ccw",
        bit=15,
        write=write_as_libvirt,
        shown=_shown_by_libvirt,
        nested_bits={"ccwgroup_member": 23},
    ),
)
