"""The monitor on this machine's own kernel: real uevents, and a buffer that is too small."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import select
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from nodedevd.follow.follower import DRAIN_AT_ONCE, Follower, Options
from nodedevd.host.events import udev
from nodedevd.host.events.udev import EventsLost, Monitor
from nodedevd.host.events.uevent import Uevent
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.store import Store
from nodedevd.server.encodings import Encodings
from nodedevd.server.varlink.watch import Filter, WatchReplies, WatchStream
from nodedevd.tree.read import scan
from tests.support.fake_monitor import eventually
from tests.support.real_devices import real_device
from tests.support.watching import Mirror

SMALL_BYTES = 4096
DROPPED = 3_000


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    """Return a monitor of the kernel's uevents."""
    monitor = Monitor("kernel")
    yield monitor
    monitor.close()


def arrived(monitor: Monitor) -> bool:
    """Wait for something to arrive."""
    return bool(select.select([monitor.fileno()], [], [], 20)[0])


def drained(monitor: Monitor, path: str) -> list[Uevent]:
    """Return the uevents about a device that are there."""
    return [one for one in monitor.drain(DRAIN_AT_ONCE) if one.path == path]


def test_uevent_of_the_kernel_arrives(monitor: Monitor) -> None:
    """What is acted upon is taken from it, and then there is nothing more."""
    path, subsystem, change = real_device()
    change()
    found: list[Uevent] = []
    while not found:
        assert arrived(monitor)
        found = drained(monitor, path)
    assert found == [Uevent("change", path, subsystem)]
    assert drained(monitor, path) == []


def test_drain_yields_no_more_than_asked_for(monitor: Monitor) -> None:
    """Others have their turn on the loop in between."""
    change = real_device()[2]
    for _ in range(5):
        change()
    assert arrived(monitor)
    assert len(list(monitor.drain(2))) == 2
    assert len(list(monitor.drain(2))) == 2
    assert list(monitor.drain(0)) == []


def test_overflow_is_told_once_and_the_monitor_goes_on() -> None:
    """The error is taken off the socket; what was received before it is still there."""
    path, subsystem, change = real_device()
    monitor = Monitor("kernel", SMALL_BYTES)
    for _ in range(DROPPED):
        change()
    with pytest.raises(EventsLost) as caught:
        list(monitor.drain(DRAIN_AT_ONCE))
    assert caught.value.overflow
    assert caught.value.usable
    assert str(caught.value) == "ENOBUFS"
    assert 0 < len(drained(monitor, path)) < DROPPED
    assert drained(monitor, path) == []
    change()
    assert arrived(monitor)
    assert drained(monitor, path) == [Uevent("change", path, subsystem)]
    monitor.close()


def test_buffer_is_as_large_as_the_kernel_grants(monitor: Monitor) -> None:
    """Root gets what it asks for; what was granted is told."""
    if os.geteuid() == 0:
        assert monitor.buffer_bytes == udev.RECEIVE_BUFFER_BYTES
    assert monitor.buffer_bytes > 0


def test_closed_monitor_leaves_no_descriptor() -> None:
    """It is libudev that closes it, once nothing holds the object."""
    gc.collect()
    before = os.listdir("/proc/self/fd")
    monitor = Monitor("kernel")
    assert len(os.listdir("/proc/self/fd")) > len(before)
    monitor.close()
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EINVAL, "Invalid argument"), "EINVAL"),
        (OSError("Error while polling fd"), "Error while polling fd"),
    ],
)
def test_record_that_makes_no_sense_is_told_and_skipped(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch, error: OSError, reason: str
) -> None:
    """Records that are too large libudev refuses with EINVAL; the socket is as good as before."""

    def poll(timeout: float) -> None:
        raise error

    pyudev_monitor = SimpleNamespace(poll=poll, fileno=monitor._monitor.fileno)
    monkeypatch.setattr(monitor, "_monitor", pyudev_monitor)
    with pytest.raises(EventsLost) as caught:
        list(monitor.drain(1))
    assert (caught.value.reason, caught.value.overflow, caught.value.usable) == (
        reason,
        False,
        True,
    )


def test_descriptor_that_is_closed_makes_the_monitor_unusable(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has to be opened anew."""

    def poll(timeout: float) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(monitor, "_monitor", SimpleNamespace(poll=poll, fileno=lambda: 1_000_000))
    with pytest.raises(EventsLost) as caught:
        list(monitor.drain(1))
    assert not caught.value.usable


def test_name_that_is_no_text_is_told_as_lost(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interface may be named by any bytes; the scan that follows reads it as it is."""

    class Odd:
        action = "add"
        subsystem = "net"

        @property
        def sys_path(self) -> str:
            return b"/sys/devices/virtual/net/\xff".decode()

    pyudev_monitor = SimpleNamespace(poll=lambda timeout: Odd(), fileno=monitor.fileno)
    monkeypatch.setattr(monitor, "_monitor", pyudev_monitor)
    with pytest.raises(EventsLost) as caught:
        list(monitor.drain(1))
    assert caught.value.usable


def test_move_has_the_old_path(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """DEVPATH_OLD is a path of its own only for a move."""

    def device(action: str) -> SimpleNamespace:
        return SimpleNamespace(
            action=action,
            sys_path="/sys/devices/virtual/net/new",
            subsystem="net",
            properties={"DEVPATH_OLD": "/devices/virtual/net/old"},
        )

    devices = iter([device("move"), device("add"), None])
    pyudev_monitor = SimpleNamespace(poll=lambda timeout: next(devices), fileno=monitor.fileno)
    monkeypatch.setattr(monitor, "_monitor", pyudev_monitor)
    assert [one.old_path for one in monitor.drain(10)] == ["/sys/devices/virtual/net/old", None]


async def test_follower_survives_overflows_of_the_kernel() -> None:
    """Counted, cleared, made good by a scan; nothing spins, and the watcher has it right."""
    change = real_device()[2]
    store = Store()
    sysroot = Sysroot()
    options = Options(events="kernel", reconcile_seconds=0.0, buffer_bytes=SMALL_BYTES)
    drains = 0

    class Counted(Monitor):
        def drain(self, most: int) -> Iterator[Uevent]:
            nonlocal drains
            drains += 1
            return super().drain(most)

    follower = Follower(sysroot, store, options, open_monitor=Counted)
    await follower.start()
    watch = WatchStream(WatchReplies(Encodings(store)), Filter(), snapshot=True, content="json")
    mirror = Mirror()
    list(mirror.take(watch))

    def block(times: int, what: Callable[[], None]) -> None:
        for _ in range(times):
            what()

    for round_ in range(3):
        block(DROPPED, change)  # with the loop blocked meanwhile
        await eventually(lambda: follower.counters.overflows > round_)  # noqa: B023
        await eventually(lambda: follower.counters.rescans > round_)  # noqa: B023
    assert drains < 3 * (SMALL_BYTES + DRAIN_AT_ONCE)
    before = drains
    for _ in range(200):
        await asyncio.sleep(0)
    assert drains == before
    assert list(store.snapshot) == list(await asyncio.to_thread(scan, Sysroot()))
    list(mirror.take(watch))
    assert mirror.devices == {one.name: one for one in store.snapshot}
    assert follower.counters.monitor_errors == 0
    watch.close()
    await follower.close(5)


def test_udevd_is_known_by_its_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As libudev does it."""
    control = tmp_path / "control"
    monkeypatch.setattr(udev, "UDEV_CONTROL", str(control))
    assert not udev.running()
    control.touch()
    assert udev.running()
