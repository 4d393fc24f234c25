"""Serves a Varlink service on a Unix stream socket: asyncio's side of it.

Every client has a `Session`. It answers its calls one after the other, and its memory is
bounded: while an answer is awaited, or replies are left unread, nothing more is read.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import select
import socket
import struct
from collections.abc import Awaitable
from contextlib import suppress
from typing import Final, cast

import msgspec

from nodedevd import varlink
from nodedevd.service import Answer, Peer, Service, Stream
from nodedevd.varlink import Call, CallDecoder, Malformed, VarlinkError, encode_error, encode_reply

TURN_REPLIES: Final = 64
TURN_BYTES: Final = 64 * 1024
"""After so many replies, or bytes of replies, a session lets the others go first."""

_ACCEPT_AT_ONCE: Final = 64
_UCRED: Final = struct.Struct("iII")

_log: Final = logging.getLogger(__name__)


class Limits(msgspec.Struct, frozen=True):
    """What clients may take of the daemon.

    A session holds, of input, at most one message and what asyncio reads at once (256 KiB);
    of output, at most `high_water_bytes`, TURN_BYTES and one reply.
    """

    max_clients: int = 1024
    message_bytes: int = varlink.MESSAGE_LIMIT_BYTES
    high_water_bytes: int = 64 * 1024
    """Unread output above which a client gets no more; it goes on below a quarter of that."""
    accept_retry_seconds: float = 1.0
    """How long nobody is accepted after accept(2) failed, which is for want of descriptors."""
    close_seconds: float = 2.0
    """How long clients may take to read what is left when the server closes."""


class Server:
    """Accepts clients on a listening socket, each into a session.

    `calls` is the number of calls taken since the start.
    """

    def __init__(self, service: Service, *, limits: Limits | None = None) -> None:
        self.service = service
        self.limits = limits or Limits()
        self.calls = 0
        self._sessions: set[Session] = set()
        self._tasks: set[asyncio.Future[Answer] | asyncio.Future[None]] = set()
        self._refusing = False
        self._retry: asyncio.TimerHandle | None = None
        self._closing = False
        self._quiet = asyncio.Event()

    @property
    def clients(self) -> int:
        """The number of clients connected now."""
        return len(self._sessions)

    async def start(self, sock: socket.socket) -> None:
        """Serve on `sock`, a listening Unix stream socket; `close` will close it.

        How many clients may wait to be accepted is the caller's choice, in listen(2).
        """
        sock.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self.hangups = Hangups(self._loop)
        self._listen()

    def close(self) -> None:
        """Accept no more clients, give up what is being answered, send what was answered."""
        if self._closing:
            return
        self._closing = True
        self._loop.remove_reader(self._socket)
        self._socket.close()
        if self._retry is not None:
            self._retry.cancel()
        for session in self._sessions:
            session.close()
        self._check_quiet()

    async def wait_closed(self) -> None:
        """Wait, after `close`, until all clients are gone; for `close_seconds` by their will."""
        if not await self._is_quiet():
            for session in self._sessions:
                session.abort()
            if not await self._is_quiet():
                _log.error("%d calls do not end", len(self._tasks))
        self.hangups.close()

    def run(self, answer: Awaitable[Answer]) -> asyncio.Future[Answer]:
        """Return the task of an answer to be awaited; closing waits for its end."""
        task = asyncio.ensure_future(answer)
        self._track(task)
        return task

    def forget(self, session: Session) -> None:
        """Count one client less."""
        self._sessions.discard(session)
        self._check_quiet()

    # asyncio's own server is not used: it takes the socket's backlog for the number of clients
    # to accept at once, and without descriptors it logs and retries that many times.
    def _listen(self) -> None:
        self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                connection, _address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Whoever waits keeps the socket readable: rest, or the loop would spin.
                _log.error("cannot accept clients: %s", error.strerror)
                self._loop.remove_reader(self._socket)
                delay = self.limits.accept_retry_seconds
                self._retry = self._loop.call_later(delay, self._listen)
                return
            connection.setblocking(False)
            if self.clients < self.limits.max_clients:
                self._welcome(connection)
            else:
                self._refuse(connection)

    def _welcome(self, connection: socket.socket) -> None:
        self._refusing = False
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        session = Session(self, Peer(*_UCRED.unpack(credentials)), self._loop)
        self._sessions.add(session)
        self._track(self._loop.create_task(self._connect(session, connection)))

    async def _connect(self, session: Session, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: session, connection)
        except Exception:
            _log.exception("a client could not be served")
            connection.close()
            self.forget(session)

    def _refuse(self, connection: socket.socket) -> None:
        limit = self.limits.max_clients
        if not self._refusing:
            self._refusing = True
            _log.warning("all %d clients are connected, more are refused", limit)
        error = self.service.too_many_clients(limit)
        with connection, suppress(OSError):
            connection.send(encode_error(error.name, error.parameters))

    def _track(self, task: asyncio.Future[Answer] | asyncio.Future[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._untrack)

    def _untrack(self, task: asyncio.Future[Answer] | asyncio.Future[None]) -> None:
        self._tasks.discard(task)
        self._check_quiet()

    def _check_quiet(self) -> None:
        if self._closing and not self._sessions and not self._tasks:
            self._quiet.set()

    async def _is_quiet(self) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.limits.close_seconds):
                await self._quiet.wait()
        return self._quiet.is_set()


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


class Session(asyncio.Protocol):
    """One client: its calls are answered in order, as fast as it reads the replies."""

    def __init__(self, server: Server, peer: Peer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._peer = peer
        self._loop = loop
        self._decoder = CallDecoder(server.limits.message_bytes)
        self._transport: asyncio.Transport | None = None
        self._closing = False
        self._writable = True
        self._eof = False
        self._watched: int | None = None
        self._turn_handle: asyncio.Handle | None = None
        # At most one call is being answered: by an awaited answer, or by a stream.
        self._call = Call("")
        self._task: asyncio.Future[Answer] | None = None
        self._stream: Stream | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._server.limits.high_water_bytes)
        if self._closing:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up what is being answered."""
        self._give_up()
        self._server.forget(self)

    def data_received(self, data: bytes) -> None:
        """Answer the calls in `data`."""
        self._decoder.feed(data)
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
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._end_stream()

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
        if size:
            transport.write(b"".join(replies))
        waiting = self._task is not None or self._stream is not None
        if drained and not waiting and self._eof:
            transport.close()
            return
        if not drained and self._writable:
            self._turn_handle = self._loop.call_soon(self._turn)
        # A client that nothing is read from can be seen to leave by its hangup alone. For a
        # oneway call it does not matter: its client may well be gone already.
        self._watch(waiting and not self._call.oneway)
        self._read(drained and not waiting and self._writable)

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
            self._server.hangups.unwatch(self._watched)
            self._watched = None
        else:
            self._watched = self._transport.get_extra_info("socket").fileno()
            self._server.hangups.watch(self._watched, self)

    def _next_reply(self) -> bytes | None:
        """Return the next reply, empty to a oneway call, or None if there is none now."""
        if self._stream is not None:
            return self._next_chunk(self._stream)
        if self._task is not None:
            if not self._task.done():
                return None
            task, self._task = self._task, None
            return self._end_task(task)
        message = self._decoder.next()
        if message is None:
            return None
        if isinstance(message, Malformed):
            self._call = Call("")
            return self._error(self._server.service.refusal(message))
        self._call = message
        self._server.calls += 1
        try:
            answer = self._server.service.call(message, self._peer)
        except VarlinkError as error:
            return self._error(error)
        if not isinstance(answer, bytes) and inspect.isawaitable(answer):
            self._task = self._server.run(answer)
            self._task.add_done_callback(self._on_answered)
            return None
        return self._begin(answer)

    def _begin(self, answer: Answer) -> bytes | None:
        if isinstance(answer, bytes):
            return b"" if self._call.oneway else encode_reply(answer)
        try:
            if self._call.oneway or not self._call.more:
                answer.close()
                raise varlink.ExpectedMore
            self._stream = answer
            answer.start(self._wake)
        except Exception as error:
            return self._fail(error)
        return self._next_chunk(answer)

    def _next_chunk(self, stream: Stream) -> bytes | None:
        try:
            chunk = stream.next()
        except Exception as error:
            return self._fail(error)
        if chunk is None:
            return None
        if chunk.last:
            self._end_stream()
        return encode_reply(chunk.parameters, continues=not chunk.last)

    def _end_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            _close(stream)

    def _wake(self) -> None:
        if self._stream is not None and self._turn_handle is None:
            self._turn_handle = self._loop.call_soon(self._turn)

    def _end_task(self, task: asyncio.Future[Answer]) -> bytes | None:
        try:
            answer = task.result()
        except (Exception, asyncio.CancelledError) as error:
            return self._fail(error)
        return self._begin(answer)

    def _on_answered(self, task: asyncio.Future[Answer]) -> None:
        if task is self._task:
            self._turn()
        elif not task.cancelled() and task.exception() is None:
            # It came when nobody was there any more.
            answer = task.result()
            if not isinstance(answer, bytes):
                _close(answer)

    def _fail(self, error: BaseException) -> bytes:
        self._end_stream()
        return self._error(self._server.service.translate(error))

    def _error(self, error: VarlinkError) -> bytes:
        if self._call.oneway:
            return b""
        try:
            return encode_error(error.name, error.parameters)
        except Exception as defect:
            # Parameters that are not JSON.
            error = self._server.service.translate(defect)
            return encode_error(error.name, error.parameters)


def _close(stream: Stream) -> None:
    try:
        stream.close()
    except Exception:
        _log.exception("a stream could not be closed")
