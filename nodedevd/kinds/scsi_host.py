"""scsi_host: a SCSI host adapter, and what the kernel treats as one: an ATA port, a USB stick.

Reads  uevent (DEVTYPE), scsi_host/host<N>/{unique_id,proc_name,vport_create,max_npiv_vports,
       npiv_vports_inuse}, fc_host/host<N>/{node_name,port_name,fabric_name,vport_create,
       max_npiv_vports,npiv_vports_inuse}
ABI    drivers/scsi/scsi_sysfs.c, drivers/scsi/scsi_transport_fc.c: a class device has the name
       of its host
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from nodedevd.host.node import Node
from nodedevd.kinds.base import Capability, DeviceLike, Kind, LibvirtForm, TreeLike
from nodedevd.kinds.shared.wwn import read_wwn
from nodedevd.xml_writer import Out

_HOST = re.compile(r"host([0-9]{1,10})")
_NO_FABRIC = "f" * 16


class FcHost(msgspec.Struct, frozen=True, gc=False):
    """A Fibre Channel port; names are 16 hex digits."""

    wwnn: str | None
    """node_name"""
    wwpn: str | None
    """port_name"""
    fabric_wwn: str | None
    """fabric_name; None if the port is in no fabric, or the driver does not know"""


class VportOps(msgspec.Struct, frozen=True, gc=False):
    """NPIV: the virtual ports of the adapter."""

    max_vports: int | None
    """max_npiv_vports: how many it can have"""
    vports: int | None
    """npiv_vports_inuse: how many it has"""


class ScsiHost(Capability, frozen=True, gc=False, tag="scsi_host"):
    """A SCSI host."""

    host: int
    """the number in the kernel's name"""
    unique_id: int | None
    """unique_id: the driver's number for the host"""
    fc_host: FcHost | None
    """None if it is not on Fibre Channel"""
    vport_ops: VportOps | None
    """None if it cannot have virtual ports"""
    proc_name: str | None
    """proc_name: the driver's name for itself"""


def read(node: Node) -> ScsiHost | None:
    """Read a host; other devices of the bus have another DEVTYPE."""
    match = _HOST.fullmatch(node.sysname)
    if match is None or node.uevent.get("DEVTYPE") != "scsi_host":
        return None
    scsi_host, fc_host = (f"{one}/{node.sysname}" for one in ("scsi_host", "fc_host"))
    return ScsiHost(
        host=int(match[1]),
        unique_id=node.read_number(f"{scsi_host}/unique_id"),
        fc_host=_read_fc_host(node, fc_host) if node.has("fc_host") else None,
        vport_ops=_read_vport_ops(node, (fc_host, scsi_host)),
        proc_name=_read_proc_name(node, scsi_host),
    )


def _read_proc_name(node: Node, scsi_host: str) -> str | None:
    name = node.read(f"{scsi_host}/proc_name")
    return None if name == "(null)" else name or None  # the kernel's text for a missing name


def _read_fc_host(node: Node, fc_host: str) -> FcHost:
    fabric = read_wwn(node, f"{fc_host}/fabric_name")
    return FcHost(
        wwnn=read_wwn(node, f"{fc_host}/node_name", promised=True),
        wwpn=read_wwn(node, f"{fc_host}/port_name", promised=True),
        fabric_wwn=None if fabric == _NO_FABRIC else fabric,
    )


def _read_vport_ops(node: Node, places: tuple[str, str]) -> VportOps | None:
    for place in places:
        if node.exists(f"{node.path}/{place}/vport_create"):
            return VportOps(
                max_vports=node.read_number(f"{place}/max_npiv_vports", promised=True),
                vports=node.read_number(f"{place}/npiv_vports_inuse", promised=True),
            )
    return None


def neighbours(cap: ScsiHost, device: DeviceLike, tree: TreeLike) -> Iterator[str]:
    """Return the adapter of a virtual port, which counts its virtual ports."""
    above = tree.get(device.parent or "")
    if above is not None and above.path is not None and above.capability(ScsiHost) is not None:
        yield above.path


def _write_host(cap: ScsiHost, out: Out) -> None:
    fc_host = f"fc_host/host{cap.host}"
    out.text("host", cap.host)
    out.value("unique_id", cap.unique_id, f"scsi_host/host{cap.host}/unique_id")
    if cap.fc_host is not None:
        with out.begin("capability", type="fc_host"):
            out.value("wwnn", cap.fc_host.wwnn, f"{fc_host}/node_name")
            out.value("wwpn", cap.fc_host.wwpn, f"{fc_host}/port_name")
            out.value("fabric_wwn", cap.fc_host.fabric_wwn, f"{fc_host}/fabric_name")
    if cap.vport_ops is not None:
        with out.begin("capability", type="vport_ops"):
            _write_number("max_vports", cap.vport_ops.max_vports, out)
            _write_number("vports", cap.vport_ops.vports, out)


def _write_number(tag: str, value: int | None, out: Out) -> None:
    if value is None:
        out.empty(tag, state="unknown")  # the attribute is in one of two directories
    else:
        out.text(tag, value)


def write_as_libvirt(cap: ScsiHost, out: Out) -> None:
    """Write what libvirt shows, in its order, without parts that are incomplete."""
    fc_host, vport_ops = cap.fc_host, cap.vport_ops
    if (fc_host is not None and None in (fc_host.wwnn, fc_host.wwpn)) or (
        vport_ops is not None and None in (vport_ops.max_vports, vport_ops.vports)
    ):
        cap = replace(cap, fc_host=None, vport_ops=None)
    _write_host(cap, out)


def write(cap: ScsiHost, out: Out) -> None:
    """Write what libvirt shows, then the name of the driver."""
    _write_host(cap, out)
    out.value("proc_name", cap.proc_name, f"scsi_host/host{cap.host}/proc_name")


KIND = Kind(
    capability=ScsiHost,
    read=read,
    write=write,
    subsystems=frozenset({"scsi"}),
    nested={
        "fc_host": lambda cap: cap.fc_host is not None,
        "vports": lambda cap: cap.vport_ops is not None,
    },
    identifying=frozenset({"node_name", "port_name", "fabric_name"}),
    neighbours=neighbours,
    libvirt=LibvirtForm(
        "scsi_host", bit=5, write=write_as_libvirt, nested_bits={"fc_host": 9, "vports": 10}
    ),
)
