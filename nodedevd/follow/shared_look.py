"""SharedLook: looks at what a scan does not read, once for all waiting callers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from nodedevd.descriptors import HANGING_AT_MOST
from nodedevd.follow.hangs import STUCK_SECONDS, TooManyHang
from nodedevd.follow.supervisor import Supervisor
from nodedevd.host.job import Job
from nodedevd.host.sysroot import Progress, Sysroot

if TYPE_CHECKING:
    from nodedevd.questions.in_use import VfioUsage

T = TypeVar("T")

LOOK_SECONDS = 10.0
"""How long a caller waits: an open file on a dead network file system can block a look."""


class SharedLook(Generic[T]):
    """Runs one look at a time, in a thread of its own.

    A call is answered by a look that began after it. Callers that arrive during a look share
    the next one.
    """

    def __init__(
        self,
        name: str,
        look: Callable[[Job], T],
        *,
        unanswered: Callable[[], T] | None = None,
        seconds: float = LOOK_SECONDS,
        stuck_seconds: float = STUCK_SECONDS,
        hanging_at_most: int = HANGING_AT_MOST,
    ) -> None:
        """Make a look.

        Args:
            name: The name of its thread.
            look: Looks, in that thread; called again without what hangs, as by `Supervisor.run`.
            unanswered: Makes what callers get after the timeout; without it, they get
                TimeoutError.
            seconds: The timeout, from the first caller on that gets a look.
            stuck_seconds: The time after which a read is taken for one that hangs.
            hanging_at_most: How many reads may hang; with more, a look fails.
        """
        self._look = look
        self._unanswered = unanswered
        self._seconds = seconds
        self._reads = Supervisor(lambda path: None, stuck_seconds, hanging_at_most, name)
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
        except (TimeoutError, TooManyHang) as error:
            if self._unanswered is None:
                raise TimeoutError(str(error)) from error
            return self._unanswered()

    async def _after(self, current: asyncio.Future[T] | None) -> T:
        if current is not None:
            await asyncio.wait([current])
        self._current, self._next = self._next, None
        return await self._reads.run(self._look)

    async def close(self, timeout_seconds: float) -> None:
        """Stop; a look that has not returned after the timeout is left to its thread."""
        looks = (self._current, self._next, self._answer)
        tasks = [task for task in looks if task is not None]
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        self._reads.close(timeout_seconds)


def _retrieve(future: asyncio.Future[T]) -> None:
    """Keep asyncio from logging an exception that every caller has stopped waiting for."""
    if not future.cancelled():
        future.exception()


def looking(sysroot: Sysroot, read: Callable[[Sysroot], T]) -> Callable[[Job], T]:
    """Return a look that reads something of a host."""
    return lambda job: read(sysroot.during(job).reporting())


def read_processes(sysroot: Sysroot, progress: Progress | None = None) -> VfioUsage:
    """Read which processes have devices open. Raises OSError."""
    from nodedevd.questions.in_use import read_usage  # loaded when it is asked for

    return read_usage(sysroot, progress=progress)


def unanswered() -> VfioUsage:
    """Return a look at the processes that has not returned in time."""
    from nodedevd.questions.in_use import VfioUsage

    return VfioUsage(reason="unanswered")


def look_in_time(sysroot: Sysroot, progress: Progress | None = None) -> VfioUsage:
    """Look at the processes once, without a running event loop. Raises OSError."""

    async def run() -> VfioUsage:
        look = SharedLook(
            "in-use",
            looking(sysroot, partial(read_processes, progress=progress)),
            unanswered=unanswered,
        )
        try:
            return await look.look()
        finally:
            await look.close(0)

    return asyncio.run(run())
