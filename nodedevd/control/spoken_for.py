"""spoken_for: who has connected to a server of libvirt's protocol, by that server's own socket.

Reads  getsockname(2), getpeername(2), and what `asker` reads of a socket, of a descriptor that was
       passed by SCM_RIGHTS of unix(7)

A socket tells who is at its other end, and that is a client only if this end was accepted. The end
that has connected tells who listens there, often root: its credentials must not be had that way.
The other end of one that has connected has the name of the listening socket, always. That of one
that was accepted has a name only if its client has bound it, which clients of libvirt do not.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection

from nodedevd.control.asker import Asker, asker_of


class NotAccepted(Exception):
    """A descriptor is no socket that a server of libvirt's protocol has accepted."""


def spoken_for(descriptor: int, paths: Collection[str]) -> Asker:
    """Return who has connected to one of the paths, of the socket that was accepted; it is closed.

    Raises NotAccepted.
    """
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        os.close(descriptor)
        raise NotAccepted("the descriptor is no socket") from error
    with sock:
        try:
            _check(sock, paths)
            return asker_of(sock)
        except OSError as error:
            raise NotAccepted(f"the socket is not connected: {error.strerror}") from error


def _check(sock: socket.socket, paths: Collection[str]) -> None:
    """Raise NotAccepted unless a client of one of the paths is at the other end, or OSError."""
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
        raise NotAccepted("the descriptor is no Unix stream socket")
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise NotAccepted("the socket listens; pass the one that accept(2) has returned")
    peer, name = sock.getpeername(), sock.getsockname()
    if peer:
        raise NotAccepted(f"the socket has connected to {peer!r}; pass one that was accepted")
    if name not in paths:
        raise NotAccepted(
            f"the socket is of {name!r}, which is not in `libvirt_sockets` of control.toml"
        )
