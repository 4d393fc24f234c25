"""infiniband: an RDMA device with its ports: InfiniBand, RoCE or iWARP.

Reads  node_type, node_guid, sys_image_guid, hca_type, board_id, fw_ver,
       ports/<N>/{state,phys_state,link_layer,lid,rate}
ABI    Documentation/ABI/stable/sysfs-class-infiniband; drivers/infiniband/core/sysfs.c. The
       kernel sends no uevent when the state of a port changes.
"""

from __future__ import annotations

import re

import msgspec
from msgspec.structs import replace

from nodedevd.errors import NodeGone
from nodedevd.host.node import Node, parse_number
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.base import Capability, Kind
from nodedevd.xml_writer import Out

_NUMBERED = re.compile(r"[0-9]+: (.+)")
_RATE = re.compile(r"([0-9]{1,6}(?:\.[0-9])?) Gb/sec \(([0-9]{1,3})X(?: (\w+))?\)")


class InfinibandRate(msgspec.Struct, frozen=True, gc=False):
    """The data rate of a port, at the time of the read."""

    gbit: float
    """Gbit/s, of all lanes"""
    lanes: int
    """the 4 of 4X"""
    speed: str | None
    """speed of a lane: DDR, QDR, FDR10, FDR, EDR, HDR, NDR, …; None for the first, SDR"""


class InfinibandPort(msgspec.Struct, frozen=True, gc=False):
    """A port; a value that is unknown is None."""

    number: int
    """1 and up; 0 on a switch"""
    state: str | None
    """state: NOP, DOWN, INIT, ARMED, ACTIVE, ACTIVE_DEFER"""
    phys_state: str | None
    """phys_state: Sleep, Polling, Disabled, PortConfigurationTraining, LinkUp, …"""
    link_layer: str | None
    """link_layer: InfiniBand, Ethernet; Unknown"""
    lid: int | None
    """lid; None until a subnet manager has assigned one, and on Ethernet"""
    rate: InfinibandRate | None
    """rate; None unless the port is active"""


class Infiniband(Capability, frozen=True, gc=False, tag="infiniband"):
    """An RDMA device."""

    node_type: str | None
    """node_type: CA, switch, router, RNIC, usNIC, usNIC UDP"""
    node_guid: str | None
    """node_guid: four groups of four hex digits"""
    sys_image_guid: str | None
    """sys_image_guid, the same for all devices of a card"""
    hca_type: str | None
    """hca_type: the model, in the driver's words, such as MT4119"""
    board_id: str | None
    """board_id of the manufacturer"""
    fw_ver: str | None
    """fw_ver: firmware version"""
    ports: tuple[InfinibandPort, ...]
    """by number"""


def read(node: Node) -> Infiniband:
    """Read an RDMA device; each device of the class is one."""
    return Infiniband(
        node_type=_read_numbered(node, "node_type"),
        node_guid=node.read("node_guid", promised=True),
        sys_image_guid=node.read("sys_image_guid", promised=True),
        hca_type=node.read("hca_type") or None,
        board_id=node.read("board_id") or None,
        fw_ver=node.read("fw_ver") or None,
        ports=_read_ports(node),
    )


def _read_ports(node: Node) -> tuple[InfinibandPort, ...]:
    ports = []
    for name in node.names("ports"):
        number = parse_number(name)
        if number is None:
            node.fault(f"ports/{name}", "malformed", "the name of a port is its number")
        else:
            ports.append(_read_port(node, number))
    return tuple(sorted(ports, key=lambda port: port.number))


def _read_port(node: Node, number: int) -> InfinibandPort:
    path = f"ports/{number}"
    state = _read_numbered(node, f"{path}/state")
    return InfinibandPort(
        number=number,
        state=state,
        phys_state=_read_numbered(node, f"{path}/phys_state"),
        link_layer=node.read(f"{path}/link_layer", promised=True),
        lid=node.read_number(f"{path}/lid", base=16, promised=True) or None,
        rate=_read_rate(node, f"{path}/rate") if state == "ACTIVE" else None,
    )


def _read_numbered(node: Node, attribute: str) -> str | None:
    """Read a word behind its number, such as `4: ACTIVE`."""
    text = node.read(attribute, promised=True)
    if text is None:
        return None
    match = _NUMBERED.fullmatch(text)
    if match is None:
        node.fault(attribute, "malformed", text[:80])
        return None
    return match[1]


def _read_rate(node: Node, attribute: str) -> InfinibandRate | None:
    """Read a rate such as `100 Gb/sec (4X EDR)`."""
    text = node.read(attribute, promised=True)
    if text is None:
        return None
    match = _RATE.fullmatch(text)
    if match is None:
        node.fault(attribute, "malformed", text[:80])
        return None
    return InfinibandRate(gbit=float(match[1]), lanes=int(match[2]), speed=match[3])


def reread_volatile(sysroot: Sysroot, path: str, cap: Infiniband) -> Infiniband | None:
    """Read the ports again."""
    try:
        node = Node(sysroot, path, subsystem="infiniband")
        ports = _read_ports(node)
    except NodeGone:
        return None
    if node.faults:
        return None
    return cap if ports == cap.ports else replace(cap, ports=ports)


def write(cap: Infiniband, out: Out) -> None:
    """Write the device, then each port."""
    out.value("node_type", cap.node_type, "node_type")
    out.value("node_guid", cap.node_guid, "node_guid")
    out.value("sys_image_guid", cap.sys_image_guid, "sys_image_guid")
    out.value("hca_type", cap.hca_type, "hca_type")
    out.value("board_id", cap.board_id, "board_id")
    out.value("fw_ver", cap.fw_ver, "fw_ver")
    for port in cap.ports:
        with out.begin("port", number=str(port.number)):
            _write_port(port, out)


def _write_port(port: InfinibandPort, out: Out) -> None:
    path = f"ports/{port.number}"
    out.value("state", port.state, f"{path}/state")
    out.value("phys_state", port.phys_state, f"{path}/phys_state")
    out.value("link_layer", port.link_layer, f"{path}/link_layer")
    out.value("lid", port.lid, f"{path}/lid")
    if port.rate is not None:
        attributes = {} if port.rate.speed is None else {"speed": port.rate.speed}
        out.empty("rate", gbit=f"{port.rate.gbit:g}", lanes=str(port.rate.lanes), **attributes)
    elif f"{path}/rate" in out.unknown:
        out.empty("rate", state="unknown")


KIND = Kind(
    capability=Infiniband,
    read=read,
    write=write,
    subsystems=frozenset({"infiniband"}),
    # GIDs contain them as well, and are not read.
    identifying=frozenset({"node_guid", "sys_image_guid"}),
    reread_volatile=reread_volatile,
)
