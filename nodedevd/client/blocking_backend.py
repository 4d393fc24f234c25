"""The waiting of `blocking`: sockets, locks and pauses that block the thread."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from nodedevd.client.connection import DaemonConnection
from nodedevd.client.deadline import Deadline
from nodedevd.client.errors import ConnectionLost, TimedOut
from nodedevd.varlink import Reply

_SHORTEST_SECONDS = 1e-3  # settimeout(0) would make the socket non-blocking
_POLL_SECONDS = 1.0
"""The longest poll(2): Python notices a signal that comes just before the call only after it."""

Lock = threading.Lock
sleep = time.sleep


def connect_now(opened: AbstractContextManager[object]) -> None:
    """Enter a client or watch that is being constructed, so that it connects at once."""
    opened.__enter__()


class BlockingConnection(DaemonConnection):
    """A connection that waits by blocking the thread."""

    def __init__(self, paths: Sequence[str], limit_bytes: int) -> None:
        super().__init__(paths, limit_bytes)
        self._poll = select.poll()
        self._poll.register(self.socket, select.POLLIN)

    def send(self, message: bytes, deadline: Deadline) -> None:
        """Send a call. Raises ConnectionLost, TimedOut."""
        left = deadline.left
        self.socket.settimeout(None if left is None else max(left, _SHORTEST_SECONDS))
        try:
            self.socket.sendall(message)
        except TimeoutError:
            raise TimedOut(f"{self.path} to accept a call", deadline.seconds or 0) from None
        except (BrokenPipeError, ConnectionResetError):
            pass  # a reply that the daemon sent before it closed is still to be read
        except OSError as error:
            raise ConnectionLost(self.path, error.strerror or str(error)) from error
        finally:
            self.socket.setblocking(False)

    def receive(self, deadline: Deadline) -> Reply | None:
        """Return the next reply, None if none arrives in time."""
        late = False
        while (reply := self.next()) is None and not late:
            left = deadline.left
            seconds = _POLL_SECONDS if left is None else min(left, _POLL_SECONDS)
            ready = self._poll.poll(seconds * 1000)
            late = not ready and seconds == left
            self.read()
        return reply
