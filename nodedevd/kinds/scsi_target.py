"""scsi_target: a target of a SCSI host; logical units are below it.

Reads  uevent (DEVTYPE), ../fc_remote_ports/<rport>/port_name
ABI    drivers/scsi/scsi_scan.c, drivers/scsi/scsi_transport_fc.c: a target behind a remote port
       is in that port's directory
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from nodedevd.host.node import Node
from nodedevd.kinds.base import Capability, Kind, LibvirtForm
from nodedevd.kinds.shared.wwn import read_wwn
from nodedevd.text import printable_path
from nodedevd.xml_writer import Out


class FcRemotePort(msgspec.Struct, frozen=True, gc=False):
    """The Fibre Channel port in front of the target."""

    rport: str
    """its kernel name"""
    wwpn: str | None
    """port_name, 16 hex digits"""


class ScsiTarget(Capability, frozen=True, gc=False, tag="scsi_target"):
    """A SCSI target."""

    target: str
    """its kernel name: target<host>:<bus>:<target>"""
    fc_remote_port: FcRemotePort | None
    """None if it is not on Fibre Channel"""


def read(node: Node) -> ScsiTarget | None:
    """Read a target; other devices of the bus have another DEVTYPE."""
    if node.uevent.get("DEVTYPE") != "scsi_target":
        return None
    return ScsiTarget(target=printable_path(node.sysname), fc_remote_port=_read_remote_port(node))


def _read_remote_port(node: Node) -> FcRemotePort | None:
    above = node.path.rpartition("/")[0]
    name = above.rpartition("/")[2]
    if not node.exists(f"{above}/fc_remote_ports/{name}"):
        return None
    wwpn = read_wwn(node, _port_name(name), promised=True)
    return FcRemotePort(rport=printable_path(name), wwpn=wwpn)


def _port_name(rport: str) -> str:
    return f"../fc_remote_ports/{rport}/port_name"


def write(cap: ScsiTarget, out: Out) -> None:
    """Write as libvirt does, which prints this one World Wide Name with 0x."""
    out.text("target", cap.target)
    port = cap.fc_remote_port
    if port is not None:
        with out.begin("capability", type="fc_remote_port"):
            out.text("rport", port.rport)
            wwpn = None if port.wwpn is None else f"0x{port.wwpn}"
            out.value("wwpn", wwpn, _port_name(port.rport))


def write_as_libvirt(cap: ScsiTarget, out: Out) -> None:
    """Write without a remote port whose name cannot be read."""
    if cap.fc_remote_port is not None and cap.fc_remote_port.wwpn is None:
        cap = replace(cap, fc_remote_port=None)
    write(cap, out)


KIND = Kind(
    capability=ScsiTarget,
    read=read,
    write=write,
    subsystems=frozenset({"scsi"}),
    nested={"fc_remote_port": lambda cap: cap.fc_remote_port is not None},
    identifying=frozenset({"port_name"}),
    libvirt=LibvirtForm("scsi_target", bit=6, write=write_as_libvirt),
)
