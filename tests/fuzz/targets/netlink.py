"""Packets of netlink: rtnetlink's of interfaces, and replies of devlink."""

from __future__ import annotations

import socket
import struct
from typing import cast

from nodedevd.host import devlink, netlink
from nodedevd.host.events import rtnetlink
from tests.fuzz.target import Target


class _Channel:
    """A socket that answers a request with a packet."""

    def __init__(self, packet: bytes) -> None:
        self._packet = packet

    def sendto(self, data: bytes, address: object) -> int:
        """Take the request."""
        return len(data)

    def recv(self, size: int) -> bytes:
        """Return the packet."""
        return self._packet[:size]


def check(data: bytes) -> None:
    """No more comes out than went in, and messages and attributes are built as they were parsed."""
    messages = list(netlink.messages(data))
    assert sum(len(content) + 16 for _, content in messages) <= len(data) + 3
    for kind, content in messages:
        ((again, same),) = netlink.messages(netlink.message(kind, content))
        assert (again, same) == (kind, content)
        attributes = list(netlink.attributes(content))
        assert sum(len(value) + 4 for _, value in attributes) <= len(content) + 3
        built = b"".join(netlink.attribute(number, value) for number, value in attributes)
        assert list(netlink.attributes(built)) == attributes
    names = list(rtnetlink.interfaces(data))
    assert len(names) <= len(messages)
    assert sum(map(len, names)) <= len(data)
    _check_devlink(data)


def _check_devlink(data: bytes) -> None:
    try:
        found = devlink._request(cast(socket.socket, _Channel(data)), 20, 1, b"")
        mode = devlink._number(found.get(25, b"\0\0"))
    except OSError:
        return
    assert 0 <= mode <= 0xFFFF


TARGET = Target(
    "netlink",
    check,
    reads=("nodedevd/host/netlink.py",),
    words=(
        struct.pack("=IHHII", 52, 16, 0, 0, 0),
        struct.pack("=BxHiII", 0, 1, 2, 0x1043, 0),
        struct.pack("=HH", 8, 3) + b"lo\0\0",
        struct.pack("=IHHII", 36, 2, 0, 1, 0),
        struct.pack("=IHHIIBBH", 32, 20, 0, 1, 0, 29, 1, 0),
        struct.pack("=HHHxx", 6, 25, 1),
        struct.pack("=HH", 4, 0x8003),
    ),
    most_bytes=512,
    share=4.0,
)
