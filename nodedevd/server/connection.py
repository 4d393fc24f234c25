"""ClientConnection: the socket of one client, whichever protocol it speaks.

It receives and sends in its turns only, and produces output only as fast as the client reads:
its memory is bounded, and a busy client does not keep the others waiting.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable
from typing import Any, Final, Protocol

from nodedevd.server.account import Account, Holding
from nodedevd.server.conversation import ConversationFactory, Peer
from nodedevd.server.sockets import ENDING, HUNGUP, READABLE, Sockets
from nodedevd.server.turns import Left, Turns

TURN_REPLIES: Final = 64
TURN_BYTES: Final = 64 * 1024
"""A turn ends after so many replies, or bytes of replies, besides its time."""
RECEIVE_BYTES: Final = 64 * 1024
"""Capacity of one read."""

_log: Final = logging.getLogger(__name__)


class Owner(Protocol):
    """What a connection needs of the server that accepted it."""

    turns: Turns
    sockets: Sockets
    received: memoryview
    """buffer that all connections receive into, one at a time"""

    def run(self, answer: Awaitable[Any]) -> asyncio.Future[Any]:
        """Return the task that runs an answer."""

    def forget(self, connection: ClientConnection) -> None:
        """Note that a connection is closed."""


class ClientConnection:
    """The connection of one client; it owns the client's socket and conversation.

    Attributes:
        account: that of its user.
        uid, queued: as `turns.Taker` has them.
        unsent_bytes: output that the socket did not take.
    """

    def __init__(
        self,
        owner: Owner,
        factory: ConversationFactory,
        peer: Peer,
        sock: socket.socket,
        account: Account,
    ) -> None:
        self.account = account
        self.uid = peer.uid
        self.queued = False
        self.unsent_bytes = 0
        self._owner = owner
        self._peer = peer
        self._socket = sock
        self._clock = owner.turns.clock
        self._holding = Holding(account)
        self._conversation = factory.begin(peer, self._wake, self._holding)
        self._tasks: set[asyncio.Future[Any]] = set()
        self._unsent: list[bytes | memoryview] = []
        self._readable = False
        self._ending = False  # the client has closed, or will send no more
        self._hungup = False
        self._eof = False
        self._closing = False
        self._closed = False
        self._tick_handle: asyncio.TimerHandle | None = None
        owner.sockets.add(sock, self)

    # -- life --------------------------------------------------------------------------

    def on_events(self, events: int) -> None:
        """Note what the socket is ready for, and wait for a turn."""
        if events & HUNGUP:
            self._hungup = True
        if events & ENDING:
            self._ending = True
        if events & READABLE:
            self._readable = True
        self._owner.turns.enqueue(self)

    def close(self) -> None:
        """Give up what is being answered, and close when all replies are sent."""
        self._end()
        if not self._unsent:
            self._disconnect()

    def abort(self) -> None:
        """Close at once."""
        self._end()
        self._disconnect()

    def _end(self) -> None:
        if self._closing:
            return
        self._closing = True
        if self._tick_handle is not None:
            self._tick_handle.cancel()
        self._conversation.close()
        for task in self._tasks:
            task.cancel()

    def _disconnect(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._unsent.clear()
        self._holding.close()
        self.unsent_bytes = 0
        self._owner.sockets.remove(self._socket)
        self._socket.close()
        self._owner.forget(self)

    def _wake(self) -> None:
        """Take a turn soon."""
        if not self._closing:
            self._owner.turns.add(self)

    # -- turns -------------------------------------------------------------------------

    def turn(self, until: float) -> Left:
        """Receive, answer and send, until a time of the clock or one of the bounds of a turn."""
        if self._unsent:
            self._send([])
        if self._closed:
            return Left.NOTHING
        if self._conversation.failure is not None and not self._closing:
            pid, reason = self._peer.pid, self._conversation.failure
            user = {"user": self._peer.uid}
            _log.info("closing the connection of process %d: %s", pid, reason, extra=user)
            self.abort()
            return Left.NOTHING
        if not self._unsent and not self._closing and self._answer(until):
            return Left.UNFINISHED if self._conversation.unfinished else Left.CALLS
        self._rest()
        return Left.NOTHING

    def _answer(self, until: float) -> bool:
        """Answer calls; return whether more can be done at once."""
        conversation, clock = self._conversation, self._clock
        replies: list[bytes] = []
        size = 0
        while size < TURN_BYTES and len(replies) < TURN_REPLIES:
            reply = conversation.next()
            if reply is None:
                if size:
                    self._send(replies)
                    if self._unsent:
                        return False
                    replies, size = [], 0
                if not self._receive():
                    return False
            elif isinstance(reply, bytes):
                replies.append(reply)
                size += len(reply)
            else:
                self._run(reply)
            if clock() >= until:
                break
        if size:
            self._send(replies)
        return not self._unsent and not self._closed

    def _rest(self) -> None:
        """Leave it until something happens, or close when nothing can."""
        if self._closed:
            return
        conversation = self._conversation
        if self._closing:
            if self._hungup or not self._unsent:
                self._disconnect()
            return
        if self._hungup and (self._unsent or conversation.full):
            # Nobody reads what would be sent.
            if not conversation.outlives_client:
                self.abort()
            return
        if self._unsent:
            return
        if (self._eof or conversation.ended) and not conversation.answering:
            self.close()
        elif self._tick_handle is None and conversation.tick_seconds:
            self._tick_later()

    def _receive(self) -> bool:
        """Receive what there is, up to the capacity; return whether that is anything."""
        conversation = self._conversation
        if not self._readable or self._closing or conversation.full or conversation.ended:
            return False
        received = self._owner.received
        try:
            size = self._socket.recv_into(received)
        except (BlockingIOError, InterruptedError):
            self._readable = False
            return False
        except OSError:
            self.abort()
            return False
        if not size:
            self._readable = False
            self._eof = True
            return False
        # A stream socket that gives less than asked for is empty: the next byte is an event,
        # epoll(7). The end is one as well, but may have been reported before.
        self._readable = size == len(received) or self._ending
        conversation.receive(bytes(received[:size]))
        return True

    def _send(self, replies: list[bytes]) -> None:
        """Send what is unsent, then replies, as far as the socket takes them."""
        waited = bool(self._unsent)
        output: list[bytes | memoryview] = [*self._unsent, *replies] if waited else [*replies]
        try:
            if len(output) == 1:
                sent = self._socket.send(output[0])
            else:
                sent = self._socket.sendmsg(output)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.abort()
            return
        self._unsent = _after(output, sent)
        self.unsent_bytes = sum(map(len, self._unsent))
        if bool(self._unsent) != waited:
            self._owner.sockets.await_writable(self._socket, not waited)

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
        self._wake()

    # -- silence -----------------------------------------------------------------------

    def _tick_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._tick_handle = loop.call_later(self._conversation.tick_seconds, self._tick)

    def _tick(self) -> None:
        self._conversation.tick()
        self._tick_later()
        self._wake()


def _after(output: list[bytes | memoryview], sent: int) -> list[bytes | memoryview]:
    """Return what is left of output; nothing is copied."""
    for number, one in enumerate(output):
        if sent < len(one):
            return [memoryview(one)[sent:], *output[number + 1 :]]
        sent -= len(one)
    return []
