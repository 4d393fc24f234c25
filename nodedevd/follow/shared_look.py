"""SharedLook: one look at the processes at a time, in its own thread, shared by all callers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from nodedevd.follow.worker_thread import WorkerThread
from nodedevd.host.sysroot import Progress, Sysroot
from nodedevd.questions.in_use import VfioUsage, read_usage

LOOK_SECONDS = 10.0
"""How long an answer waits: an open file of a dead network file system can hold up a look."""


class SharedLook:
    """Answers with a look that began after the question; there is one at a time, and one next."""

    def __init__(self, look: Callable[[], VfioUsage], seconds: float = LOOK_SECONDS) -> None:
        self._look = look
        self._seconds = seconds
        self._thread: WorkerThread | None = None
        self._current: asyncio.Future[VfioUsage] | None = None
        self._next: asyncio.Future[VfioUsage] | None = None

    async def look(self) -> VfioUsage:
        """Return a look; one that knows nothing if it does not come in time. Raises OSError."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._after(self._current))
            self._next.add_done_callback(_retrieve)
        try:
            return await asyncio.wait_for(asyncio.shield(self._next), self._seconds)
        except TimeoutError:
            return VfioUsage(reason="unanswered")

    async def _after(self, current: asyncio.Future[VfioUsage] | None) -> VfioUsage:
        if current is not None:
            await asyncio.wait([current])
        self._current, self._next = self._next, None
        if self._thread is None:
            self._thread = WorkerThread("in-use")
        return await self._thread.run(self._look)

    async def close(self, timeout_seconds: float) -> None:
        """Stop; a look that hangs is left behind after the timeout."""
        tasks = [task for task in (self._current, self._next) if task is not None]
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._thread is not None:
            self._thread.close(timeout_seconds)


def _retrieve(future: asyncio.Future[VfioUsage]) -> None:
    if not future.cancelled():
        future.exception()  # Whoever waited has it; it may be that nobody does any more.


def look_in_time(sysroot: Sysroot, progress: Progress | None = None) -> VfioUsage:
    """Look once, from where no event loop runs. Raises OSError."""

    async def run() -> VfioUsage:
        shared = SharedLook(lambda: read_usage(sysroot, progress=progress))
        try:
            return await shared.look()
        finally:
            await shared.close(0)

    return asyncio.run(run())
