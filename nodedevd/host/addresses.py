"""addresses: the interfaces of this host that have an address, by rtnetlink.

Source: rtnetlink(7), RTM_GETADDR; include/uapi/linux/{if_addr,rtnetlink}.h
"""

from __future__ import annotations

import socket
import struct

from nodedevd.host import netlink

_ROUTE = 0  # NETLINK_ROUTE
_GET_ADDRESSES, _ADDRESS, _DONE = 22, 20, 3
_DUMP = 0x300  # NLM_F_DUMP
_HEADER = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_SCOPE_LINK = 253  # addresses of the link or of the host are of no use to others
_RECEIVE_BYTES = 1 << 16
_TIMEOUT_SECONDS = 2.0


def interfaces_with_address() -> frozenset[str]:
    """Return the interfaces with an IPv4 or IPv6 address beyond the link. Blocking.

    Raises OSError.
    """
    return frozenset(map(socket.if_indextoname, _indices()))


def _indices() -> set[int]:
    found: set[int] = set()
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, kind, _ROUTE) as channel:
        channel.settimeout(_TIMEOUT_SECONDS)
        request = _HEADER.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        flags = netlink.REQUEST | _DUMP
        channel.sendto(netlink.message(_GET_ADDRESSES, request, flags=flags), (0, 0))
        while True:
            for message_kind, content in netlink.messages(channel.recv(_RECEIVE_BYTES)):
                if message_kind == _DONE:
                    return found
                if message_kind == netlink.ERROR and (error := netlink.error_of(content)):
                    raise error
                if message_kind == _ADDRESS and len(content) >= _HEADER.size:
                    *_, scope, index = _HEADER.unpack_from(content)
                    if scope < _SCOPE_LINK:
                        found.add(index)
