"""ccw: addresses and states of CCW devices, CCW groups and subchannels.

The kernel names each by its address, `cssid.ssid.devno` in hex, as 0.0.bd00: struct ccw_dev_id and
struct subchannel_id of arch/s390.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, TypeAlias

from nodedevd.host.node import Node
from nodedevd.xml_writer import Out

State: TypeAlias = Literal["online", "offline"]

_ADDRESS = re.compile(r"([0-9a-f]{1,2})\.([0-3])\.([0-9a-f]{4})")


class CcwAddress(NamedTuple):
    """The three numbers of an address."""

    cssid: int
    """channel subsystem"""
    ssid: int
    """subchannel set"""
    devno: int
    """number of the device, or of the subchannel"""

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes of libvirt's element `address`."""
        return {
            "cssid": f"{self.cssid:#x}",
            "ssid": f"{self.ssid:#x}",
            "devno": f"0x{self.devno:04x}",
        }


def parse_ccw(text: str) -> CcwAddress | None:
    """Parse `cssid.ssid.devno`; None for any other text."""
    match = _ADDRESS.fullmatch(text)
    return None if match is None else CcwAddress(*[int(part, 16) for part in match.groups()])


def read_address(node: Node) -> str | None:
    """Return the kernel name of a device, which is its address; any other name is a fault."""
    if parse_ccw(node.sysname) is None:
        node.fault("", "malformed", "the name of this device is its address")
        return None
    return node.sysname


def read_state(node: Node) -> State | None:
    """Read `online` of a device or group; None is unknown."""
    text = node.read("online", promised=True)
    if text is not None and text not in ("0", "1"):
        node.fault("online", "malformed", text[:80])
        return None
    return None if text is None else "online" if text == "1" else "offline"


def write_address(text: str | None, out: Out) -> None:
    """Write an address as three elements, as libvirt does; nothing for None."""
    address = None if text is None else parse_ccw(text)
    if address is not None:
        for tag, number in address.attributes.items():
            out.text(tag, number)
