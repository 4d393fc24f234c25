"""Supervisor: has the host read in a thread, and goes on without a device that hangs.

A read that a driver does not answer cannot be taken back: its thread is left to it, and a new
one reads all the rest.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import msgspec

from nodedevd.follow.worker_thread import WorkerThread
from nodedevd.host.sysroot import Progress, Sysroot
from nodedevd.model.changes import Update
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import UnansweredRead
from nodedevd.tree.read import Job, rescan

log = logging.getLogger(__name__)

STUCK_SECONDS = 2.0
"""How long one device may take to be read before others are read without it."""
SLOW_SECONDS = 10.0
"""The same for one that took so long once, and answered."""
STUCK_AT_MOST = 64
"""Threads that may hang in a driver at once; virtual functions of one card hang together."""


class Hanging(msgspec.Struct, frozen=True):
    """A read that does not return, and the thread it holds."""

    path: str
    since: float
    """time.monotonic()"""
    thread: WorkerThread


class Stuck(Exception):
    """The job was put aside; the next one goes on without the device."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Supervisor:
    """Runs one job after another.

    Attributes:
        hanging: the reads that do not return, the oldest first.
    """

    def __init__(self, on_answer: Callable[[str], None], stuck_seconds: float) -> None:
        self.hanging: list[Hanging] = []
        self._on_answer = on_answer
        self._stuck_seconds = stuck_seconds
        self._thread = WorkerThread()
        self._patience: dict[str, float] = {}

    async def run(self, read: Callable[[Job, frozenset[str]], Update]) -> Update:
        """Run a job, told of the paths to leave alone. Raises Stuck, and what the job raises."""
        job = Job()
        thread = self._thread
        unanswered = frozenset([one.path for one in self.hanging])
        future = thread.run(read, job, unanswered)
        while True:
            done, _ = await asyncio.wait({future}, timeout=self.limit(job.path) / 4)
            if done:
                return future.result()
            path, since = job.path, job.since
            limit = self.limit(path)
            if path is None or time.monotonic() - since < limit:
                continue
            if len(self.hanging) >= STUCK_AT_MOST:
                continue
            job.abandoned = True
            hanging = Hanging(path, since, thread)
            self.hanging.append(hanging)
            future.add_done_callback(partial(self._answered, hanging))
            self._thread = WorkerThread()
            log.warning("reading %s has not returned for %.1f s: going on without", path, limit)
            raise Stuck(path)

    def limit(self, path: str | None) -> float:
        """Return how many seconds a device may take to be read."""
        # What hangs seldom hangs alone: the more do, the less is waited for the next.
        limit = self._stuck_seconds / (1 + len(self.hanging))
        return max(limit, self._patience.get(path or "", 0.0))

    def unanswered(self) -> tuple[UnansweredRead, ...]:
        """Return the reads that hang, for a status."""
        time_now = time.monotonic()
        return tuple(
            [UnansweredRead(one.path, round(time_now - one.since, 3)) for one in self.hanging]
        )

    def close(self, timeout_seconds: float) -> None:
        """End the thread; one that hangs is left behind."""
        self._thread.close(0 if self.hanging else timeout_seconds)

    def _answered(self, hanging: Hanging, future: asyncio.Future[Update]) -> None:
        future.exception()  # Abandoned, or of no interest any more
        hanging.thread.close(0)
        self.hanging.remove(hanging)
        seconds = time.monotonic() - hanging.since
        log.info("reading %s returned after %.1f s", hanging.path, seconds)
        # It may be slow rather than stuck: given no more time, it would never be fresh.
        self._patience[hanging.path] = min(2 * seconds, SLOW_SECONDS)
        self._on_answer(hanging.path)


def scan_in_time(
    sysroot: Sysroot,
    *,
    progress: Progress | None = None,
    stuck_seconds: float = STUCK_SECONDS,
) -> tuple[Snapshot, tuple[UnansweredRead, ...]]:
    """Read a host, from where no event loop runs, and the reads that hang left out."""

    def read(job: Job, unanswered: frozenset[str]) -> Update:
        return rescan(sysroot, Snapshot(), job=job, unanswered=unanswered, progress=progress)

    async def run() -> tuple[Snapshot, tuple[UnansweredRead, ...]]:
        reads = Supervisor(lambda path: None, stuck_seconds)
        try:
            while True:
                with suppress(Stuck):
                    return (await reads.run(read)).snapshot, reads.unanswered()
        finally:
            reads.close(0)

    return asyncio.run(run())
