"""Pending: collects what the next job has to read, and says when it is time for it.

The first uevents of a quiet time are read at once, so that clients hear of them at once. The next
ones wait for others, the longer the more jobs there were without a quiet time in between: a storm
of uevents costs few jobs.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Collection, Iterable, Sequence
from enum import IntEnum

import msgspec

from nodedevd.host.events.uevent import Uevent
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.touched import is_about_a_device, touched_paths

COALESCE_SECONDS = (0.0, 0.001, 0.002)
"""How long uevents wait for others: those of the first job of a burst, of the second, of all later
ones. What no uevent reports waits as long as those."""
QUIET_SECONDS = 0.02
"""A burst is over when there was no job for uevents for so long."""
UEVENTS_AT_MOST = 16_384
"""Capacity for uevents; beyond it the whole host is read instead."""


class Scan(IntEnum):
    """Whether a job reads the whole host, and why; a higher value includes the lower ones."""

    NONE = 0
    RECONCILE = 1
    """a planned scan: every change that it finds should have been reported by an event"""
    RESCAN = 2
    """changes were lost, or nothing has been read yet"""


class Work(msgspec.Struct):
    """What one job reads."""

    scan: Scan = Scan.NONE
    touched: set[str] = msgspec.field(default_factory=set)
    """paths of devices to read completely"""
    volatile: set[str] = msgspec.field(default_factory=set)
    """paths of devices of which only the volatile values are read"""
    polled: set[str] = msgspec.field(default_factory=set)
    """paths of devices that are read if one cheap read shows a change"""
    waiting: list[asyncio.Future[None]] = msgspec.field(default_factory=list)
    """clients' requests that end with this job"""
    tolerated: set[str] = msgspec.field(default_factory=set)
    """paths of new devices that are shown even if they cannot be read"""
    leaving: set[str] = msgspec.field(default_factory=set)
    """paths of devices with a uevent `remove`"""
    began: float = math.inf
    """when the job took it, as time.monotonic()"""

    def __bool__(self) -> bool:
        return bool(self.scan or self.touched or self.volatile or self.polled)


class Pending:
    """What the next job has to read. Sources, rereads and clients add to it; a job takes it all."""

    def __init__(self) -> None:
        self._work = Work()
        self._current: Work | None = None
        """what the running job reads"""
        self._uevents: dict[Uevent, None] = {}
        self._due = math.inf
        """when the next job is to begin, by the loop's clock"""
        self._sooner = asyncio.Event()
        self._jobs = 0
        """of this burst"""
        self._last_job = -math.inf

    def __bool__(self) -> bool:
        return bool(self._uevents or self._work)

    @property
    def scan(self) -> Scan:
        """Whether the next job reads the whole host."""
        return self._work.scan

    def add(self, uevents: Sequence[Uevent]) -> None:
        """Have the devices read that these uevents can have changed."""
        uevents = list(filter(is_about_a_device, uevents))
        if not uevents:
            return
        self._uevents.update(dict.fromkeys(uevents))
        if len(self._uevents) > UEVENTS_AT_MOST:
            self._uevents.clear()
            self._work.scan = Scan.RESCAN
        time_now = asyncio.get_running_loop().time()
        if time_now - self._last_job > QUIET_SECONDS:
            self._jobs = 0
        self._begin_by(time_now + COALESCE_SECONDS[min(self._jobs, len(COALESCE_SECONDS) - 1)])

    def touch(self, paths: Iterable[str]) -> None:
        """Have the devices at these paths read."""
        self._work.touched.update(paths)
        self._begin_soon()

    def recount(self, paths: Iterable[str]) -> None:
        """Have the volatile values of the devices at these paths read."""
        self._work.volatile.update(paths)
        self._begin_soon()

    def tolerate(self, paths: Iterable[str]) -> None:
        """Have new devices at these paths shown as far as the next job can read them."""
        self._work.tolerated.update(paths)

    def poll(self, paths: Iterable[str]) -> None:
        """Have the devices at these paths read if one cheap read shows a change."""
        self._work.polled.update(paths)
        self._begin_soon()

    def refresh(self, paths: Collection[str], oldest: float = math.inf) -> asyncio.Future[None]:
        """Have volatile values read; return a future that ends with the job that reads them.

        That is the running job if it reads all of them and did not begin before `oldest`, as
        time.monotonic(). Each call has a future of its own, since a client that disconnects
        cancels it.
        """
        work = self._current
        if work is None or work.began < oldest or not work.volatile.issuperset(paths):
            work = self._work
            work.volatile.update(paths)
            self._begin_by(-math.inf)  # A client waits for no burst.
        future = asyncio.get_running_loop().create_future()
        work.waiting.append(future)
        return future

    def request(self, scan: Scan) -> None:
        """Have the whole host read."""
        self._work.scan = max(self._work.scan, scan)
        self._begin_soon()

    async def wait(self) -> None:
        """Return when there is something to read and the next job is due."""
        loop = asyncio.get_running_loop()
        while (left := self._due - loop.time()) > 0:
            self._sooner.clear()
            timer = None if left == math.inf else loop.call_later(left, self._sooner.set)
            await self._sooner.wait()
            if timer is not None:
                timer.cancel()

    def paths(self, snapshot: Snapshot) -> set[str]:
        """Return the paths of the devices that the next job reads completely."""
        return touched_paths(self._uevents, snapshot) | self._work.touched

    def take(self, snapshot: Snapshot) -> Work:
        """Return all of it, for a job that changes this snapshot."""
        work, self._work = self._work, Work()
        work.began = time.monotonic()
        self._current = work
        work.touched |= touched_paths(self._uevents, snapshot)
        work.leaving |= {one.path for one in self._uevents if one.action == "remove"}
        if self._uevents:
            self._jobs += 1
            self._last_job = asyncio.get_running_loop().time()
        self._uevents.clear()
        self._due = math.inf
        return work

    def put_back(self, work: Work) -> None:
        """Add what a job took and did not finish."""
        self._current = None
        self._work.touched |= work.touched
        self._work.leaving |= work.leaving
        self._work.tolerated |= work.tolerated
        self._work.volatile |= work.volatile
        self._work.polled |= work.polled
        self._work.waiting[:0] = work.waiting
        self.request(work.scan)

    def done(self, work: Work) -> None:
        """End the requests that wait for a job."""
        self._current = None
        for future in work.waiting:
            settle(future)

    def close(self) -> None:
        """Cancel the requests that wait."""
        for future in self._work.waiting:
            future.cancel()

    def _begin_soon(self) -> None:
        if self:
            self._begin_by(asyncio.get_running_loop().time() + COALESCE_SECONDS[-1])

    def _begin_by(self, due: float) -> None:
        """Have the next job begin at this time at the latest."""
        if due < self._due:
            self._due = due
            self._sooner.set()


def settle(future: asyncio.Future[None]) -> None:
    """End a request, unless it has ended."""
    if not future.done():
        future.set_result(None)
