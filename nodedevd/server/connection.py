"""ClientConnection: asyncio's side of one client, whichever protocol it speaks.

Output is produced in turns, and only as fast as the client reads: memory is bounded, and a busy
client does not keep the others waiting.
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections.abc import Awaitable
from typing import Any, Final, Protocol, cast

from nodedevd.server.account import Account, Holding
from nodedevd.server.conversation import ConversationFactory, Peer

TURN_REPLIES: Final = 64
TURN_BYTES: Final = 64 * 1024
"""A turn ends after so many replies, or bytes of replies."""
RECEIVE_BYTES: Final = 64 * 1024
"""Capacity of one read."""

_log: Final = logging.getLogger(__name__)


class Owner(Protocol):
    """What a connection needs of the server that accepted it."""

    hangups: Hangups
    received: memoryview
    """buffer that all connections receive into, one at a time"""

    @property
    def high_water_bytes(self) -> int:
        """Unread output above which no more is produced for a client."""

    def run(self, answer: Awaitable[Any]) -> asyncio.Future[Any]:
        """Return the task that runs an answer."""

    def forget(self, connection: ClientConnection) -> None:
        """Note that a connection is closed."""


class ClientConnection(asyncio.BufferedProtocol):
    """The connection of one client; it owns the client's conversation."""

    def __init__(
        self, owner: Owner, factory: ConversationFactory, peer: Peer, account: Account
    ) -> None:
        self.account = account
        self._owner = owner
        self._peer = peer
        self._loop = asyncio.get_running_loop()
        self._holding = Holding(account)
        self._conversation = factory.begin(peer, self._wake, self._holding)
        self._transport: asyncio.Transport | None = None
        self._tasks: set[asyncio.Future[Any]] = set()
        self._closing = False
        self._writable = True
        self._eof = False
        self._watched_fd: int | None = None
        self._turn_handle: asyncio.Handle | None = None
        self._tick_handle: asyncio.TimerHandle | None = None

    # -- asyncio.BufferedProtocol ------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._owner.high_water_bytes)
        if self._closing:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the conversation."""
        self._end()
        self._owner.forget(self)

    # For a plain Protocol, asyncio allocates 256 KiB and frees them again for each read.

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer to receive into."""
        return self._owner.received

    def buffer_updated(self, nbytes: int) -> None:
        """Answer the calls in what was received."""
        self._conversation.receive(bytes(self._owner.received[:nbytes]))
        self._turn()

    def eof_received(self) -> bool:
        """Answer the calls that are left; the client may still read."""
        self._eof = True
        self._turn()
        return True

    def pause_writing(self) -> None:
        """Produce no more output until the client has read."""
        self._writable = False

    def resume_writing(self) -> None:
        """Produce output again."""
        self._writable = True
        self._turn()

    # -- life --------------------------------------------------------------------------

    def close(self) -> None:
        """Give up what is being answered, and close when all replies are sent."""
        self._end()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._end()
        if self._transport is not None:
            self._transport.abort()

    def _end(self) -> None:
        self._closing = True
        self._watch(False)
        for handle in (self._turn_handle, self._tick_handle):
            if handle is not None:
                handle.cancel()
        self._conversation.close()
        self._holding.close()
        for task in self._tasks:
            task.cancel()

    def _drop(self) -> None:
        pid, reason = self._peer.pid, self._conversation.failure
        user = {"user": self._peer.uid}
        _log.info("closing the connection of process %d: %s", pid, reason, extra=user)
        self.abort()

    # -- turns -------------------------------------------------------------------------

    def _wake(self) -> None:
        """Take a turn soon."""
        if self._closing:
            return
        # A client that does not read gets no turn in which this would be seen.
        if self._conversation.failure is not None:
            self._drop()
        elif self._turn_handle is None:
            self._turn_handle = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Send the output that there is now, within the bounds of a turn, by one write."""
        if self._turn_handle is not None:
            self._turn_handle.cancel()
            self._turn_handle = None
        transport, conversation = self._transport, self._conversation
        if self._closing or not self._writable or transport is None:
            return
        replies: list[bytes] = []
        size = 0
        drained = False
        while len(replies) < TURN_REPLIES and size < TURN_BYTES:
            reply = conversation.next()
            if reply is None:
                drained = True
                break
            if not isinstance(reply, bytes):
                self._run(reply)
                reply = b""
            replies.append(reply)
            size += len(reply)
        if size:
            transport.write(b"".join(replies))
        if drained and (self._eof or conversation.ended) and not conversation.answering:
            transport.close()
            return
        if not drained and self._writable:
            self._turn_handle = self._loop.call_soon(self._turn)
        if self._tick_handle is None and conversation.tick_seconds:
            self._tick_later()
        full = conversation.full
        # While nothing is read, only a hangup shows that the client has closed.
        self._watch(full and not conversation.outlives_client)
        self._read(drained and not full and self._writable)

    def _run(self, answer: Awaitable[Any]) -> None:
        task = self._owner.run(answer)
        self._tasks.add(task)
        task.add_done_callback(self._on_answered)

    def _on_answered(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            self._conversation.answered(task.result())
        else:
            self._conversation.failed(error)
        self._turn()

    def _tick_later(self) -> None:
        seconds = self._conversation.tick_seconds
        self._tick_handle = self._loop.call_later(seconds, self._tick)

    def _tick(self) -> None:
        output = self._conversation.tick()
        if self._conversation.failure is not None:
            self._drop()
            return
        if output and self._transport is not None:
            self._transport.write(output)
        self._tick_later()

    def _read(self, wanted: bool) -> None:
        transport = self._transport
        if transport is None or self._eof or transport.is_reading() == wanted:
            return
        if wanted:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def _watch(self, wanted: bool) -> None:
        if (self._watched_fd is not None) == wanted or self._transport is None:
            return
        if self._watched_fd is not None:
            self._owner.hangups.unwatch(self._watched_fd)
            self._watched_fd = None
        else:
            self._watched_fd = self._transport.get_extra_info("socket").fileno()
            self._owner.hangups.watch(self._watched_fd, self)


class Hangups:
    """Aborts connections that do not read when their client closes.

    It has an epoll of its own, since asyncio cannot wait for EPOLLHUP alone. On a Unix socket
    EPOLLHUP means that the client closed; shutdown(2) of its sending half does not raise it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._connections: dict[int, ClientConnection] = {}
        loop.add_reader(self._epoll, self._on_hangup)

    def watch(self, fd: int, connection: ClientConnection) -> None:
        """Abort the connection when the peer of its socket `fd` closes."""
        self._epoll.register(fd, 0)  # EPOLLHUP is always reported
        self._connections[fd] = connection

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`, which is still open."""
        self._epoll.unregister(fd)
        del self._connections[fd]

    def close(self) -> None:
        """Close the epoll."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll)
            self._epoll.close()

    def _on_hangup(self) -> None:
        for fd, _events in self._epoll.poll(0):
            self._connections[fd].abort()
