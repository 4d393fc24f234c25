"""Sockets: learns which clients' sockets have become ready, without doing anything for them.

asyncio's own transports call a protocol for every socket that is ready in one turn of the loop:
900 clients that send, or close, at once would keep everybody waiting. An epoll of the server's
own reports edges, so a client that has to wait for its turn costs nothing meanwhile, and a
client that never gets one is never reported twice. epoll(7), "Level-triggered and edge-triggered".
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Iterable
from typing import Final, Protocol

from nodedevd.server.turns import Taker, Turns

_AT_ONCE: Final = 1024
_EVENTS: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
HUNGUP: Final = select.EPOLLHUP | select.EPOLLERR
"""The client has closed; shutdown(2) of its sending half does not report that."""
ENDING: Final = select.EPOLLRDHUP | HUNGUP
"""The client has closed, or has shut down its sending half."""
READABLE: Final = select.EPOLLIN | ENDING


class Watcher(Taker, Protocol):
    """A client whose socket is watched."""

    def on_events(self, events: int) -> None:
        """Note that the socket has become ready, in the terms of epoll_ctl(2); in little time."""


class Sockets:
    """Gives turns to clients whose sockets have become ready; made on a running event loop."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._watchers: dict[int, Watcher] = {}
        self._loop.add_reader(self._epoll, self._on_readable)
        turns.look = self._look

    def add(self, sock: socket.socket, watcher: Watcher) -> None:
        """Give a client a turn when there is something to receive, and when it closes."""
        self._epoll.register(sock, _EVENTS)
        self._watchers[sock.fileno()] = watcher

    def await_writable(self, sock: socket.socket, wanted: bool) -> None:
        """Give it a turn also when the socket takes output again, or no longer."""
        # Not always: every reply that a client reads would wake up the daemon.
        self._epoll.modify(sock, _EVENTS | select.EPOLLOUT if wanted else _EVENTS)

    def remove(self, sock: socket.socket) -> None:
        """Forget a socket that is still open."""
        del self._watchers[sock.fileno()]
        self._epoll.unregister(sock)

    def close(self) -> None:
        """Close the epoll."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll)
            self._epoll.close()

    def _on_readable(self) -> None:
        ready = self._epoll.poll(0, _AT_ONCE)
        if len(ready) == 1:
            fd, events = ready[0]
            watcher = self._watchers[fd]
            watcher.on_events(events)
            self._turns.start_with(watcher)
            return
        self._enqueue(ready)
        self._turns.start()

    def _look(self) -> None:
        self._enqueue(self._epoll.poll(0, _AT_ONCE))

    def _enqueue(self, ready: Iterable[tuple[int, int]]) -> None:
        watchers, turns = self._watchers, self._turns
        for fd, events in ready:
            watcher = watchers[fd]
            watcher.on_events(events)
            turns.enqueue(watcher)
