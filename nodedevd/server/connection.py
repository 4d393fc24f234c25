"""ClientConnection: the socket of one client, whichever protocol it speaks.

It receives and sends in its turns only, and produces output only as fast as the client reads:
its memory is bounded, and a busy client does not keep the others waiting.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

from nodedevd.errors import BudgetExceeded, TooManyClients
from nodedevd.server.account import Account, Accounts, Holding
from nodedevd.server.conversation import Conversation, ConversationFactory, Peer
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

    accounts: Accounts
    turns: Turns
    sockets: Sockets
    received: memoryview
    """buffer that all connections receive into, one at a time"""

    def run(self, answer: Awaitable[Any]) -> asyncio.Future[Any]:
        """Return the task that runs an answer; a future is returned as it is."""

    def forget(self, connection: ClientConnection) -> None:
        """Note that a connection is closed."""


class ClientConnection:
    """The connection of one client; it owns the client's socket and conversation.

    Attributes:
        account: what the clients of its user take.
        share, queued: as `turns.Taker` has them.
    """

    def __init__(
        self,
        owner: Owner,
        factory: ConversationFactory,
        peer: Peer,
        account: Account,
        sock: socket.socket,
    ) -> None:
        self.account = account
        self.share = owner.turns.share(peer.uid)
        self.queued = False
        self._owner = owner
        self._peer = peer
        self._socket = sock
        self._recv_into: Callable[[memoryview], int] = sock.recv_into
        self._turns = owner.turns
        self._clock = owner.turns.clock
        self._holding = Holding(account)
        self._conversation = factory.begin(peer, self._wake, self._holding)
        # Whether each is this connection's own; a future may be one that others wait for, too.
        self._awaited: dict[asyncio.Future[Any], bool] = {}
        self._unsent: list[bytes | memoryview] = []
        self._drained = True  # nothing received is left to answer
        self._readable = False
        self._ending = False  # the client has closed, or will send no more
        self._hungup = False
        self._eof = False
        self._closing = False
        self._closed = False
        self._tick_handle: asyncio.TimerHandle | None = None
        owner.sockets.add(sock, self)

    @property
    def unsent_bytes(self) -> int:
        """The size of the output that the socket did not take."""
        return sum(map(len, self._unsent))

    @property
    def answering(self) -> bool:
        """Whether a call is being answered, or an answer is still to be sent."""
        return self._conversation.answering or bool(self._unsent)

    def move(self, uid: int) -> None:
        """Count as a connection of another user, for whom its client speaks.

        Raises TooManyClients, and counts as before; BudgetExceeded.
        """
        accounts, before = self._owner.accounts, self.account.uid
        self.account.leave()  # its place may be the last one
        try:
            self.account = accounts.enter(uid)
            self.share = self._turns.share(uid)
        except TooManyClients:
            self.account = accounts.enter(before)
            raise
        finally:
            self._holding.move(self.account)

    # -- life --------------------------------------------------------------------------

    def on_events(self, events: int) -> None:
        """Note what the socket is ready for."""
        if events & READABLE:
            self._readable = True
            if events & ENDING:
                self._ending = True
                self._hungup = self._hungup or bool(events & HUNGUP)

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
        for task, own in tuple(self._awaited.items()):
            if own:
                task.cancel()
            else:
                task.remove_done_callback(self._on_answered)

    def _disconnect(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._unsent.clear()
        self._holding.close()
        self._owner.sockets.remove(self._socket)
        self._socket.close()
        self._owner.forget(self)

    def _wake(self) -> None:
        """Take a turn soon."""
        if not self._closing:
            self._turns.add(self)

    # -- turns -------------------------------------------------------------------------

    def turn(self, until: float) -> Left:
        """Receive, answer and send, until a time of the clock or one of the bounds of a turn.

        A defect costs the connection, and not the turns of the user's others.
        """
        try:
            return self._take_turn(until)
        except Exception:
            pid, user = self._peer.pid, {"user": self._peer.user}
            _log.exception("closing the connection of process %d: a defect", pid, extra=user)
            self.abort()
            return Left.NOTHING

    def _take_turn(self, until: float) -> Left:
        if self._unsent:
            self._send_unsent()
        conversation = self._conversation
        if self._closing or self._unsent or conversation.failure is not None:
            self._rest()
        elif self._answer(conversation, until):
            return Left.UNFINISHED if conversation.unfinished else Left.CALLS
        elif self._ending or self._unsent or conversation.ended or conversation.failure:
            self._rest()
        elif self._tick_handle is None and conversation.tick_seconds:
            self._tick_later()
        return Left.NOTHING

    def _answer(self, conversation: Conversation[Any], until: float) -> bool:
        """Answer calls; return whether more can be done at once."""
        clock = self._clock
        replies: list[bytes] = []
        size = 0
        if self._drained and self._readable:
            self._receive(conversation)
        while True:
            reply = conversation.next()
            if reply is None:
                if size:
                    self._send(replies)
                    if self._unsent:
                        return False
                    replies, size = [], 0
                if not self._readable or not self._receive(conversation):
                    self._drained = True
                    return False
                continue
            if isinstance(reply, bytes):
                replies.append(reply)
                size += len(reply)
            else:
                self._run(reply)
            if size >= TURN_BYTES or clock() >= until or len(replies) >= TURN_REPLIES:
                break
        self._drained = False
        if size:
            self._send(replies)
        return not self._unsent and not self._closed

    def _rest(self) -> None:
        """Wait for what happens next, or close when nothing can."""
        conversation = self._conversation
        if self._closing:
            if self._hungup or not self._unsent:
                self._disconnect()
        elif conversation.failure is not None:
            pid, reason = self._peer.pid, conversation.failure
            user = {"user": self._peer.user}
            _log.info("closing the connection of process %d: %s", pid, reason, extra=user)
            self.abort()
        elif self._hungup and (self._unsent or conversation.full):
            # Nobody reads what would be sent.
            if not conversation.outlives_client:
                self.abort()
        elif (self._eof or conversation.ended) and not (self._unsent or conversation.answering):
            self.close()

    def _receive(self, conversation: Conversation[Any]) -> bool:
        """Receive what there is, up to the capacity; return whether that is anything."""
        if self._closing or conversation.full or conversation.ended:
            return False
        received = self._owner.received
        try:
            size = self._recv_into(received)
        except (BlockingIOError, InterruptedError):
            self._readable = False
            return False
        except OSError:
            self.abort()
            return False
        # A stream socket that gives less than asked for is empty: the next byte is an event,
        # epoll(7). The end is one as well, but may have been reported before.
        self._readable = size == len(received) or (self._ending and size > 0)
        self._eof = not size
        if size:
            conversation.receive(bytes(received[:size]))
        return size > 0

    def _send(self, replies: list[bytes]) -> None:
        """Send replies, as far as the socket takes them; nothing is unsent."""
        try:
            if len(replies) == 1:
                sent = self._socket.send(replies[0])
                if sent == len(replies[0]):
                    return
            else:
                sent = self._socket.sendmsg(replies)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.abort()
            return
        self._unsent = _after(replies, sent)
        if self._unsent:
            self._owner.sockets.await_writable(self._socket, True)
            self._hold_unsent()

    def _hold_unsent(self) -> None:
        """Count the output of a turn that the socket did not take."""
        try:
            self._holding.set("output", self.unsent_bytes)
        except BudgetExceeded as error:
            pid, user = self._peer.pid, {"user": self._peer.user}
            text = "closing the connection of process %d, which does not read: %s"
            _log.info(text, pid, error, extra=user)
            self.abort()

    def _send_unsent(self) -> None:
        try:
            sent = self._socket.sendmsg(self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.abort()
            return
        self._unsent = _after(self._unsent, sent)
        if not self._unsent:
            self._holding.drop("output")
            self._owner.sockets.await_writable(self._socket, False)

    def _run(self, answer: Awaitable[Any]) -> None:
        task = self._owner.run(answer)
        self._awaited[task] = task is not answer
        task.add_done_callback(self._on_answered)

    def _on_answered(self, task: asyncio.Future[Any]) -> None:
        del self._awaited[task]
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


def _after(output: Sequence[bytes | memoryview], sent: int) -> list[bytes | memoryview]:
    """Return what is left of output; nothing is copied."""
    for number, one in enumerate(output):
        if sent < len(one):
            return [memoryview(one)[sent:], *output[number + 1 :]]
        sent -= len(one)
    return []
