"""rtnetlink: tells which network interface changed, where no uevent does.

A new hardware address, carrier, speed and state: of these the kernel sends a message of
rtnetlink(7) to the group RTNLGRP_LINK, and nothing else. Which interface it is about is all
that is taken from it; what is so now is read in sysfs, as for a uevent.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

from nodedevd.host import netlink

_RTMGRP_LINK = 1
_RTM_NEWLINK = 16
_IFINFOMSG = struct.Struct("=BxHiII")  # family, device type, index, flags, change
_IFLA_IFNAME = 3
_RECEIVE_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 20


class LinkMonitor:
    """A netlink socket on which changes of interfaces arrive. Raises OSError."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            self._socket.bind((0, _RTMGRP_LINK))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor, for an event loop to watch."""
        return self._socket.fileno()

    def drain(self, most: int) -> tuple[set[str], bool]:
        """Return the names of the interfaces that changed, and whether messages were lost."""
        names: set[str] = set()
        for _ in range(most):
            try:
                data, sender = self._socket.recvfrom(_RECEIVE_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                # Receiving takes the error off the socket.
                if error.errno != errno.ENOBUFS:
                    raise
                return names, True
            if sender[0] == 0:  # the kernel itself
                names.update(interfaces(data))
        return names, False

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


def interfaces(data: bytes) -> Iterator[str]:
    """Return the names in the RTM_NEWLINK messages of one packet; what is cut off is left out."""
    for kind, content in netlink.messages(data):
        if kind == _RTM_NEWLINK:
            for name, value in netlink.attributes(content[_IFINFOMSG.size :]):
                if name == _IFLA_IFNAME:
                    yield os.fsdecode(value.rstrip(b"\0"))
                    break
