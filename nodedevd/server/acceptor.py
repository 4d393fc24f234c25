"""Server: accepts clients on listening Unix stream sockets, each socket with its protocol."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import msgspec

from nodedevd.errors import TooManyClients
from nodedevd.server.account import AccountLimits, Accounts
from nodedevd.server.connection import RECEIVE_BYTES, ClientConnection
from nodedevd.server.conversation import ConnectedPeer, ConversationFactory, Peer
from nodedevd.server.refusals import Refusals
from nodedevd.server.sockets import Sockets
from nodedevd.server.turns import Turns

_ACCEPT_SECONDS: Final = 0.001
"""Clients are accepted for so long, then others have their turn."""
_UCRED: Final = struct.Struct("iII")  # struct ucred of unix(7): pid, uid, gid

_log: Final = logging.getLogger(__name__)


class ServerLimits(msgspec.Struct, frozen=True):
    """Limits on each client, whichever protocol it speaks; `AccountLimits` has those on users."""

    accept_retry_seconds: float = 1.0
    """Pause after accept(2) failed, usually because no file descriptor is left."""
    close_seconds: float = 2.0
    """Time for clients to read what is left when the server closes."""


class Server:
    """Serves clients on any number of listening sockets; made on a running event loop."""

    def __init__(
        self,
        limits: ServerLimits | None = None,
        accounts: AccountLimits | None = None,
        identify: Callable[[socket.socket], Peer] | None = None,
        connection: type[ClientConnection] = ClientConnection,
    ) -> None:
        """Prepare.

        Args:
            limits: Those on each client.
            accounts: Those on users.
            identify: Returns what conversations get to know of a client that has connected; by
                default its pid and uid.
            connection: The class of connections.
        """
        self._connection = connection
        self.identify = identify or peer_of
        self.limits = limits or ServerLimits()
        self.accounts = Accounts(accounts)
        self.refusals = Refusals()
        self.turns = Turns()
        self.sockets = Sockets(self.turns)
        self.received = memoryview(bytearray(RECEIVE_BYTES))
        self.tidy: Callable[[], None] = lambda: None
        """called when a client has come or gone"""
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
    def answering(self) -> bool:
        """Whether a call of any client is being answered, or its answer is still to be sent."""
        return any(connection.answering for connection in self._connections)

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
        self.refusals.close()
        for connection in tuple(self._connections):
            connection.close()
        self._check_quiet()

    async def wait_closed(self) -> None:
        """Wait, after `close`, until all clients are gone; after `close_seconds` abort them."""
        if not await self._is_quiet():
            for connection in tuple(self._connections):
                connection.abort()
            if not await self._is_quiet():
                _log.error("%d calls did not end when they were cancelled", len(self._tasks))
        self.turns.close()
        self.sockets.close()

    def run(self, answer: Awaitable[Any]) -> asyncio.Future[Any]:
        """Return the task that runs an answer; `wait_closed` waits for its end.

        A future is returned as it is: somebody else sees to its end.
        """
        task = asyncio.ensure_future(answer)
        if task is not answer:
            self._track(task)
        return task

    def welcome(self, acceptor: _Acceptor, sock: socket.socket, peer: Peer) -> None:
        """Serve a new client. Raises TooManyClients; the socket is still open then."""
        account = self.accounts.enter(peer.uid)
        try:
            connection = self._connection(self, acceptor.factory, peer, account, sock)
        except Exception:
            _log.exception("cannot serve a client that was accepted")
            account.leave()
            sock.close()
            return
        self._connections.add(connection)
        self.tidy()

    def forget(self, connection: ClientConnection) -> None:
        """Note that a connection is closed; a no-op for one that is forgotten already."""
        if connection in self._connections:
            self._connections.remove(connection)
            connection.account.leave()
            self.tidy()
        self._check_quiet()

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


def peer_of(sock: socket.socket) -> Peer:
    """Return the process that has connected, as the kernel noted it then."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _gid = _UCRED.unpack(credentials)
    return Peer(pid, uid)


def connected_peer_of(sock: socket.socket) -> ConnectedPeer:
    """Return the same with its socket."""
    peer = peer_of(sock)
    return ConnectedPeer(peer.pid, peer.uid, sock)


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
        until = time.monotonic() + _ACCEPT_SECONDS
        while True:
            try:
                sock, _address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                self._refusing = False
                return
            except OSError as error:
                self._pause(error)
                return
            sock.setblocking(False)
            peer = self._server.identify(sock)
            try:
                self._server.welcome(self, sock, peer)
            except TooManyClients as error:
                if not self._refusing:  # Even a record that the log leaves out takes time.
                    self._refusing = True
                    whose = "" if peer.user is None else f" of user {peer.user}"
                    user = {"user": peer.user}
                    _log.warning("refusing clients%s: %s", whose, error, extra=user)
                self._server.refusals.refuse(sock, self.factory, error)
            if time.monotonic() > until:
                return

    def _pause(self, error: OSError) -> None:
        # The waiting clients keep the socket readable: without a pause the loop would spin.
        seconds = self._limits.accept_retry_seconds
        path, reason = self._socket.getsockname(), error.strerror
        _log.error("cannot accept clients on %s: %s; retrying in %g s", path, reason, seconds)
        self._loop.remove_reader(self._socket)
        self._retry = self._loop.call_later(seconds, self._listen)
