"""scsi: a SCSI logical unit: a disk, a tape, an enclosure; also ATA and USB disks.

Reads  uevent (DEVTYPE), type, vendor, model, rev
ABI    drivers/scsi/scsi_sysfs.c; numbers of types: SCSI Primary Commands, peripheral device type
"""

from __future__ import annotations

import re

from nodedevd.host.node import Node
from nodedevd.kinds.base import Capability, Kind, LibvirtForm
from nodedevd.xml_writer import Out

_ADDRESS = re.compile(r"([0-9]{1,10}):([0-9]{1,10}):([0-9]{1,10}):([0-9]{1,20})")
_TYPES = {
    0: "disk",
    1: "tape",
    3: "processor",
    4: "worm",
    5: "cdrom",
    6: "scanner",
    7: "mod",
    8: "changer",
    12: "raid",
    13: "enclosure",
}


class Scsi(Capability, frozen=True, gc=False, tag="scsi"):
    """A SCSI logical unit."""

    host: int
    """number of the host adapter"""
    bus: int
    """number of the channel"""
    target: int
    """number of the target"""
    lun: int
    """number of the logical unit"""
    scsi_type: str | None
    """type, as libvirt's word; None for types without a word"""
    vendor: str | None
    """vendor"""
    model: str | None
    """model"""
    rev: str | None
    """rev: firmware revision"""


def read(node: Node) -> Scsi | None:
    """Read a logical unit; other devices of the bus have another DEVTYPE."""
    match = _ADDRESS.fullmatch(node.sysname)
    if match is None or node.uevent.get("DEVTYPE") != "scsi_device":
        return None
    host, bus, target, lun = map(int, match.groups())
    number = node.read_number("type", promised=True)
    return Scsi(
        host=host,
        bus=bus,
        target=target,
        lun=lun,
        scsi_type=None if number is None else _TYPES.get(number),
        vendor=node.read_padded("vendor"),
        model=node.read_padded("model"),
        rev=node.read_padded("rev"),
    )


def write_as_libvirt(cap: Scsi, out: Out) -> None:
    """Write what libvirt shows, in its order."""
    out.text("host", cap.host)
    out.text("bus", cap.bus)
    out.text("target", cap.target)
    out.text("lun", cap.lun)
    out.value("type", cap.scsi_type, "type")


def write(cap: Scsi, out: Out) -> None:
    """Write what libvirt shows, then vendor, model and firmware."""
    write_as_libvirt(cap, out)
    out.value("vendor", cap.vendor, "vendor")
    out.value("model", cap.model, "model")
    out.value("rev", cap.rev, "rev")


KIND = Kind(
    capability=Scsi,
    read=read,
    write=write,
    subsystems=frozenset({"scsi"}),
    libvirt=LibvirtForm("scsi", bit=7, write=write_as_libvirt),
)
