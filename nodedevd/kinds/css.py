"""css: a subchannel of an IBM Z's channel subsystem.

Reads  the device's name, dev_busid, type
ABI    Documentation/ABI/testing/sysfs-bus-css; the types: arch/s390/include/asm/schid.h and
       drivers/s390/cio/cio.h, enum sch_type
"""

from __future__ import annotations

from nodedevd.host.node import Node
from nodedevd.kinds.base import Capability, DeviceLike, Kind, LibvirtForm
from nodedevd.kinds.shared.ccw import parse_ccw, read_address, write_address
from nodedevd.xml_writer import Out


class Css(Capability, frozen=True, gc=False, tag="css"):
    """A subchannel, with any driver or none."""

    address: str | None
    """cssid.ssid.number; None if the kernel's name is not such an address"""
    channel_dev_addr: str | None
    """dev_busid: address of the device behind it, if any"""
    subchannel_type: int | None
    """type: 0 I/O, 1 CHSC, 2 message, 3 ADM"""


def read(node: Node) -> Css:
    """Read a subchannel; each device of the bus is one."""
    return Css(
        address=read_address(node),
        channel_dev_addr=_read_dev_busid(node),
        subchannel_type=node.read_number("type", base=16),
    )


def _read_dev_busid(node: Node) -> str | None:
    text = node.read("dev_busid")
    if text is None or text == "none":
        return None
    if parse_ccw(text) is None:
        node.fault("dev_busid", "malformed", text[:80])
        return None
    return text


def write_as_libvirt(cap: Css, out: Out) -> None:
    """Write what libvirt shows, in its order and number formats."""
    write_address(cap.address, out)
    if cap.channel_dev_addr is not None:
        with out.begin("channel_dev_addr"):
            write_address(cap.channel_dev_addr, out)
    elif "dev_busid" in out.unknown:
        out.empty("channel_dev_addr", state="unknown")


def _shown_by_libvirt(cap: Css, device: DeviceLike) -> bool:
    return cap.address is not None and device.driver in ("io_subchannel", "vfio_ccw")


def write(cap: Css, out: Out) -> None:
    """Write what libvirt shows, then the type."""
    write_as_libvirt(cap, out)
    out.value("subchannel_type", cap.subchannel_type, "type")


KIND = Kind(
    capability=Css,
    read=read,
    write=write,
    subsystems=frozenset({"css"}),
    libvirt=LibvirtForm("css", bit=16, write=write_as_libvirt, shown=_shown_by_libvirt),
)
