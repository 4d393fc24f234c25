"""A connection to a daemon, as far as it is the same for who blocks and for who awaits.

Nothing here waits: `read` takes what has arrived.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from nodedevd.client.errors import ConnectionLost, NotUnderstood
from nodedevd.errors import NoDaemon
from nodedevd.varlink import Malformed, Reply, ReplyDecoder

ANSWER_LIMIT_BYTES: Final = 1 << 30
"""The largest answer that is taken, in all its replies."""
_RECEIVE_BYTES: Final = 1 << 18


class Connection:
    """A connected socket, which does not block, and what has come on it.

    Raises NoDaemon when nobody answers; `blocking` has it wait for a daemon that is busy.
    """

    def __init__(self, paths: Sequence[str], limit_bytes: int, *, blocking: bool) -> None:
        self.path, self.socket = _connect(paths, blocking=blocking)
        self.limit_bytes = limit_bytes
        self._decoder = ReplyDecoder(limit_bytes)

    def close(self) -> None:
        """Close it; another thread that waits for something on it is woken."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    @property
    def idle(self) -> bool:
        """Whether it is as it was left: no end, and nothing that nobody asked for."""
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
        """Return the next reply of those that were read. Raises NotUnderstood."""
        reply = self._decoder.next()
        if isinstance(reply, Malformed):
            raise NotUnderstood(reply.reason)
        return reply


class Replies:
    """The replies to one call, as they come."""

    def __init__(self, limit_bytes: int) -> None:
        self.taken: list[Reply] = []
        self._limit_bytes = limit_bytes
        self._size_bytes = 0

    def take(self, reply: Reply) -> bool:
        """Add one, and tell whether it is the last. Raises NotUnderstood for too much."""
        self.taken.append(reply)
        self._size_bytes += memoryview(reply.parameters).nbytes
        if self._size_bytes > self._limit_bytes:
            raise NotUnderstood(f"the answer is larger than {self._limit_bytes} bytes")
        return not reply.continues


def _connect(paths: Sequence[str], *, blocking: bool) -> tuple[str, socket.socket]:
    reasons = []
    for path in paths:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(blocking)
        try:
            connection.connect(path)
        except OSError as error:
            connection.close()
            reasons.append(error.strerror or str(error))
            continue
        connection.setblocking(False)
        return path, connection
    raise NoDaemon(paths, ", ".join(dict.fromkeys(reasons)).lower())
