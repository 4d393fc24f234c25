"""scsi_generic: the node that passes commands to a SCSI device of any type.

Reads  uevent (DEVNAME)
ABI    drivers/scsi/sg.c; sg(4)
"""

from __future__ import annotations

from nodedevd.host.node import Node
from nodedevd.kinds.base import Capability, Kind, LibvirtForm
from nodedevd.text import printable_path
from nodedevd.xml_writer import Out


class ScsiGeneric(Capability, frozen=True, gc=False, tag="scsi_generic"):
    """A SCSI generic device."""

    char: str
    """device node"""


def read(node: Node) -> ScsiGeneric:
    """Read a device of the class; each has the capability."""
    return ScsiGeneric(char=f"/dev/{node.uevent.get('DEVNAME') or printable_path(node.sysname)}")


def write(cap: ScsiGeneric, out: Out) -> None:
    """Write as libvirt does."""
    out.text("char", cap.char)


KIND = Kind(
    capability=ScsiGeneric,
    read=read,
    write=write,
    subsystems=frozenset({"scsi_generic"}),
    libvirt=LibvirtForm("scsi_generic", bit=11, write=write),
)
