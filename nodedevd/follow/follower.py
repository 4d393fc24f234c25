"""Follower: keeps the store's snapshot true to the host, by one job after another.

The life of an event:

1. A monitor is readable; `sources` takes the event off it and delivers it to the follower.
2. The event waits in `pending` for the current job to end, and in a burst for others, up to 2 ms.
3. A job takes all that is pending, and reads those devices in a worker thread, under `reads`,
   which goes on without a device whose read hangs.
4. The store publishes the new snapshot and its changes, which wakes the watchers.
5. `rereads` schedules what the changes call for; `missed` learns what no event reported.

All of it runs on the event loop but for the reads.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from nodedevd.follow.hangs import TooManyHang
from nodedevd.follow.missed import MissedChanges
from nodedevd.follow.options import FollowOptions
from nodedevd.follow.pending import Pending, Scan, Work
from nodedevd.follow.rereads import Rereads
from nodedevd.follow.retries import Retries, delay
from nodedevd.follow.sources import Monitor, Reports, Sources
from nodedevd.follow.supervisor import Supervisor
from nodedevd.follow.volatile import VolatileValues
from nodedevd.host.events import udev
from nodedevd.host.events.uevent import Uevent
from nodedevd.host.job import Job
from nodedevd.host.sysroot import Sysroot
from nodedevd.layout.directories import DIRECTORIES, may_declare
from nodedevd.model.changes import Update
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import Followed, ScanTimes, now
from nodedevd.model.store import Store
from nodedevd.text import abbreviated, printable_path
from nodedevd.tree.read import rescan
from nodedevd.tree.touched import touched_paths
from nodedevd.tree.unread import HostNotRead
from nodedevd.tree.update import update

if TYPE_CHECKING:
    from nodedevd.layout.states import Compared

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""Interval between attempts to read a host that cannot be read at all."""


FIRST_RETRIES = 5
"""How often the first scan is made again, in some 4 s, for what cannot be read and may be later."""


_LAYOUTS = frozenset(DIRECTORIES)


class _Doubtful(Exception):
    """The first scan could not read something that decides which devices there are."""


class Follower(Reports):
    """Reads the whole host once, and from then on what changes.

    Attributes:
        volatile: refreshes values that change without an event, for servers.
        last_scan: when the whole host was read last.
    """

    def __init__(
        self,
        sysroot: Sysroot,
        store: Store,
        options: FollowOptions,
        *,
        open_monitor: Callable[[udev.EventSource, int], Monitor[Uevent]] = udev.Monitor,
    ) -> None:
        self.pending = Pending()
        self.sources = Sources(sysroot.root, options, self, open_monitor)
        self.volatile = VolatileValues(self.pending, options)
        self.rereads = Rereads(self.pending, store, options)
        self.retries = Retries(self.pending)
        self.missed = MissedChanges()
        self.reads = Supervisor(self._on_answer, options.stuck_seconds, options.hanging_at_most)
        self.last_scan = ScanTimes(finished=now(), seconds=0.0)
        self._sysroot = sysroot
        self._store = store
        self._compared: Compared | None = None
        self._updates = 0
        self._scans = 0
        self._first_retries = 0
        self._jobs: asyncio.Task[None] | None = None

    # -- lifetime ----------------------------------------------------------------------

    async def start(self) -> None:
        """Open the sources, then read the whole host; returns when the store has it.

        While the process is short of descriptors or memory, the store gets no part of a host.
        Raises NotASysroot, OSError.
        """
        self.sources.open()
        self.pending.request(Scan.RESCAN)
        while not await self._read_first():
            await asyncio.sleep(delay(self._first_retries, short=True))
            self._first_retries += 1
        self._jobs = asyncio.create_task(self._run_jobs())
        self.rereads.start()

    async def close(self, timeout_seconds: float) -> None:
        """Stop; a read that has not returned after the timeout is left to its thread."""
        self.sources.close()
        self.rereads.close()
        self.retries.close()
        self.missed.clear()
        if self._jobs is not None:
            self._jobs.cancel()
            await asyncio.gather(self._jobs, return_exceptions=True)
        self.pending.close()
        self.reads.close(timeout_seconds)

    def reread(self) -> None:
        """Have the whole host read again, as soon as the current job ends."""
        self.pending.request(Scan.RECONCILE)

    @property
    def followed(self) -> Followed:
        """The follower's part of a status."""
        uevents = self.sources.uevents.counts
        return Followed(
            event_source=self.sources.event_source,
            events=uevents.events,
            last_event=uevents.last_event,
            updates=self._updates,
            overflows=self.sources.overflows,
            monitor_errors=self.sources.errors,
            rescans=max(self._scans - 1, 0),
            missed_changes=self.missed.count,
            unanswered_reads=self.reads.hangs.unanswered(),
            watchers=self._store.subscriptions,
        )

    # -- what sources report -----------------------------------------------------------

    def on_uevents(self, uevents: Sequence[Uevent]) -> None:
        """Have the devices read again that uevents can have changed."""
        if self.missed:
            snapshot = self._store.snapshot
            self.missed.explain(touched_paths(uevents, snapshot), snapshot)
        self.pending.add(uevents)

    def on_paths(self, paths: Set[str]) -> None:
        """Have the devices at these paths read again."""
        self.missed.explain(paths, self._store.snapshot)
        self.pending.touch(paths)

    def on_gap(self) -> None:
        """Have the whole host read again."""
        self.missed.clear()
        self.pending.request(Scan.RESCAN)

    def _on_answer(self, path: str) -> None:
        """Have read again what was left out as long as its read hung."""
        if self._store.snapshot.at(printable_path(path)) is not None:
            self.pending.touch({path})
        else:  # a directory, or a file of the whole host
            self.pending.request(Scan.RESCAN)

    # -- jobs --------------------------------------------------------------------------

    async def _run_jobs(self) -> None:
        """Run a job whenever something is pending."""
        while True:
            await self.pending.wait()
            await self._read_or_retry()

    async def _read_or_retry(self) -> None:
        """Read what is pending; a host that cannot be read is logged once and tried again."""
        try:
            return await self._read()
        except TooManyHang as error:
            log.error("%s: trying again every %g s", error, RETRY_SECONDS)
        except Exception:
            log.exception("cannot read the host: trying again every %g s", RETRY_SECONDS)
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            with suppress(Exception):
                return await self._read()

    async def _read_first(self) -> bool:
        """Read the whole host; return whether the store has it."""
        try:
            await self._read()
        except (HostNotRead, MemoryError, _Doubtful) as error:
            if self._first_retries == 0:
                log.warning("not ready yet: %s; trying again", error or "out of memory")
            return False
        return True

    async def _read(self) -> None:
        """Take what is pending, read it, and publish it; leave out what hangs.

        Raises whatever the read raises; what was taken is pending again then.
        """
        if self.pending.scan is Scan.RECONCILE:
            self.sources.follow_udevd()
        old = self._store.snapshot
        work = self.pending.take(old)
        self.volatile.read_besides(work)
        try:
            read = partial(_read, self._sysroot, old, work, self._compared)
            update, compared, began = await self.reads.run(read)
            if old.generation == 0 and update.doubtful and self._first_retries < FIRST_RETRIES:
                raise _Doubtful(f"cannot read {abbreviated(sorted(update.unread))}")
        except BaseException:
            self.pending.put_back(work)
            raise
        self._compared = compared
        self._note(work)
        self._publish(old, update)
        self.volatile.note(work, update.snapshot, began)
        self.rereads.after(update.changes)
        self.rereads.leaving(work.leaving)
        self.retries.after(work, update)
        if work.scan is Scan.RECONCILE:
            snapshot = self._store.snapshot
            reported = work.touched | self.pending.paths(snapshot)
            self.missed.found(update.changes, reported, snapshot)
        self.pending.done(work)

    def _note(self, work: Work) -> None:
        if work.scan:
            self._scans += 1
            self.last_scan = ScanTimes(now(), round(time.monotonic() - work.began, 6))
        elif work.touched or work.volatile:
            self._updates += 1

    def _publish(self, old: Snapshot, update: Update) -> None:
        if old.generation == 0:
            self._store.begin(update.snapshot.numbered(1))
        else:
            self._store.publish(update)


def _read(
    sysroot: Sysroot, old: Snapshot, work: Work, compared: Compared | None, job: Job
) -> tuple[Update, Compared | None, Mapping[str, float]]:
    """Read what a job took, and compare cards with their layout; runs in the worker thread.

    The third part of the result is when the read of each device began.

    `compared` is None as long as the host had no layout files: what reads them is not loaded.
    """
    if work.scan:
        new = rescan(sysroot, old, job=job, tolerated=work.tolerated)
    else:
        new = update(
            sysroot,
            old,
            work.touched - _LAYOUTS,
            volatile=work.volatile,
            polled=work.polled,
            job=job,
            tolerated=work.tolerated,
        )
    read_files = bool(work.scan or work.touched & _LAYOUTS)
    files = sysroot.during(job).reporting() if read_files else None
    if compared is None and (files is None or not may_declare(files)):
        return new, None, job.began
    from nodedevd.layout.states import NOTHING, follow_layout

    return *follow_layout(files, new, compared or NOTHING), job.began
