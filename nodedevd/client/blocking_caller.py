"""BlockingCaller: makes calls one after another on one connection, by blocking calls.

Written by `make blocking-client` from `asynchronous_caller.py`; change that file.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self, TypeVar

from nodedevd.client.blocking_backend import BlockingConnection, Lock, connect_now, sleep
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


class BlockingCaller:
    """What clients of every interface share; a context manager.

    Calls are made one after another, from any thread. A connection that is lost, or that a call
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
        """Connect.

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
        self._connection: BlockingConnection | None = None
        self.path: str | None = None
        """the socket that was last connected to"""
        connect_now(self)

    def __enter__(self) -> Self:
        with self._lock:
            self._connection = self._connected(Deadline(self._timeout_seconds))
        return self

    def __exit__(
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

    def _ask(self, asked: Question[T], timeout_seconds: float | None = None) -> T:
        deadline = Deadline(self._timeout_seconds if timeout_seconds is None else timeout_seconds)
        with self._lock:
            self._connection = connection = self._connected(deadline)
            try:
                replies = self._replies(connection, asked.message, deadline)
            except BaseException:
                # The rest of this answer must not be taken for the next one.
                self._drop()
                raise
        return asked.answer(replies)

    def _begin(self, connection: BlockingConnection, deadline: Deadline) -> None:
        """Do what a new connection begins with: nothing."""

    def _replies(
        self, connection: BlockingConnection, message: bytes, deadline: Deadline
    ) -> Sequence[Reply]:
        connection.send(message, deadline)
        return self._received(connection, deadline)

    def _received(self, connection: BlockingConnection, deadline: Deadline) -> Sequence[Reply]:
        replies = Replies(self._limit_bytes)
        while True:
            reply = connection.receive(deadline)
            if reply is None:
                raise TimedOut(f"a reply on {connection.path}", deadline.seconds or 0)
            if replies.take(reply):
                return replies.taken

    def _connected(self, deadline: Deadline) -> BlockingConnection:
        if self._closed:
            raise Closed
        connection = self._take()
        if connection is None:
            # Kept already, so that `close` ends the waiting, too.
            self._connection = connection = self._connect(deadline)
            try:
                self._begin(connection, deadline)
            except BaseException:
                self._drop()
                raise
        return connection

    def _take(self) -> BlockingConnection | None:
        connection, self._connection = self._connection, None
        if connection is None or connection.idle:
            return connection
        connection.close()
        return None

    def _connect(self, deadline: Deadline) -> BlockingConnection:
        place = deadline if deadline.seconds is not None else Deadline(CONNECT_SECONDS)
        while True:
            try:
                connection = BlockingConnection(self._paths, self._limit_bytes)
            except BacklogFull as error:
                left = place.left or 0
                if left == 0 and deadline.seconds is not None:
                    what = f"{error.path} to accept a connection"
                    raise TimedOut(what, deadline.seconds) from None
                if left == 0:
                    raise
                sleep(min(left, BACKLOG_PAUSE_SECONDS))
            except NoDaemon as error:
                raise self._absent(error.tried, error.reason) from None
            else:
                self.path = connection.path
                return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
