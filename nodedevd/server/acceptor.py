"""Acceptor: takes in the clients of a listening Unix stream socket, each into a session."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Final, TypeVar

import msgspec

from nodedevd.server.connection import RECEIVE_BYTES, Hangups, Session
from nodedevd.server.varlink.service import Peer

_ACCEPT_AT_ONCE: Final = 64
_UCRED: Final = struct.Struct("iII")

T = TypeVar("T")


class Limits(msgspec.Struct, frozen=True):
    """What clients may take of the daemon, whatever they speak."""

    max_clients: int = 1024
    high_water_bytes: int = 64 * 1024
    """Unread output above which a client gets no more; it goes on below a quarter of that."""
    accept_retry_seconds: float = 1.0
    """How long nobody is accepted after accept(2) failed, which is for want of descriptors."""
    close_seconds: float = 2.0
    """How long clients may take to read what is left when the server closes."""


class Acceptor(ABC):
    """Accepts clients on a listening socket, up to a limit; a subclass says what serves them.

    `calls` is the number of calls taken since the start.
    """

    def __init__(self, limits: Limits) -> None:
        self.calls = 0
        self.received = memoryview(bytearray(RECEIVE_BYTES))
        self._limits = limits
        self._log = logging.getLogger(type(self).__module__)
        self._sessions: set[Session] = set()
        self._tasks: set[asyncio.Future[Any]] = set()
        self._refusing = False
        self._retry: asyncio.TimerHandle | None = None
        self._closing = False
        self._quiet = asyncio.Event()

    @abstractmethod
    def _session(self, peer: Peer, loop: asyncio.AbstractEventLoop) -> Session:
        """Return what serves a new client."""

    @abstractmethod
    def _refusal(self, limit: int) -> bytes:
        """Return what a client is sent that is one too many."""

    @property
    def clients(self) -> int:
        """The number of clients connected now."""
        return len(self._sessions)

    @property
    def high_water_bytes(self) -> int:
        """Unread output above which a client gets no more."""
        return self._limits.high_water_bytes

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
                self._log.error("%d calls do not end", len(self._tasks))
        self.hangups.close()

    def run(self, answer: Awaitable[T]) -> asyncio.Future[T]:
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
                self._log.error("cannot accept clients: %s", error.strerror)
                self._loop.remove_reader(self._socket)
                delay = self._limits.accept_retry_seconds
                self._retry = self._loop.call_later(delay, self._listen)
                return
            connection.setblocking(False)
            if self.clients < self._limits.max_clients:
                self._welcome(connection)
            else:
                self._refuse(connection)

    def _welcome(self, connection: socket.socket) -> None:
        self._refusing = False
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        session = self._session(Peer(*_UCRED.unpack(credentials)), self._loop)
        self._sessions.add(session)
        self._track(self._loop.create_task(self._connect(session, connection)))

    async def _connect(self, session: Session, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: session, connection)
        except Exception:
            self._log.exception("a client could not be served")
            connection.close()
            self.forget(session)

    def _refuse(self, connection: socket.socket) -> None:
        limit = self._limits.max_clients
        if not self._refusing:
            self._refusing = True
            self._log.warning("all %d clients are connected, more are refused", limit)
        with connection, suppress(OSError):
            connection.send(self._refusal(limit))

    def _track(self, task: asyncio.Future[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._untrack)

    def _untrack(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        self._check_quiet()

    def _check_quiet(self) -> None:
        if self._closing and not self._sessions and not self._tasks:
            self._quiet.set()

    async def _is_quiet(self) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.close_seconds):
                await self._quiet.wait()
        return self._quiet.is_set()
