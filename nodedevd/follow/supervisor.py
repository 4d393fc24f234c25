"""Supervisor: runs jobs in a worker thread, and goes on without a device whose read hangs.

A read that a driver does not answer cannot be cancelled: it keeps its thread, and a new thread
reads the other devices.
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
"""How long the read of one device may take before the others are read without it."""
SLOW_SECONDS = 10.0
"""The same for a device whose read hung before and then returned."""
STUCK_AT_MOST = 64
"""Threads that may hang in a driver at once; all virtual functions of a card hang together."""


class Hanging(msgspec.Struct, frozen=True):
    """A read that has not returned, and the thread that it keeps."""

    path: str
    since: float
    """time.monotonic()"""
    thread: WorkerThread


class Stuck(Exception):
    """A read hangs and its job was abandoned; the next job leaves the device out."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Supervisor:
    """Runs one job at a time.

    `on_answer` is called with the path of a read that hung and has returned.

    Attributes:
        hanging: the reads that have not returned, the oldest first.
    """

    def __init__(self, on_answer: Callable[[str], object], stuck_seconds: float) -> None:
        self.hanging: list[Hanging] = []
        self._on_answer = on_answer
        self._stuck_seconds = stuck_seconds
        self._thread = WorkerThread()
        self._slow: dict[str, float] = {}
        """limits of devices that were slow once, in seconds, by path"""

    async def run(self, read: Callable[[Job, frozenset[str]], Update]) -> Update:
        """Run a job, and return its result.

        It is called with a `Job` on which it reports its progress, and with the paths of the
        devices to leave out. Raises Stuck, and whatever the job raises.
        """
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
            log.warning(
                "reading %s has not returned for %.1f s: the device is shown as it was,"
                " until the read returns",
                path,
                limit,
            )
            raise Stuck(path)

    def limit(self, path: str | None) -> float:
        """Return how many seconds the read of a device may take."""
        # Hangs come in groups, so each one shortens the timeout.
        limit = self._stuck_seconds / (1 + len(self.hanging))
        return max(limit, self._slow.get(path or "", 0.0))

    def unanswered(self) -> tuple[UnansweredRead, ...]:
        """Return the reads that hang, for a status."""
        time_now = time.monotonic()
        return tuple(
            [UnansweredRead(one.path, round(time_now - one.since, 3)) for one in self.hanging]
        )

    def close(self, timeout_seconds: float) -> None:
        """Wait for the current job and end the thread; do not wait if a read hangs."""
        self._thread.close(0 if self.hanging else timeout_seconds)

    def _answered(self, hanging: Hanging, future: asyncio.Future[Update]) -> None:
        future.exception()  # Retrieved, so that asyncio does not log it: the job was abandoned.
        hanging.thread.close(0)
        self.hanging.remove(hanging)
        seconds = time.monotonic() - hanging.since
        log.info("reading %s returned after %.1f s: reading it again", hanging.path, seconds)
        # A device that is slow and not stuck would never be read within the usual limit.
        self._slow[hanging.path] = min(2 * seconds, SLOW_SECONDS)
        self._on_answer(hanging.path)


def scan_in_time(
    sysroot: Sysroot,
    *,
    progress: Progress | None = None,
    stuck_seconds: float = STUCK_SECONDS,
) -> tuple[Snapshot, tuple[UnansweredRead, ...]]:
    """Read a host without a running event loop; return the tree and the reads that hang."""

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
