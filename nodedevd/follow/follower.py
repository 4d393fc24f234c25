"""Follower: keeps the store's snapshot true to the host, from the first scan on.

Lives on the event loop. Uevents, the slow reconcile and requests for fresh counts all become
the same thing: paths to read again. The scan thread reads them, one job at a time; what comes
in meanwhile waits and makes the next job.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Set
from datetime import datetime
from itertools import islice
from typing import Literal, Protocol

import msgspec

from nodedevd.follow.missed import Missed
from nodedevd.follow.supervisor import STUCK_SECONDS, Stuck, Supervisor
from nodedevd.host.events import udev
from nodedevd.host.events.inotify import DirectoryMonitor
from nodedevd.host.events.rtnetlink import LinkMonitor
from nodedevd.host.events.uevent import Uevent
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.shared.mdevctl import DIRECTORY as DEFINITIONS
from nodedevd.model.changes import Change, Changed, Removed
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import ScanTimes, now
from nodedevd.model.store import Store
from nodedevd.tree.read import rescan
from nodedevd.tree.touched import touched_paths
from nodedevd.tree.update import sharing_functions, update

log = logging.getLogger(__name__)

EventChoice = Literal["auto", "udev", "kernel", "none"]

DRAIN_AT_ONCE = 500
"""Uevents taken off the socket before others have their turn on the loop."""
COALESCE_SECONDS = 0.002
"""How long the first uevent waits for others of its burst."""
UEVENTS_AT_MOST = 16_384
"""Uevents that may wait to be acted upon; beyond that the whole host is read instead."""
INCOMPLETE_SECONDS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.0)
"""When an mdev without type is read again; the last one goes on until it is complete or gone."""
AFTER_REMOVAL_SECONDS = (0.1, 1.0)
"""When a parent's counts are read again after an mdev went: the kernel frees the slot late."""
RECOUNTED_BESIDES = 64
"""Parents whose counts are read together with those of one that is asked for."""
REOPEN_SECONDS = 1.0
"""Between two tries to open a monitor, or to read a host that cannot be read at all."""
LATE_EVENT_SECONDS = 1.0
"""How much later than a change its uevent may come, before the change counts as missed."""
LOST_LOG_SECONDS = 10.0
"""Lost uevents are logged once in such a time."""


class MonitorLike(Protocol):
    """What a monitor of uevents has to be able to do; see `udev.Monitor`."""

    source: udev.Source

    def fileno(self) -> int:
        """Return the descriptor to watch."""

    def drain(self, most: int) -> Iterable[Uevent]:
        """Yield what has arrived. Raises EventsLost."""

    def close(self) -> None:
        """Give the socket back."""


class Options(msgspec.Struct, frozen=True):
    """How closely the host is followed."""

    events: EventChoice = "auto"
    reconcile_seconds: float = 300.0
    """0: never"""
    count_age_seconds: float = 1.0
    """how old the counts of an mdev parent, and a vGPU's profile, may be when they are served"""
    buffer_bytes: int = udev.RECEIVE_BUFFER_BYTES
    stuck_seconds: float = STUCK_SECONDS


class Counters(msgspec.Struct):
    """What happened since the start."""

    events: int = 0
    """uevents received"""
    updates: int = 0
    """jobs that read what uevents touched"""
    overflows: int = 0
    """times the monitor's buffer was too small"""
    monitor_errors: int = 0
    """other errors of the monitor: a record that makes no sense, a socket that closed"""
    rescans: int = 0
    """scans of the whole host after the first"""
    missed: int = 0
    """changes the reconcile found, of which no uevent had told"""
    last_event: datetime | None = None
    """UTC"""


class Follower:
    """Reads the host once, and whatever changes from then on."""

    def __init__(
        self,
        sysroot: Sysroot,
        store: Store,
        options: Options,
        *,
        open_monitor: Callable[[udev.Source, int], MonitorLike] = udev.Monitor,
    ) -> None:
        self.counters = Counters()
        self.last_scan: ScanTimes | None = None
        self.missed = Missed()
        self.reads = Supervisor(self._on_answer, options.stuck_seconds)
        self._sysroot = sysroot
        self._store = store
        self._options = options
        self._open_monitor = open_monitor
        self._monitor: MonitorLike | None = None
        self._links: LinkMonitor | None = None
        self._definitions: DirectoryMonitor | None = None
        self._uevents: dict[Uevent, None] = {}
        self._congested = False
        self._reopening = False
        self._touched: set[str] = set()
        self._recount: set[str] = set()
        self._reconcile = False
        self._rescan = True
        self._worker: asyncio.Task[None] | None = None
        self._scheduled: asyncio.TimerHandle | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._retries: dict[str, int] = {}
        self._read_at: dict[str, float] = {}
        self._asked: dict[str, float] = {}
        self._fresh: list[asyncio.Future[None]] = []
        self._lost_logged = float("-inf")
        self._failing = False
        self._deaf = False
        self._closed = False

    # -- life --------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to listen, then read the whole host. Returns when the store has it."""
        self._open()
        self._open_definitions()
        worker = self._worker = asyncio.create_task(self._work())
        await asyncio.shield(worker)
        if self._options.reconcile_seconds > 0:
            self._later(self._reconcile_delay(), self._on_reconcile_due)

    async def close(self, timeout_seconds: float) -> None:
        """Stop; a read that hangs is left behind after the timeout."""
        self._closed = True  # A read that hangs may still return.
        for timer in (*self._timers, self._scheduled):
            if timer is not None:
                timer.cancel()
        self._shut()
        self._shut_definitions()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        for future in self._fresh:
            future.cancel()
        self.reads.close(timeout_seconds)

    @property
    def event_source(self) -> str:
        """Where changes are told from: udev, kernel, or none."""
        return "none" if self._monitor is None else self._monitor.source

    # -- what tells of changes ---------------------------------------------------------

    def touch(self, paths: Iterable[str]) -> None:
        """Have these devices read again, now."""
        self._touched.update(paths)
        self._schedule(0)

    def refresh(self, devices: Iterable[Device]) -> asyncio.Future[None] | None:
        """Have counts read again that are older than they may be when they are served.

        None: they are young enough.
        """
        paths = [one.path for one in devices if one.is_volatile and one.path is not None]
        if not paths:
            return None
        time_now = time.monotonic()
        oldest = time_now - self._options.count_age_seconds
        self._asked.update(dict.fromkeys(paths, time_now))
        old = [path for path in paths if self._read_at.get(path, 0.0) < oldest]
        if not old:
            return None
        self._recount.update(old, self._also_asked(oldest))
        self._schedule(0)
        # One for each caller: who goes away cancels the future it waits for.
        future = asyncio.get_running_loop().create_future()
        self._fresh.append(future)
        # With all threads stuck, older counts are better than no answer.
        timer = self._later(2 * self._options.stuck_seconds, lambda: _settle(future))
        future.add_done_callback(lambda _: self._cancel(timer))
        return future

    def fresh_until(self, device: Device) -> float:
        """Return until when `refresh` would find nothing to read again, by time.monotonic()."""
        if not device.is_volatile:
            return math.inf
        return self._read_at.get(device.path or "", 0.0) + self._options.count_age_seconds

    def _also_asked(self, oldest: float) -> Iterable[str]:
        """Return parents that are asked for again and again, and too old by now.

        To read one takes less than to have the scan thread do so: these save it a job each.
        """
        since = oldest - self._options.count_age_seconds
        self._asked = {path: at for path, at in self._asked.items() if at > since}
        too_old = (path for path in self._asked if self._read_at.get(path, 0.0) < oldest)
        return islice(too_old, RECOUNTED_BESIDES)

    def reconcile(self) -> None:
        """Read the whole host, now; what no uevent had told of counts as missed."""
        if self._options.events == "auto" and self.event_source != self._wanted_source():
            # udevd came or went.
            self._shut()
            self._open()
        self._reconcile = True
        self._schedule(0)

    def _on_reconcile_due(self) -> None:
        self.reconcile()
        self._later(self._reconcile_delay(), self._on_reconcile_due)

    def _on_readable(self) -> None:
        if self._monitor is None:
            return
        uevents: list[Uevent] = []
        try:
            for uevent in self._monitor.drain(DRAIN_AT_ONCE):
                uevents.append(uevent)
        except udev.EventsLost as error:
            self._on_uevents(uevents)
            self._on_lost(error)
            return
        self._on_uevents(uevents)
        if self._congested:
            self._drain_on(drained=len(uevents) < DRAIN_AT_ONCE)

    def _on_uevents(self, uevents: list[Uevent]) -> None:
        if not uevents:
            return
        self.counters.events += len(uevents)
        self.counters.last_event = now()
        if self.missed:
            self._acquit(touched_paths(uevents, self._store.snapshot))
        if self._congested:
            return  # All will be read again anyway.
        self._uevents.update(dict.fromkeys(uevents))
        if len(self._uevents) > UEVENTS_AT_MOST:
            self._uevents.clear()
            self._rescan = True
        self._schedule(COALESCE_SECONDS)

    def _drain_on(self, *, drained: bool = False) -> None:
        if not drained:
            # An empty socket is not readable: nobody else would call.
            asyncio.get_running_loop().call_soon(self._on_readable)
            return
        self._congested = False
        self._rescan = True
        self._schedule(0)

    def _on_link(self) -> None:
        assert self._links is not None
        names, lost = self._links.drain(DRAIN_AT_ONCE)
        # Interfaces change their address and carrier without a uevent.
        paths = {f"/sys/class/net/{name}" for name in names}
        self._acquit(paths)
        self._touched |= paths
        if lost:
            self._note_lost(udev.EventsLost("ENOBUFS", overflow=True, usable=True))
            while self._links.drain(DRAIN_AT_ONCE)[0]:
                pass  # as in _on_lost; the buffer is small
            self._rescan = True
        self._schedule(COALESCE_SECONDS)

    def _note_lost(self, error: udev.EventsLost) -> None:
        if error.overflow:
            self.counters.overflows += 1
        else:
            self.counters.monitor_errors += 1
        if time.monotonic() - self._lost_logged > LOST_LOG_SECONDS:
            log.warning("uevents were lost (%s): reading the whole host again", error)
        self._lost_logged = time.monotonic()

    def _on_lost(self, error: udev.EventsLost) -> None:
        self._note_lost(error)
        if error.overflow and error.usable:
            # netlink(7) delivers nothing, and reports nothing, until all that it has kept is
            # received: a scan before that could miss a change.
            self._congested = True
            self._drain_on()
            return
        if not error.usable:
            self._shut()
            self._reopen_later()
        self._rescan = True
        self._schedule(COALESCE_SECONDS)

    def _reconcile_delay(self) -> float:
        # Jittered, so that the hosts of a cluster do not all do it at once.
        return self._options.reconcile_seconds * random.uniform(0.9, 1.1)

    # -- the monitor -------------------------------------------------------------------

    def _wanted_source(self) -> Literal["udev", "kernel", "none"]:
        if self._options.events != "auto":
            return self._options.events
        if self._sysroot.root != "/":
            return "none"
        return "udev" if udev.running() else "kernel"

    def _open(self) -> None:
        source = self._wanted_source()
        if source == "none" or self._monitor is not None:
            return
        try:
            self._monitor = self._open_monitor(source, self._options.buffer_bytes)
        except OSError as error:
            if not self._deaf:
                log.warning("no uevents from %s: %s; trying again", source, error)
            self._deaf = True
            self._reopen_later()
            return
        self._deaf = False
        asyncio.get_running_loop().add_reader(self._monitor.fileno(), self._on_readable)
        self._open_links()
        log.info("following the uevents of %s", source)
        self._rescan = True
        if self._worker is not None:
            self._schedule(0)

    def _open_definitions(self) -> None:
        root = self._sysroot.root
        try:
            self._definitions = DirectoryMonitor(root.rstrip("/") + DEFINITIONS, root)
        except OSError as error:
            log.warning("no inotify: %s; definitions are as of the reconcile", error)
            return
        asyncio.get_running_loop().add_reader(self._definitions.fileno(), self._on_definition)

    def _on_definition(self) -> None:
        assert self._definitions is not None
        if self._definitions.drain():
            self._acquit({DEFINITIONS})
            self._touched.add(DEFINITIONS)
            self._schedule(COALESCE_SECONDS)

    def _shut_definitions(self) -> None:
        if self._definitions is not None:
            asyncio.get_running_loop().remove_reader(self._definitions.fileno())
            self._definitions.close()
            self._definitions = None

    def _open_links(self) -> None:
        if self._links is not None or self._sysroot.root != "/":
            return
        try:
            self._links = LinkMonitor()
        except OSError as error:
            log.warning("no rtnetlink: %s; addresses and carrier are as of the reconcile", error)
            return
        asyncio.get_running_loop().add_reader(self._links.fileno(), self._on_link)

    def _shut(self) -> None:
        if self._links is not None:
            asyncio.get_running_loop().remove_reader(self._links.fileno())
            self._links.close()
            self._links = None
        if self._monitor is not None:
            asyncio.get_running_loop().remove_reader(self._monitor.fileno())
            self._monitor.close()
            self._monitor = None
            self._congested = False

    def _reopen_later(self) -> None:
        if not self._reopening:
            self._reopening = True
            self._later(REOPEN_SECONDS, self._reopen)

    def _reopen(self) -> None:
        self._reopening = False
        self._open()

    # -- the work ----------------------------------------------------------------------

    def _schedule(self, delay_seconds: float) -> None:
        idle = self._worker is None or self._worker.done()
        if idle and self._scheduled is None and not self._closed:
            loop = asyncio.get_running_loop()
            self._scheduled = loop.call_later(delay_seconds, self._begin)

    def _begin(self) -> None:
        self._scheduled = None
        self._worker = asyncio.create_task(self._work())

    async def _work(self) -> None:
        """Do what has come in, and what comes in meanwhile."""
        while self._rescan or self._reconcile or self._uevents or self._touched or self._recount:
            waiting = len(self._fresh)
            try:
                await self._do()
            except Stuck as stuck:
                self._touched.add(stuck.path)  # to be shown as what it is: older than the rest
                continue
            except Exception:
                if self.last_scan is None:
                    raise
                if not self._failing:
                    log.exception("reading the host failed; trying again")
                self._failing = True
                await asyncio.sleep(REOPEN_SECONDS)
                continue
            self._failing = False
            for future in self._fresh[:waiting]:
                _settle(future)
            del self._fresh[:waiting]

    async def _do(self) -> None:
        rescan_asked, reconcile = self._rescan, self._reconcile
        whole = rescan_asked or reconcile
        snapshot = self._store.snapshot
        uevents, self._uevents = self._uevents, {}
        touched = touched_paths(uevents, snapshot) | self._touched
        recount = self._recount
        self._rescan, self._reconcile, self._touched, self._recount = False, False, set(), set()
        began = time.monotonic()
        try:
            if whole:
                result = await self.reads.run(
                    lambda job, left: rescan(self._sysroot, snapshot, job=job, unanswered=left)
                )
            else:
                result = await self.reads.run(
                    lambda job, left: update(
                        self._sysroot,
                        snapshot,
                        touched,
                        recount=recount,
                        job=job,
                        unanswered=left,
                    )
                )
        except BaseException:
            # Nothing that was told is forgotten.
            self._rescan |= rescan_asked
            self._reconcile |= reconcile
            self._touched |= touched
            self._recount |= recount
            raise
        if not whole:
            self.counters.updates += 1
        self._note_times(result.snapshot, touched | recount, began, whole=whole)
        first = self._store.snapshot.generation == 0
        if first:
            self._store.begin(result.snapshot.numbered(1))
        else:
            self._store.publish(result)
        if reconcile and not rescan_asked:
            self.missed.suspect(result.changes)
            waiting = touched_paths(self._uevents, self._store.snapshot) | self._touched
            self._acquit(touched | waiting)
            if self.missed:
                self._later(LATE_EVENT_SECONDS, self._convict)
        for device in self._store.snapshot if first else _devices(result.changes):
            self._watch_incomplete(device)
        for change in result.changes:
            if isinstance(change, Removed):
                self._recount_after(change.device)
            elif isinstance(change, Changed) and change.moved:
                # It was defined, and stopped: what is left is its definition.
                self._recount_after(change.before)

    def _note_times(
        self, snapshot: Snapshot, touched: Iterable[str], began: float, *, whole: bool
    ) -> None:
        if whole:
            if self.last_scan is not None:
                self.counters.rescans += 1
            self.last_scan = ScanTimes(now(), round(time.monotonic() - began, 6))
            counted = [device.path for device in snapshot if device.is_volatile]
            self._read_at = {path: began for path in counted if path is not None}
            return
        for path in touched:
            device = snapshot.at(path)
            if device is not None and device.is_volatile:
                self._read_at[path] = began
            else:
                self._read_at.pop(path, None)

    # -- what is looked at once more ---------------------------------------------------

    def _watch_incomplete(self, device: Device) -> None:
        """Read an mdev again that lacks its type: no uevent tells when the link is made."""
        child = device.capability(MdevChild)
        if device.path is None or child is None or child.state != "incomplete":
            return
        if device.path not in self._retries:
            self._retries[device.path] = 0
            self._retry_later(device.path)

    def _retry_later(self, path: str) -> None:
        attempt = min(self._retries[path], len(INCOMPLETE_SECONDS) - 1)
        self._later(INCOMPLETE_SECONDS[attempt], lambda: self._retry(path))

    def _retry(self, path: str) -> None:
        device = self._store.snapshot.at(path)
        child = None if device is None else device.capability(MdevChild)
        if child is None or child.state != "incomplete":
            del self._retries[path]
            return
        self._retries[path] += 1
        self.touch({path, path.rpartition("/")[0]})
        self._retry_later(path)

    def _recount_after(self, device: Device) -> None:
        """Read the counts again that an mdev gave back, or will give back soon."""
        child = device.capability(MdevChild)
        if child is None:
            return

        def recount() -> None:
            snapshot = self._store.snapshot
            parent = snapshot.at(child.parent_path)
            if parent is not None:
                self.touch(sharing_functions(parent, snapshot))

        for delay in AFTER_REMOVAL_SECONDS:
            self._later(delay, recount)

    def _acquit(self, told: Set[str]) -> None:
        self.missed.acquit(told, self._store.snapshot)

    def _convict(self) -> None:
        self.counters.missed += self.missed.convict()

    def _on_answer(self, path: str) -> None:
        self.touch({path})

    def _later(self, seconds: float, function: Callable[[], object]) -> asyncio.TimerHandle:
        def fire() -> None:
            self._timers.discard(handle)
            function()

        handle = asyncio.get_running_loop().call_later(seconds, fire)
        self._timers.add(handle)
        return handle

    def _cancel(self, timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        self._timers.discard(timer)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _devices(changes: Iterable[Change]) -> Iterable[Device]:
    return [change.device for change in changes if not isinstance(change, Removed)]
