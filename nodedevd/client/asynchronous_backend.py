"""The waiting of `asynchronous`: sockets, locks and pauses on asyncio's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from nodedevd.client.connection import DaemonConnection
from nodedevd.client.deadline import Deadline
from nodedevd.client.errors import Closed, ConnectionLost, TimedOut
from nodedevd.varlink import Reply

Lock = asyncio.Lock
sleep = asyncio.sleep


def connect_now(opened: AbstractAsyncContextManager[object]) -> None:
    """Do nothing: a constructor cannot wait, so it connects when it is entered or first used."""


class AsyncConnection(DaemonConnection):
    """A connection that waits on the event loop."""

    def __init__(self, paths: Sequence[str], limit_bytes: int) -> None:
        super().__init__(paths, limit_bytes)
        self._waiter: asyncio.Future[None] | None = None

    def close(self) -> None:
        """Close it; a task that waits on it gets Closed."""
        waiter = self._waiter
        self._stop_waiting()
        super().close()
        if waiter is not None and not waiter.done():
            waiter.set_exception(Closed())

    async def send(self, message: bytes, deadline: Deadline) -> None:
        """Send a call. Raises ConnectionLost, TimedOut."""
        try:
            async with asyncio.timeout(deadline.left):
                await asyncio.get_running_loop().sock_sendall(self.socket, message)
        except TimeoutError:
            raise TimedOut(f"{self.path} to accept a call", deadline.seconds or 0) from None
        except (BrokenPipeError, ConnectionResetError):
            pass  # a reply that the daemon sent before it closed is still to be read
        except OSError as error:
            raise ConnectionLost(self.path, error.strerror or str(error)) from error

    async def receive(self, deadline: Deadline) -> Reply | None:
        """Return the next reply, None if none arrives in time.

        A cancelled call loses nothing: what has arrived is returned by the next one.
        """
        late = False
        while (reply := self.next()) is None and not late:
            try:
                async with asyncio.timeout(deadline.left):
                    await self._readable()
            except TimeoutError:
                late = True
            self.read()
        return reply

    async def _readable(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("another task waits on this connection already")
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        loop.add_reader(self.socket, _wake, waiter)
        try:
            await waiter
        finally:
            self._stop_waiting()

    def _stop_waiting(self) -> None:
        if self._waiter is not None:
            self._waiter.get_loop().remove_reader(self.socket)
            self._waiter = None


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
