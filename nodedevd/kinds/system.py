"""system: the host itself, the root of the tree.

Reads  /sys/class/dmi/id/{product_*,sys_vendor,bios_*}, below /sys/devices/virtual/dmi/id
ABI    Documentation/ABI/testing/sysfs-firmware-dmi-entries, drivers/firmware/dmi-id.c
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from nodedevd.errors import NodeGone
from nodedevd.host.faults import Fault
from nodedevd.host.node import Node
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.base import Capability, Kind, LibvirtForm
from nodedevd.xml_writer import Out

DMI = "/sys/devices/virtual/dmi/id"

_NO_UUID = "00000000-0000-0000-0000-000000000000"


class Hardware(msgspec.Struct, frozen=True, gc=False):
    """The host's hardware. Only root can read serial and uuid."""

    vendor: str | None = None
    """sys_vendor"""
    version: str | None = None
    """product_version"""
    serial: str | None = None
    """product_serial"""
    uuid: str | None = None
    """product_uuid"""


class Firmware(msgspec.Struct, frozen=True, gc=False):
    """The host's firmware."""

    vendor: str | None = None
    """bios_vendor"""
    version: str | None = None
    """bios_version"""
    release_date: str | None = None
    """bios_date"""


class System(Capability, frozen=True, gc=False, tag="system"):
    """The host; all fields are None without DMI (s390x, most of ARM, many VMs)."""

    product: str | None = None
    """product_name"""
    hardware: Hardware = Hardware()
    firmware: Firmware = Firmware()


def read(node: Node) -> System:
    """Read the DMI identification; `node` is its directory."""

    def attribute(name: str) -> str | None:
        text = node.read(name)
        # Firmware pads with blanks, and an empty string means the same as an absent one.
        return text.strip() or None if text is not None else None

    return System(
        product=attribute("product_name"),
        hardware=Hardware(
            vendor=attribute("sys_vendor"),
            version=attribute("product_version"),
            serial=attribute("product_serial"),
            uuid=attribute("product_uuid"),
        ),
        firmware=Firmware(
            vendor=attribute("bios_vendor"),
            version=attribute("bios_version"),
            release_date=attribute("bios_date"),
        ),
    )


def read_host(sysroot: Sysroot) -> tuple[System, tuple[Fault, ...]]:
    """Read the host, with faults of attributes in the DMI directory; empty without DMI."""
    try:
        node = Node(sysroot, DMI, subsystem="dmi")
        return read(node), tuple(node.faults)
    except NodeGone:
        return System(), ()


def public(cap: System) -> tuple[System, tuple[str, ...]]:
    """Leave out serial number and UUID, whose files have mode 0400."""
    given = (("product_serial", cap.hardware.serial), ("product_uuid", cap.hardware.uuid))
    hardware = replace(cap.hardware, serial=None, uuid=None)
    left_out = tuple([attribute for attribute, value in given if value is not None])
    return replace(cap, hardware=hardware), left_out


def write(cap: System, out: Out) -> None:
    """Write as libvirt does."""
    out.value("product", cap.product, "product_name")
    with out.begin("hardware"):
        out.value("vendor", cap.hardware.vendor, "sys_vendor")
        out.value("version", cap.hardware.version, "product_version")
        out.value("serial", cap.hardware.serial, "product_serial")
        out.value("uuid", cap.hardware.uuid, "product_uuid")
    with out.begin("firmware"):
        out.value("vendor", cap.firmware.vendor, "bios_vendor")
        out.value("version", cap.firmware.version, "bios_version")
        out.value("release_date", cap.firmware.release_date, "bios_date")


def write_as_libvirt(cap: System, out: Out) -> None:
    """Write with a uuid in lower case; it is zeros if the host has none."""
    hardware = replace(cap.hardware, uuid=(cap.hardware.uuid or _NO_UUID).lower())
    write(replace(cap, hardware=hardware), out)


# No subsystem: the one device of this kind is the root of the tree, see `read_host`.
KIND = Kind(
    capability=System,
    read=read,
    write=write,
    subsystems=frozenset(),
    identifying=frozenset({"product_serial", "product_uuid"}),
    public=public,
    libvirt=LibvirtForm("system", bit=0, write=write_as_libvirt),
)
