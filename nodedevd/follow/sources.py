"""Sources: opens, drains and reopens the monitors that report changes of the host.

These are uevents, from udevd or the kernel; rtnetlink, for network interfaces; inotify, for the
definitions of mdevs and for layout files. Each is open before the first scan, so that no change
falls between the two. A source that loses events reports a gap, and the whole host is read again.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Generic, Protocol, TypeVar

import msgspec

from nodedevd.follow.options import FollowOptions
from nodedevd.host.events import udev
from nodedevd.host.events.inotify import DirectoryMonitor
from nodedevd.host.events.lost import EventsLost
from nodedevd.host.events.rtnetlink import LinkMonitor
from nodedevd.host.events.uevent import Uevent
from nodedevd.kinds.shared.mdevctl import DIRECTORY as DEFINITIONS
from nodedevd.layout.directories import DIRECTORIES as LAYOUTS
from nodedevd.model.status import now

log = logging.getLogger(__name__)

DRAIN_AT_ONCE = 500
"""Events that one source delivers before the event loop serves others."""
FAILURES_AT_MOST = 100
"""Errors in a row after which a monitor counts as broken: the error does not go away by reading."""
REOPEN_SECONDS = 1.0
"""Interval between attempts to open a monitor."""
LOST_LOG_SECONDS = 10.0
"""Losses that follow each other within this time are logged once."""

E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)


class Monitor(Protocol[E_co]):
    """A descriptor on which events arrive; see nodedevd.host.events."""

    def fileno(self) -> int:
        """Return the descriptor to watch."""

    def drain(self) -> Iterable[E_co]:
        """Yield the events that have arrived; does not block. Raises EventsLost."""

    def close(self) -> None:
        """Close the descriptor."""


class Reports(Protocol):
    """Where sources deliver what they receive."""

    def on_uevents(self, uevents: Sequence[Uevent]) -> None:
        """Take uevents, in the order in which they arrived."""

    def on_paths(self, paths: Set[str]) -> None:
        """Take the paths of what changed without a uevent."""

    def on_gap(self) -> None:
        """Note that changes may have happened that no event will report."""


class Counts(msgspec.Struct):
    """What a source received since the start."""

    events: int = 0
    last_event: datetime | None = None
    """UTC"""
    overflows: int = 0
    """times the monitor's buffer was full"""
    errors: int = 0
    """times the monitor failed otherwise: an event that cannot be parsed, a broken descriptor"""


class Source(Generic[E]):
    """One monitor: opened, drained whenever it is readable, and opened again when it breaks.

    Attributes:
        counts: what arrived since the start.
        monitor: the open monitor; None while there is none.
    """

    def __init__(
        self,
        events: str,
        open_monitor: Callable[[], Monitor[E]],
        deliver: Callable[[list[E]], None],
        on_gap: Callable[[], None],
    ) -> None:
        self.counts = Counts()
        self.monitor: Monitor[E] | None = None
        self._events = events
        self._open_monitor = open_monitor
        self._deliver = deliver
        self._on_gap = on_gap
        self._reopening: asyncio.Task[None] | None = None
        self._lost_at = -math.inf
        self._failures = 0
        """errors in a row, without an event in between"""

    def open(self) -> None:
        """Open the monitor; one that cannot be opened is tried again every second."""
        try:
            self._open()
        except Exception as error:
            log.warning(
                "cannot receive %s: %s; trying again every %g s,"
                " and finding changes by the reconcile alone",
                self._events,
                error,
                REOPEN_SECONDS,
            )
            self._reopen_later()

    def close(self) -> None:
        """Close the monitor, and do not open it again."""
        if self._reopening is not None:
            self._reopening.cancel()
        monitor, self.monitor = self.monitor, None
        if monitor is not None:
            asyncio.get_running_loop().remove_reader(monitor.fileno())
            monitor.close()

    def _open(self) -> None:
        monitor = self._open_monitor()
        try:
            asyncio.get_running_loop().add_reader(monitor.fileno(), self._on_readable, monitor)
        except OSError:  # epoll(7) needs memory, and has a limit of its own
            monitor.close()
            raise
        self.monitor = monitor
        self._failures = 0
        self._on_gap()  # Nothing reported what happened until now.

    def _reopen_later(self) -> None:
        self._reopening = asyncio.create_task(self._reopen())

    async def _reopen(self) -> None:
        while self.monitor is None:
            await asyncio.sleep(REOPEN_SECONDS)
            with suppress(Exception):
                self._open()

    def _on_readable(self, monitor: Monitor[E]) -> None:
        events, error = self._take(monitor)
        if events:
            try:
                self._deliver(events)
            except Exception:
                log.exception("cannot follow %s: reading the whole host again", self._events)
                self._on_gap()
        if error is not None:
            self._recover(monitor, error)

    def _take(self, monitor: Monitor[E]) -> tuple[list[E], EventsLost | None]:
        """Take a batch of events off a monitor, up to the first error."""
        events: list[E] = []
        error = None
        try:
            for event in islice(monitor.drain(), DRAIN_AT_ONCE):
                events.append(event)
        except EventsLost as lost:
            error = lost
        except Exception as unexpected:
            # Whatever it is, what was received stays readable: without a recovery the loop spins.
            log.exception("cannot receive %s", self._events)
            error = EventsLost(repr(unexpected), overflow=False, usable=False)
        if events:
            self._failures = 0
            self.counts.events += len(events)
            self.counts.last_event = now()
        return events, error

    def _recover(self, monitor: Monitor[E], error: EventsLost) -> None:
        """Report the gap, as soon as a scan after it misses nothing."""
        self._note(error)
        self._failures += 1
        if error.usable and self._failures <= FAILURES_AT_MOST:
            # netlink(7) drops events, without another error, until all that it holds is
            # received.
            loop = asyncio.get_running_loop()
            loop.remove_reader(monitor.fileno())
            loop.call_soon(self._discard, monitor)
        else:
            self.close()
            self._reopen_later()
            self._on_gap()

    def _discard(self, monitor: Monitor[E]) -> None:
        """Discard what a monitor still holds, batch by batch, then report the gap."""
        if monitor is not self.monitor:  # closed meanwhile
            return
        events, error = self._take(monitor)
        loop = asyncio.get_running_loop()
        if error is not None:
            self._recover(monitor, error)
        elif len(events) == DRAIN_AT_ONCE:
            loop.call_soon(self._discard, monitor)
        else:
            loop.add_reader(monitor.fileno(), self._on_readable, monitor)
            self._on_gap()

    def _note(self, error: EventsLost) -> None:
        if error.overflow:
            self.counts.overflows += 1
        else:
            self.counts.errors += 1
        time_now = time.monotonic()
        if time_now - self._lost_at > LOST_LOG_SECONDS:
            log.warning("lost %s (%s): reading the whole host again", self._events, error)
        self._lost_at = time_now


class Sources:
    """The sources of one host. Only a live host has uevents and interfaces to follow."""

    def __init__(
        self,
        root: str,
        options: FollowOptions,
        reports: Reports,
        open_monitor: Callable[[udev.EventSource, int], Monitor[Uevent]] = udev.Monitor,
    ) -> None:
        self._root = root
        self._options = options
        self._reports = reports
        self._open_monitor = open_monitor
        self._sender: udev.EventSource = "kernel"
        self.uevents = Source("uevents", self._open_uevents, reports.on_uevents, reports.on_gap)
        self.links = Source("rtnetlink messages", LinkMonitor, self._on_links, reports.on_gap)
        self.directories = Source(
            "inotify events of mdevctl's definitions and layouts",
            partial(DirectoryMonitor, (DEFINITIONS, *LAYOUTS), root),
            self._on_directories,
            reports.on_gap,
        )

    @property
    def event_source(self) -> str:
        """Who sends the uevents: udev, kernel, or none."""
        return "none" if self.uevents.monitor is None else self._sender

    @property
    def overflows(self) -> int:
        """How often a monitor's buffer was full, since the start."""
        return sum(source.counts.overflows for source in self._all)

    @property
    def errors(self) -> int:
        """How often a monitor failed otherwise, since the start."""
        return sum(source.counts.errors for source in self._all)

    def open(self) -> None:
        """Open every monitor that this host and the options call for."""
        live = self._root == "/"
        events = self._options.events
        self.directories.open()
        if events == "none" or (events == "auto" and not live):
            return
        self.uevents.open()
        if live:
            self.links.open()

    def follow_udevd(self) -> None:
        """Open the other monitor of uevents if udevd has started or stopped since."""
        if self.uevents.monitor is not None and self._sender != self._wanted_sender():
            self.uevents.close()
            self.uevents.open()

    def close(self) -> None:
        """Close every monitor."""
        for source in self._all:
            source.close()

    @property
    def _all(self) -> tuple[Source[Uevent], Source[list[str]], Source[str]]:
        return self.uevents, self.links, self.directories

    def _wanted_sender(self) -> udev.EventSource:
        events = self._options.events
        if events == "udev" or (events == "auto" and udev.running()):
            return "udev"
        return "kernel"

    def _open_uevents(self) -> Monitor[Uevent]:
        self._sender = self._wanted_sender()
        monitor = self._open_monitor(self._sender, self._options.buffer_bytes)
        log.info("receiving uevents from %s", self._sender)
        return monitor

    def _on_links(self, packets: list[list[str]]) -> None:
        names = {name for packet in packets for name in packet}
        self._reports.on_paths({f"/sys/class/net/{name}" for name in names})

    def _on_directories(self, paths: list[str]) -> None:
        self._reports.on_paths(set(paths))
