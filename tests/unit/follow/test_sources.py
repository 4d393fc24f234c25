"""Sources: events are delivered in order, and a loss becomes a gap once the monitor works."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence, Set
from contextlib import asynccontextmanager

import pytest

from nodedevd.follow import sources as module
from nodedevd.follow.options import EventChoice, FollowOptions
from nodedevd.follow.sources import DRAIN_AT_ONCE, Reports, Source, Sources
from nodedevd.host.events import udev
from nodedevd.host.events.lost import EventsLost
from nodedevd.host.events.uevent import Uevent
from nodedevd.kinds.shared.mdevctl import DIRECTORY as DEFINITIONS
from tests.support.fake_monitor import FakeMonitor, FakeMonitors, eventually


@pytest.fixture(autouse=True)
def short_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reopen monitors soon."""
    monkeypatch.setattr(module, "REOPEN_SECONDS", 0.01)


class Opened:
    """A source of numbers, and what it reported.

    Attributes:
        gaps: how many events had been delivered at each gap.
    """

    def __init__(self, refusals: int = 0) -> None:
        self.monitors = FakeMonitors(refusals)
        self.delivered: list[int] = []
        self.gaps: list[int] = []
        self.source = Source(
            "numbers",
            self.monitors.open,
            self.delivered.extend,
            lambda: self.gaps.append(len(self.delivered)),
        )

    @property
    def monitor(self) -> FakeMonitor:
        """The monitor that is open."""
        return self.monitors.current


@asynccontextmanager
async def opened(refusals: int = 0) -> AsyncIterator[Opened]:
    """Open a source, and close it in the end."""
    one = Opened(refusals)
    one.source.open()
    try:
        yield one
    finally:
        one.source.close()
        await asyncio.sleep(0)


async def test_open_reports_a_gap() -> None:
    """Nothing reported what happened before."""
    async with opened() as one:
        assert one.gaps == [0]


async def test_events_are_delivered_in_order_and_counted() -> None:
    """Also if there are more than one batch takes."""
    events = list(range(2 * DRAIN_AT_ONCE + 1))
    async with opened() as one:
        one.monitor.feed(*events)
        await eventually(lambda: one.delivered == events)
        assert one.monitor.drains >= 3
        assert one.source.counts.events == len(events)
        assert one.source.counts.last_event is not None
        assert one.gaps == [0]


async def test_overflow_discards_what_waits_and_then_reports_one_gap(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Events before it are delivered; a second overflow meanwhile belongs to the same gap."""
    async with opened() as one:
        one.monitor.feed(1, 2)
        one.monitor.overflow()
        one.monitor.feed(*range(DRAIN_AT_ONCE + 1))
        one.monitor.overflow()
        one.monitor.feed(4)
        await eventually(lambda: len(one.gaps) == 2)
        assert (one.delivered, one.gaps, one.monitor.waiting) == ([1, 2], [0, 2], 0)
        assert one.source.counts.events == DRAIN_AT_ONCE + 4
        assert (one.source.counts.overflows, one.source.counts.errors) == (2, 0)
        one.monitor.feed(5)
        await eventually(lambda: one.delivered == [1, 2, 5])
    assert caplog.messages == ["lost numbers (ENOBUFS): reading the whole host again"]


async def test_event_that_cannot_be_parsed_is_a_gap() -> None:
    """It may have reported anything; the monitor stays open."""
    async with opened() as one:
        one.monitor.feed(EventsLost("EINVAL", overflow=False, usable=True))
        await eventually(lambda: len(one.gaps) == 2)
        assert (one.source.counts.overflows, one.source.counts.errors) == (0, 1)
        assert one.monitors.tries == 1


async def test_broken_monitor_is_opened_again() -> None:
    """There is a gap at once, and another one when it is open."""
    async with opened(refusals=0) as one:
        broken = one.monitor
        one.monitors.refusals = 3
        broken.fail()
        await eventually(lambda: len(one.gaps) == 2)
        assert broken.closed
        assert one.source.monitor is None
        await eventually(lambda: len(one.gaps) == 3)
        assert one.monitors.tries == 5
        one.monitor.feed(1)
        await eventually(lambda: one.delivered == [1])


async def test_monitor_that_is_refused_is_tried_again_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The gap is reported when it is open."""
    async with opened(refusals=3) as one:
        assert one.gaps == []
        await eventually(lambda: one.gaps == [0])
        assert one.monitors.tries == 4
    (message,) = caplog.messages
    assert message == (
        "cannot receive numbers: no netlink here; trying again every 0.01 s,"
        " and finding changes by the reconcile alone"
    )


async def test_closed_source_reports_nothing() -> None:
    """Neither what it was about to discard nor what it was about to open."""
    async with opened(refusals=1) as one:
        one.source.close()
        await asyncio.sleep(0.05)
        assert one.monitors.tries == 1
    async with opened() as one:
        one.monitor.overflow()
        one.source._on_readable(one.monitor)
        one.source.close()
        await asyncio.sleep(0.01)
        assert (one.source.counts.overflows, one.gaps) == (1, [0])


# -- the sources of a host -----------------------------------------------------------------


class Recorder(Reports):
    """Notes what sources report."""

    def __init__(self) -> None:
        self.uevents: list[Uevent] = []
        self.paths: set[str] = set()
        self.gaps = 0

    def on_uevents(self, uevents: Sequence[Uevent]) -> None:
        """Note uevents."""
        self.uevents.extend(uevents)

    def on_paths(self, paths: Set[str]) -> None:
        """Note paths."""
        self.paths |= paths

    def on_gap(self) -> None:
        """Note a gap."""
        self.gaps += 1


class Host:
    """The sources of a host, with monitors of the test's."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, root: str, events: EventChoice = "auto"
    ) -> None:
        self.reports = Recorder()
        self.uevents, self.links, self.directories = (FakeMonitors() for _ in range(3))
        monkeypatch.setattr(module, "LinkMonitor", self.links.open)
        monkeypatch.setattr(module, "DirectoryMonitor", lambda path, top: self.directories.open())
        options = FollowOptions(events=events)
        self.sources = Sources(root, options, self.reports, self.uevents)

    @property
    def opened(self) -> tuple[int, int, int]:
        """How many monitors were opened: uevents, links, directories."""
        return self.uevents.tries, self.links.tries, self.directories.tries


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Host]:
    """Return what makes the sources of a host."""
    return lambda root, events="auto": Host(monkeypatch, root, events)


@pytest.mark.parametrize(
    ("root", "events", "opened"),
    [
        ("/", "auto", (1, 1, 1)),
        ("/", "kernel", (1, 1, 1)),
        ("/", "none", (0, 0, 1)),
        ("/recorded", "auto", (0, 0, 1)),
        ("/recorded", "udev", (1, 0, 1)),
    ],
)
async def test_host_and_options_choose_the_monitors(
    make: Callable[..., Host], root: str, events: EventChoice, opened: tuple[int, int, int]
) -> None:
    """The uevents of this machine do not concern a recorded host, unless a test asks for them."""
    host = make(root, events)
    host.sources.open()
    assert host.opened == opened
    assert host.reports.gaps == sum(opened)
    host.sources.close()
    assert host.sources.event_source == "none"


async def test_every_source_reports_what_was_touched(make: Callable[..., Host]) -> None:
    """Uevents as they are; an interface and a directory of files by their paths."""
    host = make("/", "kernel")
    host.sources.open()
    host.uevents.current.uevent("add", "/sys/devices/a")
    host.links.current.feed(["eth0"], ["eth1", "eth0"], [])
    host.directories.current.feed("/etc/mdevctl.d")
    expected = {"/sys/class/net/eth0", "/sys/class/net/eth1", DEFINITIONS}
    await eventually(lambda: host.reports.paths == expected and bool(host.reports.uevents))
    assert host.reports.uevents == [Uevent("add", "/sys/devices/a", "pci")]
    host.sources.close()


async def test_losses_of_all_sources_are_counted_together(make: Callable[..., Host]) -> None:
    """Each is a gap."""
    host = make("/", "kernel")
    host.sources.open()
    host.uevents.current.overflow()
    host.links.current.overflow()
    host.links.current.feed(EventsLost("EINVAL", overflow=False, usable=True))
    await eventually(lambda: host.reports.gaps == 5)
    assert (host.sources.overflows, host.sources.errors) == (2, 1)
    host.sources.close()


async def test_uevents_come_from_udevd_while_it_runs(
    make: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its start and its stop are noticed when the follower asks, and are gaps."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(udev, "running", lambda: False)
    host = make("/")
    host.sources.open()
    for runs in (False, False, True, True, False):
        monkeypatch.setattr(udev, "running", lambda runs=runs: runs)
        host.sources.follow_udevd()
        assert host.sources.event_source == ("udev" if runs else "kernel")
    assert host.uevents.senders == ["kernel", "udev", "kernel"]
    assert [one.closed for one in host.uevents.opened] == [True, True, False]
    assert host.reports.gaps == 5
    host.sources.close()
    assert caplog.messages == [f"receiving uevents from {one}" for one in host.uevents.senders]


class Failing(FakeMonitor):
    """A monitor whose `drain` raises, and leaves its descriptor readable."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error
        self.feed(1)

    def drain(self) -> Iterator[int]:
        """Fail."""
        self.drains += 1
        raise self._error
        yield 1


@pytest.mark.parametrize(
    "error",
    [
        OSError(12, "Cannot allocate memory"),
        struct.error("short"),
        RuntimeError("unexpected"),
        EventsLost("ENOMEM", overflow=False, usable=True),
        EventsLost("ENOBUFS", overflow=True, usable=True),
    ],
    ids=repr,
)
async def test_error_that_stays_does_not_make_the_loop_spin(error: Exception) -> None:
    """The monitor is closed, opened again later, and what it lost is a gap."""
    failing = Failing(error)
    gaps: list[int] = []
    monitors: list[FakeMonitor] = [failing]

    def open_monitor() -> FakeMonitor:
        if failing.closed:
            monitors.append(FakeMonitor())
        return monitors[-1]

    delivered: list[int] = []
    source: Source[int] = Source(
        "numbers", open_monitor, delivered.extend, lambda: gaps.append(len(delivered))
    )
    source.open()
    try:
        await eventually(lambda: len(monitors) == 2 and source.monitor is monitors[1])
        assert failing.drains <= module.FAILURES_AT_MOST + 1
        monitors[1].feed(7)
        await eventually(lambda: delivered == [7])
        assert len(gaps) >= 2
    finally:
        source.close()


async def test_error_of_the_receiver_is_a_gap() -> None:
    """A defect in what takes the events costs a scan, and not the events after them."""
    gaps: list[None] = []
    monitors = FakeMonitors()
    taken: list[int] = []

    def deliver(events: list[int]) -> None:
        if not taken:
            taken.append(0)
            raise ValueError(events)
        taken.extend(events)

    source: Source[int] = Source("numbers", monitors.open, deliver, lambda: gaps.append(None))
    source.open()
    try:
        monitors.current.feed(1)
        await eventually(lambda: len(gaps) == 2)
        monitors.current.feed(2)
        await eventually(lambda: taken == [0, 2])
    finally:
        source.close()
