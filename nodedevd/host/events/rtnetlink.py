"""rtnetlink: reports which network interfaces changed where the kernel sends no uevent.

A new hardware address, carrier, speed or state sends only an rtnetlink(7) message to the group
RTNLGRP_LINK. The message names the interface; its values are then read from sysfs, as after a
uevent.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

from nodedevd.host import netlink
from nodedevd.host.events.lost import EventsLost

_RTMGRP_LINK = 1
_RTM_NEWLINK = 16
_IFINFOMSG = struct.Struct("=BxHiII")  # family, device type, index, flags, change
_IFLA_IFNAME = 3
_RECEIVE_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 20


class LinkMonitor:
    """A netlink socket that receives the changes of network interfaces.

    Raises OSError when the kernel refuses the socket.
    """

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

    def drain(self) -> Iterator[list[str]]:
        """Yield the names of the interfaces that each packet reports; does not block.

        Raises EventsLost; later packets can still be drained if the monitor is usable.
        """
        while True:
            try:
                data, sender = self._socket.recvfrom(_RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                # Receiving clears ENOBUFS on the socket; any other error is not expected.
                overflow = error.errno == errno.ENOBUFS
                reason = errno.errorcode.get(error.errno or 0, str(error))
                raise EventsLost(reason, overflow=overflow, usable=overflow) from error
            if sender[0] == 0:  # the port of the kernel
                yield list(interfaces(data))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def interfaces(data: bytes) -> Iterator[str]:
    """Yield the names in the RTM_NEWLINK messages of a packet; a truncated message has none."""
    for kind, content in netlink.messages(data):
        if kind == _RTM_NEWLINK:
            for name, value in netlink.attributes(content[_IFINFOMSG.size :]):
                if name == _IFLA_IFNAME:
                    yield os.fsdecode(value.rstrip(b"\0"))
                    break
