"""Supervisor: runs jobs in a worker thread, and goes on without what hangs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from nodedevd.descriptors import HANGING_AT_MOST
from nodedevd.follow.hangs import Hanging, Hangs
from nodedevd.follow.worker_thread import WorkerThread
from nodedevd.host.job import Job

T = TypeVar("T")

log = logging.getLogger(__name__)


class Supervisor:
    """Runs one job at a time.

    `on_answer` is called with the path of a read that hung and has returned.

    Attributes:
        hangs: the reads that have not returned.
    """

    def __init__(
        self,
        on_answer: Callable[[str], object],
        stuck_seconds: float,
        at_most: int = HANGING_AT_MOST,
        name: str = "scan",
    ) -> None:
        self.hangs = Hangs(stuck_seconds, at_most)
        self._on_answer = on_answer
        self._name = name
        self._thread: WorkerThread | None = None

    async def run(self, read: Callable[[Job], T]) -> T:
        """Run a job, and return its result.

        It is called with a `Job`, on which it reports what it reads, and which says what to
        leave out. When a read hangs, the job is abandoned, and called again in a new thread.
        Raises TooManyHang, and whatever the job raises.
        """
        job = self.hangs.next_job()
        while True:
            if self._thread is None:
                self._thread = WorkerThread(self._name)
            future = self._thread.run(read, job)
            try:
                hanging = await self._hanging(job, future)
            except asyncio.CancelledError:
                job.abandoned = True  # Its thread ends with the read that is in progress.
                raise
            if hanging is None:
                return future.result()
            log.warning(
                "reading %s has not returned for %.1f s: going on without it until it returns",
                hanging.path,
                time.monotonic() - hanging.since,
            )
            future.add_done_callback(partial(self._answered, hanging))
            self._thread.close(0)  # when the read returns
            self._thread = None
            job = self.hangs.next_job(job)

    async def _hanging(self, job: Job, future: asyncio.Future[T]) -> Hanging | None:
        """Wait for the end of a job, or a read of it that hangs."""
        while True:
            done, _ = await asyncio.wait({future}, timeout=self.hangs.limit(job.path) / 4)
            if done:
                return None
            hanging = self.hangs.found(job)
            if hanging is not None:
                return hanging

    def close(self, timeout_seconds: float) -> None:
        """End the thread; wait for the read that is in progress, but not if one hangs."""
        if self._thread is not None:
            self._thread.close(0 if len(self.hangs) else timeout_seconds)

    def _answered(self, hanging: Hanging, future: asyncio.Future[Any]) -> None:
        future.exception()  # Retrieved, so that asyncio does not log it: the job was abandoned.
        self.hangs.returned(hanging)
        log.info("reading %s has returned: reading it again", hanging.path)
        self._on_answer(hanging.path)
