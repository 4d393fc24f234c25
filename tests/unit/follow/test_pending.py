"""Pending: what is added is taken once, in one job, after its burst."""

from __future__ import annotations

import asyncio
import math
import time

import msgspec
import pytest

from nodedevd.follow import pending as module
from nodedevd.follow.pending import Pending, Scan, Work
from nodedevd.host.events.uevent import Uevent
from nodedevd.model.snapshot import Snapshot
from tests.support.fake_monitor import PATIENCE_SECONDS

NOTHING = Snapshot()
FOREVER = 3600.0
QUEUES = {"": "net", "/queues/rx-0": "queues", "/queues/tx-0": "queues"}


def take(pending: Pending) -> Work:
    """Return what a job takes, whenever it began."""
    work = pending.take(NOTHING)
    assert work.began <= time.monotonic()
    return msgspec.structs.replace(work, began=math.inf)


async def returns(pending: Pending) -> bool:
    """Return whether waiting ends at once."""
    try:
        await asyncio.wait_for(pending.wait(), 0.01)
    except TimeoutError:
        return False
    return True


async def test_everything_is_taken_at_once_and_only_once() -> None:
    """A uevent of an mdev touches its parent, too."""
    pending = Pending()
    pending.add([Uevent("add", "/sys/devices/a/uuid", "mdev")])
    pending.touch(["/sys/devices/b"])
    waiting = pending.refresh(["/sys/devices/c"])
    paths = {"/sys/devices/a/uuid", "/sys/devices/a", "/sys/devices/b"}
    assert pending.paths(NOTHING) == paths
    assert take(pending) == Work(Scan.NONE, paths, {"/sys/devices/c"}, waiting=[waiting])
    assert not pending
    assert take(pending) == Work()


async def test_queues_of_an_interface_are_nothing_to_read() -> None:
    """The kernel sends a uevent for each of them, before and after those of the interface."""
    pending = Pending()
    pending.add([Uevent("add", "/sys/devices/net/a/queues/rx-0", "queues")])
    assert not pending
    assert not await returns(pending)
    pending.add([Uevent("add", f"/sys/devices/net/a{one}", sub) for one, sub in QUEUES.items()])
    assert pending.take(NOTHING).touched == {"/sys/devices/net/a"}


async def test_device_with_a_uevent_remove_is_leaving() -> None:
    """Also after a job that failed."""
    pending = Pending()
    pending.add([Uevent("remove", "/sys/devices/a", "pci"), Uevent("add", "/sys/devices/b", "pci")])
    work = pending.take(NOTHING)
    assert work.leaving == {"/sys/devices/a"}
    pending.put_back(work)
    assert pending.take(NOTHING).leaving == {"/sys/devices/a"}
    assert pending.take(NOTHING).leaving == set()


@pytest.mark.parametrize("order", [1, -1])
async def test_rescan_includes_a_reconcile(order: int) -> None:
    """After a loss nobody can say that a change should have been reported."""
    pending = Pending()
    for scan in (Scan.RECONCILE, Scan.RESCAN)[::order]:
        pending.request(scan)
    assert pending.scan is Scan.RESCAN
    assert pending.take(NOTHING).scan is Scan.RESCAN
    assert pending.take(NOTHING).scan is Scan.NONE


async def test_too_many_uevents_become_a_rescan(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory they take is bounded."""
    monkeypatch.setattr(module, "UEVENTS_AT_MOST", 10)
    pending = Pending()
    pending.add([Uevent("add", f"/sys/devices/{number}", "pci") for number in range(10)])
    assert pending.scan is Scan.NONE
    pending.add([Uevent("add", "/sys/devices/10", "pci")])
    assert take(pending) == Work(Scan.RESCAN)


async def test_first_uevents_of_a_quiet_time_wait_for_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that follow wait for the rest of their burst, until there is a quiet time again."""
    monkeypatch.setattr(module, "COALESCE_SECONDS", (0.0, FOREVER))
    monkeypatch.setattr(module, "QUIET_SECONDS", FOREVER)
    pending = Pending()
    assert not await returns(pending)
    pending.add([Uevent("add", "/sys/devices/a", "pci"), Uevent("add", "/sys/devices/b", "pci")])
    assert await returns(pending)
    pending.take(NOTHING)
    for name in "cd":
        pending.add([Uevent("add", f"/sys/devices/{name}", "pci")])
        assert not await returns(pending)
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.0)
    pending.add([Uevent("add", "/sys/devices/e", "pci")])
    assert await returns(pending)
    assert pending.take(NOTHING).touched == {f"/sys/devices/{name}" for name in "cde"}


async def test_client_waits_for_no_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a client requests takes along what waits."""
    monkeypatch.setattr(module, "COALESCE_SECONDS", (FOREVER,))
    pending = Pending()
    pending.add([Uevent("add", "/sys/devices/a", "pci")])
    assert not await returns(pending)
    pending.refresh(["/sys/devices/b"])
    assert await returns(pending)
    assert pending.take(NOTHING).touched == {"/sys/devices/a"}


async def test_uevent_is_not_held_up_by_what_came_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An interface has a message of rtnetlink first; its uevent is still the first."""
    monkeypatch.setattr(module, "COALESCE_SECONDS", (0.0, FOREVER))
    pending = Pending()
    waiting = asyncio.create_task(pending.wait())
    pending.touch(["/sys/class/net/a"])
    assert not await returns(pending)
    pending.add([Uevent("add", "/sys/devices/a", "net")])
    await asyncio.wait_for(waiting, PATIENCE_SECONDS)
    assert pending.take(NOTHING).touched == {"/sys/class/net/a", "/sys/devices/a"}


async def test_wait_goes_on_while_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No path is nothing, and so is what was taken."""
    monkeypatch.setattr(module, "COALESCE_SECONDS", (0.0,))
    pending = Pending()
    pending.touch([])
    assert not await returns(pending)
    pending.touch(["/sys/devices/a"])
    assert await returns(pending)
    pending.take(NOTHING)
    assert not await returns(pending)


async def test_work_put_back_is_pending_together_with_what_came_meanwhile() -> None:
    """A job that failed loses nothing."""
    pending = Pending()
    pending.request(Scan.RECONCILE)
    pending.touch(["/sys/devices/a"])
    first = pending.refresh(["/sys/devices/b"])
    work = pending.take(NOTHING)
    pending.touch(["/sys/devices/c"])
    second = pending.refresh(["/sys/devices/d"])
    pending.put_back(work)
    assert take(pending) == Work(
        Scan.RECONCILE,
        {"/sys/devices/a", "/sys/devices/c"},
        {"/sys/devices/b", "/sys/devices/d"},
        waiting=[first, second],
    )


async def test_request_ends_with_the_job_that_took_it() -> None:
    """Not with the job before; a request that a client cancelled does not matter."""
    pending = Pending()
    first, gone = pending.refresh([]), pending.refresh([])
    work = pending.take(NOTHING)
    second = pending.refresh([])
    gone.cancel()
    pending.done(work)
    assert (first.done(), gone.cancelled(), second.done()) == (True, True, False)
    pending.close()
    assert second.cancelled()
