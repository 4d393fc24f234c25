"""Interfaces of this network namespace, which cause real uevents: rtnetlink(7), sysfs(5)."""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from contextlib import suppress
from itertools import count
from pathlib import Path

from nodedevd.host import netlink

_ROUTE, _UEVENTS = 0, 15  # NETLINK_ROUTE, NETLINK_KOBJECT_UEVENT
_NEWLINK, _DELLINK = 16, 17
_ACK, _CREATE = 4, 0x600  # NLM_F_ACK; NLM_F_CREATE | NLM_F_EXCL
_ADDRESS, _NAME, _LINKINFO, _KIND = 1, 3, 18, 1
_IFINFOMSG = struct.pack("=BxHiII", 0, 0, 0, 0, 0)
_RCVBUFFORCE = 33
_BUFFER_BYTES = 64 << 20

STANDING = 20
"""Interfaces that stay, and are reported as changed again and again."""
MOST = 60
"""Interfaces at a time, without their peers."""


class Interfaces:
    """Makes pairs of interfaces, of the kind `veth`, changes and removes them; counts the uevents.

    Attributes:
        uevents: how many the kernel has sent in this namespace since `begin`.
    """

    def __init__(self) -> None:
        self._route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _ROUTE)
        self._monitor = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _UEVENTS)
        self._monitor.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _BUFFER_BYTES)
        self._monitor.bind((0, 1))
        self._monitor.setblocking(False)
        self._names: deque[str] = deque()
        self._numbers = count()
        self.uevents = 0
        self._standing = [self.add() for _ in range(STANDING)]
        self.begin()

    def begin(self) -> None:
        """Count from now on."""
        self._count()
        self.uevents = 0

    def burst(self, uevents: int) -> None:
        """Cause about so many uevents: most say `change`; interfaces come, change and go."""
        wanted = self.uevents + uevents
        while self.uevents < wanted:
            self._names.append(self.add())
            if len(self._names) > MOST - STANDING:
                self.remove(self._names.popleft())
            for name in self._standing:
                Path(f"/sys/class/net/{name}/uevent").write_text("change")
            number = next(self._numbers)
            self._set_address(self._standing[number % STANDING], number)
            if self._names:
                self._set_address(self._names[number % len(self._names)], number)
            self._count()

    def add(self) -> str:
        """Make a pair of interfaces; return the name of the first."""
        name = f"soak{next(self._numbers)}"
        kind = netlink.attribute(_LINKINFO, netlink.attribute(_KIND, b"veth"))
        self._request(_NEWLINK, _CREATE, _named(name) + kind)
        return name

    def remove(self, name: str) -> None:
        """Remove a pair of interfaces."""
        self._request(_DELLINK, 0, _named(name))

    def _set_address(self, name: str, number: int) -> None:
        address = b"\x02\x00" + number.to_bytes(4, "big")
        self._request(_NEWLINK, 0, _named(name) + netlink.attribute(_ADDRESS, address))

    def _request(self, kind: int, flags: int, attributes: bytes) -> None:
        message = netlink.message(
            kind, _IFINFOMSG + attributes, flags=netlink.REQUEST | _ACK | flags
        )
        self._route.sendto(message, (0, 0))
        for answer, content in netlink.messages(self._route.recv(1 << 16)):
            if answer == netlink.ERROR and (number := -struct.unpack_from("=i", content)[0]):
                raise OSError(number, os.strerror(number))

    def _count(self) -> None:
        with suppress(BlockingIOError):
            while self._monitor.recv(1 << 13):
                self.uevents += 1


def _named(name: str) -> bytes:
    return netlink.attribute(_NAME, name.encode() + b"\0")
