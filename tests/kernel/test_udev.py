"""udev: real uevents of this machine's kernel, and a buffer that is too small."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import select
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
import pyudev

from nodedevd.follow.follower import Follower
from nodedevd.follow.options import FollowOptions
from nodedevd.follow.sources import DRAIN_AT_ONCE
from nodedevd.host.events import udev
from nodedevd.host.events.lost import EventsLost
from nodedevd.host.events.udev import Monitor
from nodedevd.host.events.uevent import Uevent
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.device import Device
from nodedevd.model.store import Store
from nodedevd.server.encodings import Encodings
from nodedevd.server.varlink.watch import Filter, WatchReplies, WatchStream
from nodedevd.tree.read import scan
from tests.support.fake_monitor import eventually
from tests.support.real_devices import RealDevice, others_may_change
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
    """Wait until an event arrives."""
    return bool(select.select([monitor.fileno()], [], [], 20)[0])


def drained(monitor: Monitor, path: str) -> list[Uevent]:
    """Return the uevents of a device that have arrived."""
    return [one for one in monitor.drain() if one.path == path]


@pytest.mark.needs("uevents")
def test_uevent_of_the_kernel_arrives(real_device: RealDevice, monitor: Monitor) -> None:
    """Action, path and subsystem are taken from it; afterwards the monitor is empty."""
    real_device.change()
    found: list[Uevent] = []
    while not found:
        assert arrived(monitor)
        found = drained(monitor, real_device.path)
    assert found == [Uevent("change", real_device.path, real_device.subsystem)]
    assert drained(monitor, real_device.path) == []


@pytest.mark.needs("uevents")
def test_drain_may_stop_in_the_middle(real_device: RealDevice, monitor: Monitor) -> None:
    """The next drain yields the rest."""
    for _ in range(5):
        real_device.change()
    assert arrived(monitor)
    assert len(list(islice(monitor.drain(), 2))) == 2
    assert len(list(monitor.drain())) >= 3
    assert drained(monitor, real_device.path) == []


@pytest.mark.needs("uevents")
def test_overflow_is_raised_once_and_the_monitor_stays_usable(real_device: RealDevice) -> None:
    """The error is cleared on the socket; the events before it are still there."""
    monitor = Monitor("kernel", SMALL_BYTES)
    for _ in range(DROPPED):
        real_device.change()
    with pytest.raises(EventsLost) as caught:
        list(monitor.drain())
    assert caught.value.overflow
    assert caught.value.usable
    assert str(caught.value) == "ENOBUFS"
    assert 0 < len(drained(monitor, real_device.path)) < DROPPED
    assert drained(monitor, real_device.path) == []
    real_device.change()
    assert arrived(monitor)
    assert drained(monitor, real_device.path) == [
        Uevent("change", real_device.path, real_device.subsystem)
    ]
    monitor.close()


def test_buffer_is_as_large_as_the_kernel_grants(monitor: Monitor) -> None:
    """Root gets the requested size; `buffer_bytes` has the granted one."""
    if os.geteuid() == 0:
        assert monitor.buffer_bytes == udev.RECEIVE_BUFFER_BYTES
    assert monitor.buffer_bytes > 0


def test_closed_monitor_leaves_no_descriptor() -> None:
    """The last reference to it closes it, in libudev."""
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
        (ValueError("Invalid argument"), "EINVAL"),
        (MemoryError("Cannot allocate memory"), "ENOMEM"),
        (OverflowError("Value too large for defined data type"), "EOVERFLOW"),
    ],
)
def test_record_that_cannot_be_parsed_is_an_error_and_skipped(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    """EINVAL, by which libudev refuses large records, leaves the socket usable.

    pyudev has other exceptions for it and for two more.
    """

    def poll(timeout: float) -> None:
        raise error

    pyudev_monitor = SimpleNamespace(poll=poll, fileno=monitor._monitor.fileno)
    monkeypatch.setattr(monitor, "_monitor", pyudev_monitor)
    with pytest.raises(EventsLost) as caught:
        list(monitor.drain())
    assert (caught.value.reason, caught.value.overflow, caught.value.usable) == (
        reason,
        False,
        True,
    )


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.EMFILE, "Too many open files"), errno.EMFILE),
        (MemoryError("Cannot allocate memory"), errno.ENOMEM),
        (ValueError("Invalid argument"), errno.EINVAL),
    ],
)
def test_monitor_that_cannot_be_opened_is_an_oserror(
    monkeypatch: pytest.MonkeyPatch, error: Exception, number: int
) -> None:
    """Whatever pyudev raises: the caller then tries again."""

    def refuse(context: object, source: str) -> None:
        raise error

    monkeypatch.setattr(pyudev.Monitor, "from_netlink", refuse)
    with pytest.raises(OSError, match=r"\w") as caught:
        Monitor("kernel")
    assert caught.value.errno == number


def test_descriptor_that_is_closed_makes_the_monitor_unusable(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has to be opened again."""

    def poll(timeout: float) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(monitor, "_monitor", SimpleNamespace(poll=poll, fileno=lambda: 1_000_000))
    with pytest.raises(EventsLost) as caught:
        list(monitor.drain())
    assert not caught.value.usable


def test_name_that_is_not_utf_8_counts_as_lost(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of an interface can be any bytes; the scan that follows reads it."""

    class Odd:
        action = "add"
        subsystem = "net"

        @property
        def sys_path(self) -> str:
            return b"/sys/devices/virtual/net/\xff".decode()

    pyudev_monitor = SimpleNamespace(poll=lambda timeout: Odd(), fileno=monitor.fileno)
    monkeypatch.setattr(monitor, "_monitor", pyudev_monitor)
    with pytest.raises(EventsLost) as caught:
        list(monitor.drain())
    assert caught.value.usable


def test_move_has_the_old_path(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """DEVPATH_OLD matters only for a move."""

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
    assert [one.old_path for one in monitor.drain()] == ["/sys/devices/virtual/net/old", None]


def of_this_test(devices: Iterable[Device]) -> list[Device]:
    """Return the devices that no other program changes."""
    return [one for one in devices if not others_may_change(one.name)]


@pytest.mark.needs("uevents")
async def test_follower_survives_overflows_of_the_kernel(real_device: RealDevice) -> None:
    """Each is counted and leads to a scan; the loop does not spin, and a watcher is right."""
    store = Store()
    sysroot = Sysroot()
    options = FollowOptions(events="kernel", reconcile_seconds=0.0, buffer_bytes=SMALL_BYTES)
    drains = 0

    class Counted(Monitor):
        def drain(self) -> Iterator[Uevent]:
            nonlocal drains
            drains += 1
            return super().drain()

    follower = Follower(sysroot, store, options, open_monitor=Counted)
    await follower.start()
    watch = WatchStream(WatchReplies(Encodings(store)), Filter(), snapshot=True, content="json")
    mirror = Mirror()
    list(mirror.take(watch))

    def block(times: int, what: Callable[[], None]) -> None:
        for _ in range(times):
            what()

    for round_ in range(3):
        block(DROPPED, real_device.change)  # with the loop blocked meanwhile
        await eventually(lambda: follower.followed.overflows > round_)  # noqa: B023
        await eventually(lambda: follower.followed.rescans > round_)  # noqa: B023
    assert drains < 3 * (SMALL_BYTES + DRAIN_AT_ONCE)
    before, events = drains, follower.followed.events
    for _ in range(200):
        await asyncio.sleep(0)
    assert drains - before <= follower.followed.events - events  # Others may have uevents.
    found = await asyncio.to_thread(scan, Sysroot())
    assert of_this_test(store.snapshot) == of_this_test(found)
    list(mirror.take(watch))
    assert mirror.devices == {one.name: one for one in store.snapshot}
    assert follower.followed.monitor_errors == 0
    watch.close()
    await follower.close(5)


def test_udevd_is_known_by_its_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same sign as libudev."""
    control = tmp_path / "control"
    monkeypatch.setattr(udev, "UDEV_CONTROL", str(control))
    assert not udev.running()
    control.touch()
    assert udev.running()
