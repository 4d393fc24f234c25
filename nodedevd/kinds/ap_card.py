"""ap_card: a cryptographic adapter of an IBM Z.

Reads  the device's name, card<XX>, and type
ABI    Documentation/arch/s390/vfio-ap.rst; drivers/s390/crypto/ap_card.c
"""

from __future__ import annotations

import re

from nodedevd.host.node import Node
from nodedevd.kinds.base import Capability, Kind, LibvirtForm
from nodedevd.xml_writer import Out

_NAME = re.compile("card([0-9a-f]{2})")


class ApCard(Capability, frozen=True, gc=False, tag="ap_card"):
    """An AP adapter."""

    adapter: int
    """its number"""
    card_type: str | None
    """type, such as CEX7C; None while no driver is bound"""


def read(node: Node) -> ApCard | None:
    """Read an adapter; None for a queue, the other kind of device on the bus."""
    match = _NAME.fullmatch(node.sysname)
    if match is None:
        return None
    return ApCard(adapter=int(match[1], 16), card_type=node.read("type") or None)


def write_as_libvirt(cap: ApCard, out: Out) -> None:
    """Write what libvirt shows, in its number format."""
    out.text("ap-adapter", f"0x{cap.adapter:02x}")


def write(cap: ApCard, out: Out) -> None:
    """Write what libvirt shows, then the type."""
    write_as_libvirt(cap, out)
    out.value("type", cap.card_type, "type")


KIND = Kind(
    capability=ApCard,
    read=read,
    write=write,
    subsystems=frozenset({"ap"}),
    libvirt=LibvirtForm("ap_card", bit=18, write=write_as_libvirt),
)
