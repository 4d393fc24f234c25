"""usb: an interface of a USB device; drivers bind to interfaces.

Reads  bInterfaceNumber, bInterfaceClass, bInterfaceSubClass, bInterfaceProtocol, interface
ABI    Documentation/ABI/testing/sysfs-bus-usb; the numbers are those of the interface
       descriptor, Universal Serial Bus 2.0, section 9.6.5
"""

from __future__ import annotations

from nodedevd.host.node import Node
from nodedevd.kinds.base import Capability, Kind, LibvirtForm
from nodedevd.xml_writer import Out


class Usb(Capability, frozen=True, gc=False, tag="usb"):
    """A USB interface. A number that is unknown is None."""

    number: int | None
    """bInterfaceNumber"""
    interface_class: int | None
    """bInterfaceClass"""
    interface_subclass: int | None
    """bInterfaceSubClass"""
    interface_protocol: int | None
    """bInterfaceProtocol"""
    description: str | None
    """interface: the device's name for it; most devices have none"""


def read(node: Node) -> Usb | None:
    """Read an interface, whose name has a colon; None for a whole device."""
    if ":" not in node.sysname:
        return None
    return Usb(
        number=_read_byte(node, "bInterfaceNumber"),
        interface_class=_read_byte(node, "bInterfaceClass"),
        interface_subclass=_read_byte(node, "bInterfaceSubClass"),
        interface_protocol=_read_byte(node, "bInterfaceProtocol"),
        description=node.read("interface") or None,
    )


def _read_byte(node: Node, attribute: str) -> int | None:
    number = node.read_number(attribute, base=16, promised=True)
    if number is not None and number > 0xFF:
        node.fault(attribute, "malformed", f"{number:x}")
        return None
    return number


def write_as_libvirt(cap: Usb, out: Out) -> None:
    """Write what libvirt shows, in its order, in decimal."""
    out.value("number", cap.number, "bInterfaceNumber")
    out.value("class", cap.interface_class, "bInterfaceClass")
    out.value("subclass", cap.interface_subclass, "bInterfaceSubClass")
    out.value("protocol", cap.interface_protocol, "bInterfaceProtocol")


def write(cap: Usb, out: Out) -> None:
    """Write what libvirt shows, then the description."""
    write_as_libvirt(cap, out)
    out.value("description", cap.description, "interface")


KIND = Kind(
    capability=Usb,
    read=read,
    write=write,
    subsystems=frozenset({"usb"}),
    libvirt=LibvirtForm("usb", bit=3, write=write_as_libvirt),
)
