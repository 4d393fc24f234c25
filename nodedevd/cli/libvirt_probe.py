"""Finds out whether a socket that does not answer in Varlink is one of libvirt's daemons."""

from __future__ import annotations

import socket
from typing import Final

from nodedevd.server.libvirt.protocol import (
    AUTH_LIST,
    REMOTE,
    VERSION,
    Header,
    MessageType,
    encode_packet,
)

_ANSWER_SECONDS: Final = 1.0
_RECEIVE_BYTES: Final = 4096


def speaks_libvirt(path: str) -> bool:
    """Return whether the server of a socket replies to libvirt's first call, AUTH_LIST.

    libvirt's clients begin every connection with it, and it changes nothing. A server that has
    other programs than libvirtd, such as virtlogd, replies with an error.
    """
    call = Header(REMOTE, VERSION, AUTH_LIST.number, MessageType.CALL, 0, 0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_ANSWER_SECONDS)
        try:
            connection.connect(path)
            connection.sendall(encode_packet(call))
            reply = connection.recv(_RECEIVE_BYTES)
        except OSError:
            return False
    return reply[4:8] == REMOTE.to_bytes(4, "big")
