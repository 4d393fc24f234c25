"""AsyncCaller: makes calls one after another on one connection, on asyncio.

`make blocking-client` writes `blocking_caller.py` from this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self, TypeVar

from nodedevd.client.asynchronous_backend import AsyncConnection, Lock, connect_now, sleep
from nodedevd.client.connection import (
    ANSWER_LIMIT_BYTES,
    BACKLOG_PAUSE_SECONDS,
    CONNECT_SECONDS,
    BacklogFull,
    Replies,
)
from nodedevd.client.deadline import Deadline
from nodedevd.client.errors import Closed, TimedOut
from nodedevd.client.question import Question
from nodedevd.errors import NoDaemon
from nodedevd.varlink import Reply

T = TypeVar("T")


class AsyncCaller:
    """What clients of every interface share; an asynchronous context manager.

    Calls are made one after another, from any task. A connection that is lost, or that a call
    left in the middle of its answer, is replaced by the next call.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        timeout_seconds: float | None = None,
        limit_bytes: int = ANSWER_LIMIT_BYTES,
        absent: type[NoDaemon] = NoDaemon,
    ) -> None:
        """Prepare; it connects when it is entered, or first asked.

        Args:
            paths: The sockets to try, in order.
            timeout_seconds: The longest time for a call; None is no limit.
            limit_bytes: The largest answer that is accepted.
            absent: The error if nothing answers on any of the sockets.
        """
        self._paths = paths
        self._timeout_seconds = timeout_seconds
        self._limit_bytes = limit_bytes
        self._absent = absent
        self._lock = Lock()
        self._closed = False
        self._connection: AsyncConnection | None = None
        self.path: str | None = None
        """the socket that was last connected to"""
        connect_now(self)

    async def __aenter__(self) -> Self:
        async with self._lock:
            self._connection = await self._connected(Deadline(self._timeout_seconds))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._closed = True
        self._drop()

    async def _ask(self, asked: Question[T], timeout_seconds: float | None = None) -> T:
        deadline = Deadline(self._timeout_seconds if timeout_seconds is None else timeout_seconds)
        async with self._lock:
            self._connection = connection = await self._connected(deadline)
            try:
                replies = await self._replies(connection, asked.message, deadline)
            except BaseException:
                # The rest of this answer must not be taken for the next one.
                self._drop()
                raise
        return asked.answer(replies)

    async def _begin(self, connection: AsyncConnection, deadline: Deadline) -> None:
        """Do what a new connection begins with: nothing."""

    async def _replies(
        self, connection: AsyncConnection, message: bytes, deadline: Deadline
    ) -> Sequence[Reply]:
        await connection.send(message, deadline)
        return await self._received(connection, deadline)

    async def _received(self, connection: AsyncConnection, deadline: Deadline) -> Sequence[Reply]:
        replies = Replies(self._limit_bytes)
        while True:
            reply = await connection.receive(deadline)
            if reply is None:
                raise TimedOut(f"a reply on {connection.path}", deadline.seconds or 0)
            if replies.take(reply):
                return replies.taken

    async def _connected(self, deadline: Deadline) -> AsyncConnection:
        if self._closed:
            raise Closed
        connection = self._take()
        if connection is None:
            # Kept already, so that `close` ends the waiting, too.
            self._connection = connection = await self._connect(deadline)
            try:
                await self._begin(connection, deadline)
            except BaseException:
                self._drop()
                raise
        return connection

    def _take(self) -> AsyncConnection | None:
        connection, self._connection = self._connection, None
        if connection is None or connection.idle:
            return connection
        connection.close()
        return None

    async def _connect(self, deadline: Deadline) -> AsyncConnection:
        place = deadline if deadline.seconds is not None else Deadline(CONNECT_SECONDS)
        while True:
            try:
                connection = AsyncConnection(self._paths, self._limit_bytes)
            except BacklogFull as error:
                left = place.left or 0
                if left == 0 and deadline.seconds is not None:
                    what = f"{error.path} to accept a connection"
                    raise TimedOut(what, deadline.seconds) from None
                if left == 0:
                    raise
                await sleep(min(left, BACKLOG_PAUSE_SECONDS))
            except NoDaemon as error:
                raise self._absent(error.tried, error.reason) from None
            else:
                self.path = connection.path
                return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
