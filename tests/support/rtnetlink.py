"""Messages of rtnetlink, as the kernel writes them: rtnetlink(7)."""

from __future__ import annotations

import struct

RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, NLMSG_DONE = 16, 17, 20, 3
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU = 1, 3, 4


def attribute(kind: int, value: bytes) -> bytes:
    """Return a routing attribute, padded to four bytes as rtnetlink(7) says."""
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def name(text: bytes) -> bytes:
    """Return the attribute with an interface's name."""
    return attribute(IFLA_IFNAME, text + b"\0")


def message(attributes: bytes, kind: int = RTM_NEWLINK) -> bytes:
    """Return a message about an interface, padded."""
    body = struct.pack("=BxHiII", 0, 1, 2, 0x1043, 0) + attributes
    header = struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0)
    return header + body + bytes(-len(body) % 4)
