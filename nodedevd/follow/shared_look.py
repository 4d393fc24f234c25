"""SharedLook: looks at what a scan does not read, once for all waiting callers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from nodedevd.follow.worker_thread import WorkerThread
from nodedevd.host.sysroot import Progress, Sysroot
from nodedevd.questions.in_use import VfioUsage, read_usage

T = TypeVar("T")

LOOK_SECONDS = 10.0
"""How long a caller waits: an open file on a dead network file system can block a look."""

UNANSWERED = VfioUsage(reason="unanswered")
"""A look at the processes that has not returned in time."""


class SharedLook(Generic[T]):
    """Runs one look at a time, in a thread of its own.

    A call is answered by a look that began after it. Callers that arrive during a look share
    the next one.
    """

    def __init__(
        self,
        name: str,
        look: Callable[[], T],
        *,
        unanswered: T | None = None,
        seconds: float = LOOK_SECONDS,
    ) -> None:
        """Make a look.

        Args:
            name: The name of its thread.
            look: Looks, in that thread.
            unanswered: What callers get after the timeout; without it, TimeoutError is raised.
            seconds: The timeout, from the first caller on that gets a look.
        """
        self._name = name
        self._look = look
        self._unanswered = unanswered
        self._seconds = seconds
        self._thread: WorkerThread | None = None
        self._current: asyncio.Future[T] | None = None
        self._next: asyncio.Future[T] | None = None
        self._answer: asyncio.Future[T] | None = None  # the next one, in time

    async def look(self) -> T:
        """Return a look; after the timeout, `unanswered`. Raises OSError (TimeoutError)."""
        return await asyncio.shield(self.begin())

    def begin(self) -> asyncio.Future[T]:
        """Return the same as a future, which all callers share that get the same look."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._after(self._current))
            self._next.add_done_callback(_retrieve)
            self._answer = asyncio.ensure_future(self._in_time(self._next))
            self._answer.add_done_callback(_retrieve)
        assert self._answer is not None
        return self._answer

    async def _in_time(self, look: asyncio.Future[T]) -> T:
        try:
            return await asyncio.wait_for(asyncio.shield(look), self._seconds)
        except TimeoutError:
            if self._unanswered is None:
                raise
            return self._unanswered

    async def _after(self, current: asyncio.Future[T] | None) -> T:
        if current is not None:
            await asyncio.wait([current])
        self._current, self._next = self._next, None
        if self._thread is None:
            self._thread = WorkerThread(self._name)
        return await self._thread.run(self._look)

    async def close(self, timeout_seconds: float) -> None:
        """Stop; a look that has not returned after the timeout is left to its thread."""
        looks = (self._current, self._next, self._answer)
        tasks = [task for task in looks if task is not None]
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._thread is not None:
            self._thread.close(timeout_seconds)


def _retrieve(future: asyncio.Future[T]) -> None:
    """Keep asyncio from logging an exception that every caller has stopped waiting for."""
    if not future.cancelled():
        future.exception()


def look_in_time(sysroot: Sysroot, progress: Progress | None = None) -> VfioUsage:
    """Look at the processes once, without a running event loop. Raises OSError."""

    async def run() -> VfioUsage:
        look = SharedLook(
            "in-use", lambda: read_usage(sysroot, progress=progress), unanswered=UNANSWERED
        )
        try:
            return await look.look()
        finally:
            await look.close(0)

    return asyncio.run(run())
