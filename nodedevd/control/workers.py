"""Workers: runs what blocks in threads of its own, so many at a time, and some for each user."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from nodedevd.errors import NotPossible

T = TypeVar("T")

_FAVOURED: Final = -1
"""Stands for root and the service's own user, whose functions run beside those of all others."""


class _Job(NamedTuple):
    user: int
    function: Callable[[], Any]
    future: asyncio.Future[Any]


class Workers:
    """Runs functions for users; made on a running event loop.

    A thread that hangs does not hold up the exit of the interpreter. Root and the service's own
    user have as many threads as all others together.
    """

    def __init__(self, name: str, at_most: int, per_user: int) -> None:
        self._name = name
        self._at_most = at_most
        self._per_user = per_user
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Job] = deque()
        self._running: Counter[int] = Counter()  # by user
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a function runs, or waits."""
        return bool(self._running or self._waiting)

    @property
    def queued(self) -> int:
        """The number of functions that wait."""
        return len(self._waiting)

    def run(self, uid: int, function: Callable[[], T]) -> asyncio.Future[T]:
        """Return a future of a function's result.

        Nobody waiting for the future any more does not stop the function.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        future.add_done_callback(_retrieve)
        user = _FAVOURED if uid in (0, os.geteuid()) else uid
        self._waiting.append(_Job(user, function, future))
        self._begin()
        return future

    async def close(self, seconds: float) -> bool:
        """Begin nothing more, and wait for what runs; return whether all of it has ended."""
        self._closed = True
        self._waiting.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        return not self._running

    def _begin(self) -> None:
        """Begin what may run, in the order in which it came."""
        later: deque[_Job] = deque()
        while self._waiting and not self._closed:
            job = self._waiting.popleft()
            if not self._may_run(job.user):
                later.append(job)
                continue
            self._running[job.user] += 1
            self._idle.clear()
            try:
                threading.Thread(
                    target=self._work, args=(job,), name=self._name, daemon=True
                ).start()
            except RuntimeError as error:  # as many as the process, or the host, may have
                failure = NotPossible("the host", "no-thread", f"{error}; nothing was changed")
                self._loop.call_soon(
                    self._ended, job.user, partial(_set_exception, job.future, failure)
                )
        self._waiting = later

    def _may_run(self, user: int) -> bool:
        if user == _FAVOURED:
            return self._running[user] < self._at_most
        others = self._running.total() - self._running[_FAVOURED]
        return others < self._at_most and self._running[user] < self._per_user

    def _work(self, job: _Job) -> None:
        try:
            outcome = partial(_set_result, job.future, job.function())
        except BaseException as error:
            outcome = partial(_set_exception, job.future, error)
        with suppress(RuntimeError):  # The loop is closed: the service has not waited.
            self._loop.call_soon_threadsafe(self._ended, job.user, outcome)

    def _ended(self, user: int, outcome: Callable[[], None]) -> None:
        self._running[user] -= 1
        self._running += Counter()  # without zeros
        outcome()
        if not self._running:
            self._idle.set()
        self._begin()


def _set_result(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _set_exception(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Keep asyncio from logging the exception of an answer that nobody waits for any more."""
    if not future.cancelled():
        future.exception()
