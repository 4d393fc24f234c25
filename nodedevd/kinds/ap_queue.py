"""ap_queue: one domain of a cryptographic adapter, the unit that is assigned to a guest.

Reads  the device's name, <adapter>.<domain>
ABI    Documentation/arch/s390/vfio-ap.rst; drivers/s390/crypto/ap_queue.c
"""

from __future__ import annotations

import re

from nodedevd.host.node import Node
from nodedevd.kinds.base import Capability, Kind, LibvirtForm
from nodedevd.xml_writer import Out

_NAME = re.compile(r"([0-9a-f]{2})\.([0-9a-f]{4})")


class ApQueue(Capability, frozen=True, gc=False, tag="ap_queue"):
    """An AP queue."""

    adapter: int
    """number of the card"""
    domain: int
    """number of the usage domain"""


def read(node: Node) -> ApQueue | None:
    """Read a queue; None for an adapter, the other kind of device on the bus."""
    match = _NAME.fullmatch(node.sysname)
    return None if match is None else ApQueue(int(match[1], 16), int(match[2], 16))


def write(cap: ApQueue, out: Out) -> None:
    """Write as libvirt does."""
    out.text("ap-adapter", f"0x{cap.adapter:02x}")
    out.text("ap-domain", f"0x{cap.domain:04x}")


KIND = Kind(
    capability=ApQueue,
    read=read,
    write=write,
    subsystems=frozenset({"ap"}),
    libvirt=LibvirtForm("ap_queue", bit=19, write=write),
)
