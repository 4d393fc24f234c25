"""DaemonConnection: a connection to a daemon, as far as it does not wait.

`asynchronous_backend` and `blocking_backend` add the waiting.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from nodedevd.client.errors import ConnectionLost, NotUnderstood
from nodedevd.errors import NoDaemon
from nodedevd.varlink import Malformed, Reply, ReplyDecoder

ANSWER_LIMIT_BYTES: Final = 1 << 30
"""The largest answer that is accepted, in all its replies."""
CONNECT_SECONDS: Final = 10.0
"""How long a call without a timeout waits for a place in the daemon's backlog."""
BACKLOG_PAUSE_SECONDS: Final = 0.02
"""Interval between attempts to connect: no event reports that a backlog has a place."""
_RECEIVE_BYTES: Final = 1 << 18


class BacklogFull(NoDaemon):
    """More clients wait for the daemon than its backlog has places, listen(2)."""

    def __init__(self, path: str) -> None:
        super().__init__((path,), "too many clients wait to be accepted")
        self.path = path


class DaemonConnection:
    """A connected, non-blocking socket, and what has arrived on it.

    Raises NoDaemon if no daemon answers on any of the paths; BacklogFull, which is one, if too
    many other clients wait there.
    """

    def __init__(self, paths: Sequence[str], limit_bytes: int) -> None:
        self.path, self.socket = _connect(paths)
        self._decoder = ReplyDecoder(limit_bytes)

    def close(self) -> None:
        """Close it; a thread that waits for the socket wakes up."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def send_with(self, message: bytes, descriptor: int) -> bool:
        """Send a short call along with a descriptor; return False if those are refused.

        The connection is one on which nothing is unsent. Raises ConnectionLost.
        """
        try:
            sent = socket.send_fds(self.socket, [message], [descriptor])
        except (BrokenPipeError, ConnectionResetError):
            return True  # a reply that the daemon sent before it closed is still to be read
        except OSError as error:
            if error.errno == errno.EPERM:  # SO_PASSRIGHTS, since Linux 6.16
                return False
            raise ConnectionLost(self.path, error.strerror or str(error)) from error
        if sent < len(message):
            raise ConnectionLost(self.path, "it took a part of a call")
        return True

    @property
    def idle(self) -> bool:
        """Whether the daemon neither closed it nor sent anything unexpected."""
        if self._decoder.buffered:
            return False
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def read(self) -> None:
        """Take what has arrived, if anything has. Raises ConnectionLost."""
        try:
            data = self.socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise ConnectionLost(self.path, error.strerror or str(error)) from error
        if not data:
            raise ConnectionLost(self.path, "it closed the connection")
        self._decoder.feed(data)

    def next(self) -> Reply | None:
        """Return the next reply of what was read. Raises NotUnderstood."""
        reply = self._decoder.next()
        if isinstance(reply, Malformed):
            raise NotUnderstood(reply.reason)
        return reply


class Replies:
    """The replies to one call, up to a limit."""

    def __init__(self, limit_bytes: int) -> None:
        self.taken: list[Reply] = []
        self._limit_bytes = limit_bytes
        self._size_bytes = 0

    def take(self, reply: Reply) -> bool:
        """Add a reply; return whether it is the last. Raises NotUnderstood over the limit."""
        self.taken.append(reply)
        self._size_bytes += memoryview(reply.parameters).nbytes
        if self._size_bytes > self._limit_bytes:
            raise NotUnderstood(f"the answer is larger than {self._limit_bytes} bytes")
        return not reply.continues


def _connect(paths: Sequence[str]) -> tuple[str, socket.socket]:
    reasons = []
    for path in paths:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Blocking, connect(2) waits for a place in a full backlog, and no timeout ends that.
        connection.setblocking(False)
        try:
            connection.connect(path)
        except BlockingIOError:
            connection.close()
            raise BacklogFull(path) from None
        except OSError as error:
            connection.close()
            reasons.append(error.strerror or str(error))
            continue
        return path, connection
    raise NoDaemon(tuple(paths), ", ".join(dict.fromkeys(reasons)).lower())
