"""usb_device: a USB device or hub, including root hubs.

Reads  busnum, devnum, idVendor, idProduct, manufacturer, product, serial, speed,
       and the names of the ids in udev's hardware database
ABI    Documentation/ABI/stable/sysfs-bus-usb, testing/sysfs-bus-usb
"""

from __future__ import annotations

import re

import msgspec

from nodedevd.host.node import Node
from nodedevd.kinds.base import (
    Capability,
    DeviceLike,
    HardwareId,
    Kind,
    LibvirtForm,
    write_id,
)
from nodedevd.xml_writer import Out

_SPEED = re.compile(r"[0-9]{1,6}(\.[0-9])?")


class UsbDevice(Capability, frozen=True, gc=False, tag="usb_device"):
    """A USB device. A number or id that is unknown is None."""

    bus: int | None = msgspec.field(name="busnum")
    """busnum"""
    device: int | None = msgspec.field(name="devnum")
    """devnum: its number on the bus, which differs each time it is plugged in"""
    product: HardwareId | None
    """idProduct"""
    vendor: HardwareId | None
    """idVendor"""
    serial: str | None
    """serial; many devices have none"""
    speed_mbit: float | None
    """speed in Mbit/s: 1.5, 12, 480, 5000, …; None if the kernel does not know it"""


def read(node: Node) -> UsbDevice | None:
    """Read a device; None for an interface, whose name has a colon."""
    if ":" in node.sysname:
        return None
    return UsbDevice(
        bus=node.read_number("busnum", promised=True),
        device=node.read_number("devnum", promised=True),
        product=_read_id(node, "idProduct", "ID_MODEL_FROM_DATABASE", "product"),
        vendor=_read_id(node, "idVendor", "ID_VENDOR_FROM_DATABASE", "manufacturer"),
        serial=node.read("serial") or None,
        speed_mbit=_read_speed(node),
    )


def _read_id(node: Node, attribute: str, variable: str, described: str) -> HardwareId | None:
    number = node.read_number(attribute, base=16, promised=True)
    if number is None:
        return None
    if number > 0xFFFF:
        node.fault(attribute, "malformed", f"{number:x}")
        return None
    name = node.udev.properties.get(variable) or node.read(described) or None
    return HardwareId(id=f"0x{number:04x}", name=name)


def _read_speed(node: Node) -> float | None:
    text = node.read("speed")
    if text is None or text == "unknown":
        return None
    if _SPEED.fullmatch(text) is None:
        node.fault("speed", "malformed", text[:80])
        return None
    return float(text)


def write_as_libvirt(cap: UsbDevice, out: Out) -> None:
    """Write what libvirt shows, in its order and number formats."""
    out.value("bus", cap.bus, "busnum")
    out.value("device", cap.device, "devnum")
    write_id("product", cap.product, "idProduct", out)
    write_id("vendor", cap.vendor, "idVendor", out)


def _shown_by_libvirt(cap: UsbDevice, device: DeviceLike) -> bool:
    return None not in (cap.bus, cap.device, cap.product, cap.vendor)


def write(cap: UsbDevice, out: Out) -> None:
    """Write what libvirt shows, then serial number and speed."""
    write_as_libvirt(cap, out)
    out.value("serial", cap.serial, "serial")
    speed = None if cap.speed_mbit is None else f"{cap.speed_mbit:.10g}"
    out.value("speed", speed, "speed")


KIND = Kind(
    capability=UsbDevice,
    read=read,
    write=write,
    subsystems=frozenset({"usb"}),
    # Whoever makes a device of a USB gadget chooses its words.
    identifying=frozenset({"manufacturer", "product", "serial"}),
    libvirt=LibvirtForm("usb_device", bit=2, write=write_as_libvirt, shown=_shown_by_libvirt),
)
