"""devlink: asks whether a network card is in switchdev mode. Needs CAP_NET_ADMIN.

Source: devlink-dev(8), include/uapi/linux/{devlink,genetlink}.h
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Mapping

from nodedevd.host import netlink

_GENERIC = 16  # NETLINK_GENERIC
_GENL = struct.Struct("=BBH")  # command, version, reserved
_CONTROLLER = 0x10  # GENL_ID_CTRL
_GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 3, 1, 2
_ESWITCH_GET, _BUS_NAME, _DEV_NAME, _ESWITCH_MODE = 29, 1, 2, 25
_SWITCHDEV = 1
_RECEIVE_BYTES = 1 << 16


def is_switchdev(bus: str, device: str) -> bool:
    """Return whether the device of this kernel name is in switchdev mode. Blocking.

    Raises OSError: ENOENT if the kernel has no devlink, ENODEV for a device without devlink,
    EOPNOTSUPP for one without a switch, EPERM.
    """
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, kind, _GENERIC) as channel:
        name = netlink.attribute(_FAMILY_NAME, b"devlink\0")
        family = _request(channel, _CONTROLLER, _GET_FAMILY, name).get(_FAMILY_ID, b"")
        which = _text(_BUS_NAME, bus) + _text(_DEV_NAME, device)
        answer = _request(channel, _number(family), _ESWITCH_GET, which)
    return _number(answer.get(_ESWITCH_MODE, b"\0\0")) == _SWITCHDEV


def _request(
    channel: socket.socket, family: int, command: int, content: bytes
) -> Mapping[int, bytes]:
    """Send a request, and return the attributes of the reply. Raises OSError."""
    channel.sendto(netlink.message(family, _GENL.pack(command, 1, 0) + content), (0, 0))
    for kind, answer in netlink.messages(channel.recv(_RECEIVE_BYTES)):
        if kind == netlink.ERROR and (error := netlink.error_of(answer)):
            raise error
        if kind == family:
            return dict(netlink.attributes(answer[_GENL.size :]))
    raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))


def _number(value: bytes) -> int:
    if len(value) != 2:
        raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
    return int(struct.unpack("=H", value)[0])


def _text(kind: int, text: str) -> bytes:
    return netlink.attribute(kind, os.fsencode(text) + b"\0")
