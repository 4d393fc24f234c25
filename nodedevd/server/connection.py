"""Session: one connected client, whatever protocol it speaks; asyncio's side of it.

What a client sends is answered in turns, as fast as it reads the answers: its memory is
bounded, and a busy client leaves turns to the others.
"""

from __future__ import annotations

import asyncio
import select
from abc import ABC, abstractmethod
from typing import Final, Protocol, cast

TURN_REPLIES: Final = 64
TURN_BYTES: Final = 64 * 1024
"""After so many replies, or bytes of replies, a session lets the others go first."""
RECEIVE_BYTES: Final = 64 * 1024
"""How much is received at once."""


class Owner(Protocol):
    """What a session needs of the server that accepted it."""

    hangups: Hangups
    received: memoryview
    """where all sessions receive, one at a time"""

    @property
    def high_water_bytes(self) -> int:
        """Unread output above which a client gets no more."""

    def forget(self, session: Session) -> None:
        """Count one client less."""


class Session(asyncio.BufferedProtocol, ABC):
    """One client; a subclass knows its protocol."""

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._closing = False
        self._writable = True
        self._eof = False
        self._watched: int | None = None
        self._turn_handle: asyncio.Handle | None = None

    # -- what a subclass knows ---------------------------------------------------------

    @abstractmethod
    def _feed(self, data: bytes) -> None:
        """Add what arrived."""

    @abstractmethod
    def _next_reply(self) -> bytes | None:
        """Return what is to be sent next, empty for nothing, or None if there is none now."""

    @abstractmethod
    def _end_answers(self) -> None:
        """Give up what is being answered."""

    @property
    @abstractmethod
    def _answering(self) -> bool:
        """Whether there will be more to send that nothing need be received for."""

    @property
    def _full(self) -> bool:
        """Whether no more is to be received until something was answered."""
        return self._answering

    @property
    def _ends_with_client(self) -> bool:
        """Whether an answer that is awaited is of no use when the client is gone."""
        return True

    # -- asyncio.BufferedProtocol ------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._owner.high_water_bytes)
        if self._closing:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up what is being answered."""
        self._give_up()
        self._owner.forget(self)

    # For a Protocol asyncio takes 256 KiB from malloc(3) and gives them back, each time.

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to receive."""
        return self._owner.received

    def buffer_updated(self, nbytes: int) -> None:
        """Answer the calls in what was received."""
        self._feed(bytes(self._owner.received[:nbytes]))
        self._turn()

    def eof_received(self) -> bool:
        """Answer what is left; the client may have ended its sending alone."""
        self._eof = True
        self._turn()
        return True

    def pause_writing(self) -> None:
        """Generate nothing more: the client does not read."""
        self._writable = False

    def resume_writing(self) -> None:
        """Go on."""
        self._writable = True
        self._turn()

    # -- life --------------------------------------------------------------------------

    def close(self) -> None:
        """Give up what is being answered, and leave when all replies are sent."""
        self._give_up()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Leave at once."""
        self._give_up()
        if self._transport is not None:
            self._transport.abort()

    def _give_up(self) -> None:
        self._closing = True
        self._watch(False)
        if self._turn_handle is not None:
            self._turn_handle.cancel()
        self._end_answers()

    def _wake(self) -> None:
        """Have a turn soon: there may be something to send."""
        if self._turn_handle is None and not self._closing:
            self._turn_handle = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Answer what can be answered now, within the bounds of a turn, by one write."""
        if self._turn_handle is not None:
            self._turn_handle.cancel()
            self._turn_handle = None
        transport = self._transport
        if self._closing or not self._writable or transport is None:
            return
        replies: list[bytes] = []
        size = 0
        drained = False
        while len(replies) < TURN_REPLIES and size < TURN_BYTES:
            reply = self._next_reply()
            if reply is None:
                drained = True
                break
            replies.append(reply)
            size += len(reply)
        if self._closing:
            return
        if size:
            transport.write(b"".join(replies))
        if drained and not self._answering and self._eof:
            transport.close()
            return
        if not drained and self._writable:
            self._turn_handle = self._loop.call_soon(self._turn)
        full = self._full
        # A client that nothing is read from can be seen to leave by its hangup alone.
        self._watch(full and self._ends_with_client)
        self._read(drained and not full and self._writable)

    def _read(self, wanted: bool) -> None:
        transport = self._transport
        if transport is None or self._eof or transport.is_reading() == wanted:
            return
        if wanted:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def _watch(self, wanted: bool) -> None:
        if (self._watched is not None) == wanted or self._transport is None:
            return
        if self._watched is not None:
            self._owner.hangups.unwatch(self._watched)
            self._watched = None
        else:
            self._watched = self._transport.get_extra_info("socket").fileno()
            self._owner.hangups.watch(self._watched, self)


class Hangups:
    """Tells sessions that do not read that their client is gone.

    An epoll of its own, since asyncio cannot wait for EPOLLHUP alone. On a Unix socket that is
    a client that closed; one that only ended its sending, shutdown(2), raises no EPOLLHUP.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._sessions: dict[int, Session] = {}
        loop.add_reader(self._epoll, self._on_hangup)

    def watch(self, fd: int, session: Session) -> None:
        """Abort `session` when the peer of its socket `fd` closes."""
        self._epoll.register(fd, 0)  # EPOLLHUP is always reported
        self._sessions[fd] = session

    def unwatch(self, fd: int) -> None:
        """Forget `fd`, still open."""
        self._epoll.unregister(fd)
        del self._sessions[fd]

    def close(self) -> None:
        """Close the epoll."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll)
            self._epoll.close()

    def _on_hangup(self) -> None:
        for fd, _events in self._epoll.poll(0):
            self._sessions[fd].abort()
