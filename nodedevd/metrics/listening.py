"""listening: the address at which HTTP is served, to programs of this host alone."""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from nodedevd.errors import NodedevError

ADDRESS: Final = "127.0.0.1:9836"
BACKLOG: Final = 128
"""Clients that may wait to be accepted."""


class NotLoopback(NodedevError):
    """HTTP is served to this host alone."""

    code = "not-loopback"
    address: str
    reason: str

    def __str__(self) -> str:
        return f"cannot serve HTTP on {self.address}: {self.reason}"


def listening(text: str) -> socket.socket:
    """Return a socket that listens on ADDRESS:PORT. Raises NotLoopback."""
    host, colon, port = text.rpartition(":")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
        number = int(port) if colon and port.isdecimal() else -1
    except ValueError:
        raise NotLoopback(text, "give an IP address and a port, such as 127.0.0.1:9836") from None
    if not 0 <= number < 1 << 16:
        raise NotLoopback(text, "give a port after the address, such as 127.0.0.1:9836")
    check_loopback(address, text)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(address), number))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        reason = os.strerror(error.errno or 0)
        if error.errno == errno.EADDRINUSE:
            reason += "; another program serves there, choose another port with --listen"
        raise NotLoopback(text, reason) from error
    return sock


def check_loopback(address: IPv4Address | IPv6Address, text: str) -> None:
    """Raise NotLoopback unless only this host reaches an address."""
    if not address.is_loopback:
        raise NotLoopback(
            text,
            "it is no loopback address, and there is neither encryption nor authentication; have a"
            " reverse proxy or an agent on this host fetch the metrics",
        )
