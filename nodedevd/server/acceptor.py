"""Server: accepts clients on listening Unix stream sockets, each socket with its protocol."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Final

import msgspec

from nodedevd.server.connection import RECEIVE_BYTES, ClientConnection, Hangups
from nodedevd.server.conversation import ConversationFactory, Peer

_ACCEPT_AT_ONCE: Final = 64
_UCRED: Final = struct.Struct("iII")  # struct ucred of unix(7): pid, uid, gid

_log: Final = logging.getLogger(__name__)


class ServerLimits(msgspec.Struct, frozen=True):
    """Limits on clients, whichever protocol they speak."""

    max_clients: int = 4096
    """of all listening sockets together; each has a descriptor"""
    high_water_bytes: int = 64 * 1024
    """Unread output above which a client gets no more, until it has read three quarters."""
    accept_retry_seconds: float = 1.0
    """Pause after accept(2) failed, usually because no file descriptor is left."""
    close_seconds: float = 2.0
    """Time for clients to read what is left when the server closes."""


class Server:
    """Serves clients on any number of listening sockets; made on a running event loop."""

    def __init__(self, limits: ServerLimits | None = None) -> None:
        self.limits = limits or ServerLimits()
        self.hangups = Hangups(asyncio.get_running_loop())
        self.received = memoryview(bytearray(RECEIVE_BYTES))
        self._acceptors: list[_Acceptor] = []
        self._connections: set[ClientConnection] = set()
        self._tasks: set[asyncio.Future[Any]] = set()
        self._closing = False
        self._quiet = asyncio.Event()

    @property
    def clients(self) -> int:
        """The number of clients that are connected now."""
        return len(self._connections)

    @property
    def high_water_bytes(self) -> int:
        """Unread output above which a client gets no more."""
        return self.limits.high_water_bytes

    def listen(self, sock: socket.socket, factory: ConversationFactory) -> None:
        """Serve a protocol on `sock`, a listening Unix stream socket; `close` closes it.

        The caller chooses the backlog, listen(2).
        """
        self._acceptors.append(_Acceptor(self, sock, factory))

    def close(self) -> None:
        """Accept no more clients, give up what is being answered, send what was answered."""
        if self._closing:
            return
        self._closing = True
        for acceptor in self._acceptors:
            acceptor.close()
        for connection in self._connections:
            connection.close()
        self._check_quiet()

    async def wait_closed(self) -> None:
        """Wait, after `close`, until all clients are gone; after `close_seconds` abort them."""
        if not await self._is_quiet():
            for connection in self._connections:
                connection.abort()
            if not await self._is_quiet():
                _log.error("%d calls did not end when they were cancelled", len(self._tasks))
        self.hangups.close()

    def run(self, answer: Awaitable[Any]) -> asyncio.Future[Any]:
        """Return the task that runs an answer; `wait_closed` waits for its end."""
        task = asyncio.ensure_future(answer)
        self._track(task)
        return task

    def welcome(self, acceptor: _Acceptor, sock: socket.socket, peer: Peer) -> None:
        """Serve a new client."""
        connection = ClientConnection(self, acceptor.factory, peer)
        self._connections.add(connection)
        self._track(asyncio.ensure_future(self._connect(connection, sock)))

    def forget(self, connection: ClientConnection) -> None:
        """Note that a connection is closed."""
        self._connections.discard(connection)
        self._check_quiet()

    async def _connect(self, connection: ClientConnection, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: connection, sock)
        except Exception:
            _log.exception("cannot serve a client that was accepted")
            sock.close()
            self.forget(connection)

    def _track(self, task: asyncio.Future[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._untrack)

    def _untrack(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        self._check_quiet()

    def _check_quiet(self) -> None:
        if self._closing and not self._connections and not self._tasks:
            self._quiet.set()

    async def _is_quiet(self) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.limits.close_seconds):
                await self._quiet.wait()
        return self._quiet.is_set()


class _Acceptor:
    """Accepts the clients of one listening socket.

    asyncio's own server is not used: it accepts as many clients at once as the backlog is long,
    and without file descriptors it logs and retries that many times.
    """

    def __init__(self, server: Server, sock: socket.socket, factory: ConversationFactory) -> None:
        self.factory = factory
        self._server = server
        self._limits = server.limits
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._refusing = False
        self._retry: asyncio.TimerHandle | None = None
        sock.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Close the socket."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        if self._retry is not None:
            self._retry.cancel()

    def _listen(self) -> None:
        self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                sock, _address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            sock.setblocking(False)
            if self._server.clients < self._limits.max_clients:
                self._refusing = False
                credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
                pid, uid, _gid = _UCRED.unpack(credentials)
                self._server.welcome(self, sock, Peer(pid, uid))
            else:
                self._refuse(sock)

    def _pause(self, error: OSError) -> None:
        # The waiting clients keep the socket readable: without a pause the loop would spin.
        seconds = self._limits.accept_retry_seconds
        path, reason = self._socket.getsockname(), error.strerror
        _log.error("cannot accept clients on %s: %s; retrying in %g s", path, reason, seconds)
        self._loop.remove_reader(self._socket)
        self._retry = self._loop.call_later(seconds, self._listen)

    def _refuse(self, sock: socket.socket) -> None:
        limit = self._limits.max_clients
        if not self._refusing:
            self._refusing = True
            path = self._socket.getsockname()
            _log.warning("%d clients are connected, more are refused on %s", limit, path)
        with sock, suppress(OSError):
            sock.send(self.factory.refusal(limit))
