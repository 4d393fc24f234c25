"""Rereads: retries with backoff, counts after a removal, and reconciles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from msgspec import structs

from nodedevd.follow import rereads as module
from nodedevd.follow.options import FollowOptions
from nodedevd.follow.pending import Pending, Scan
from nodedevd.follow.rereads import Rereads
from nodedevd.kinds.mdev_child import MdevChild, State
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.shared.mdevctl import definition_path
from nodedevd.kinds.system import System
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.changes import Added, Changed, Removed
from nodedevd.model.device import Device
from nodedevd.model.store import Store
from nodedevd.tree.graft import Reading, graft
from tests.support.fake_monitor import eventually
from tests.support.readings import assemble

COMPUTER = Device("computer", None, None, None, None, None, (System(),), (), None, ())
PARENT = "/sys/devices/virtual/mtty/mtty"
UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
MDEV = f"{PARENT}/{UUID}"
FOREVER = 3600.0


class Noted(Pending):
    """Notes each request, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.touches: list[set[str]] = []
        self.recounts: list[set[str]] = []
        self.scans: list[Scan] = []
        self.polls: list[set[str]] = []

    def poll(self, paths: Iterable[str]) -> None:
        """Note paths."""
        self.polls.append(set(paths))

    def touch(self, paths: Iterable[str]) -> None:
        """Note paths."""
        self.touches.append(set(paths))

    def recount(self, paths: Iterable[str]) -> None:
        """Note paths."""
        self.recounts.append(set(paths))

    def request(self, scan: Scan) -> None:
        """Note a scan."""
        self.scans.append(scan)


def reading(path: str, capability: MdevChild | MdevParent | Vgpu) -> Reading:
    """Return a device as it was read."""
    return Reading(path, "mdev", None, (capability,), (), None, ())


def function(name: str) -> Device:
    """Return a function with vendor VFIO."""
    capability = Vgpu(
        current=None, creatable=(), params=None, placement_id=None, gpu_instance_id=None
    )
    found = assemble(COMPUTER, [reading(f"/sys/devices/{name}", capability)])
    return found.lookup(f"/sys/devices/{name}")


def mdev(*, state: State) -> Reading:
    """Return an mdev in a state."""
    capability = MdevChild(
        uuid=UUID,
        mdev_type=None,
        parent=None,
        parent_addr="mtty",
        parent_path=PARENT,
        iommu_group=None,
        vfio_device=None,
        state=state,
        attributes=(),
        defined=False,
        definition=None,
        waits_for=None,
    )
    return reading(MDEV, capability)


class Following:
    """Rereads over a store with a parent and its mdev."""

    def __init__(self, options: FollowOptions) -> None:
        parent = reading(PARENT, MdevParent(types=(), children=()))
        self.pending = Noted()
        self.store = Store(assemble(COMPUTER, [parent, mdev(state="incomplete")]))
        self.rereads = Rereads(self.pending, self.store, options)

    @property
    def mdev(self) -> Device:
        """The mdev as the store has it."""
        return self.store.snapshot.lookup(UUID)

    def complete(self) -> None:
        """Publish the mdev with its type."""
        self.store.publish(graft(self.store.snapshot, readings=[mdev(state="complete")]))

    def remove(self, *paths: str) -> None:
        """Publish a tree without these devices."""
        self.store.publish(graft(self.store.snapshot, gone=paths))


@asynccontextmanager
async def following(
    reconcile_seconds: float = 0.0, poll_seconds: float = 0.0
) -> AsyncIterator[Following]:
    """Start rereads, and check that nothing of them is left in the end."""
    options = FollowOptions(reconcile_seconds=reconcile_seconds, poll_seconds=poll_seconds)
    one = Following(options)
    one.rereads.start()
    try:
        yield one
    finally:
        one.rereads.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not one.rereads._tasks


async def test_incomplete_mdev_is_read_again_until_it_is_complete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With its parent, and for ever at the last delay; a change meanwhile does not hurry it."""
    monkeypatch.setattr(module, "INCOMPLETE_SECONDS", (0.001, 0.002))
    async with following() as one:
        one.rereads.after([Added(one.mdev)])
        one.rereads.after([Changed(one.mdev, one.mdev)])
        await eventually(lambda: len(one.pending.touches) == 10)
        assert all(paths == {MDEV, PARENT} for paths in one.pending.touches)
        one.complete()
        await eventually(lambda: not one.rereads._tasks)
        one.rereads.after([Changed(one.mdev, one.mdev)])
        assert not one.rereads._tasks


async def test_incomplete_mdev_that_goes_is_read_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept of it."""
    monkeypatch.setattr(module, "INCOMPLETE_SECONDS", (0.001,))
    async with following() as one:
        one.rereads.after([Added(one.mdev)])
        one.remove(MDEV)
        await eventually(lambda: not one.rereads._tasks)
        assert one.pending.touches == []


async def test_parent_is_counted_twice_after_the_last_of_its_mdevs_went(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel frees a slot late; removals that follow each other have the same reads."""
    monkeypatch.setattr(module, "AFTER_REMOVAL_SECONDS", (0.01, 0.01))
    async with following() as one:
        for _ in range(3):
            one.rereads.after([Removed(one.mdev)])
        await eventually(lambda: not one.rereads._tasks)
        assert one.pending.recounts == [{PARENT}, {PARENT}]


async def test_parent_that_is_gone_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mdevs of a card go before the card."""
    monkeypatch.setattr(module, "AFTER_REMOVAL_SECONDS", (0.001, 0.001))
    async with following() as one:
        gone = one.mdev
        one.remove(MDEV, PARENT)
        one.rereads.after([Removed(gone)])
        await eventually(lambda: not one.rereads._tasks)
        assert one.pending.recounts == []


async def test_leaving_device_is_read_again_until_it_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A few times only: another device may have taken its place."""
    monkeypatch.setattr(module, "LEAVING_SECONDS", (0.001, 0.001))
    async with following() as one:
        one.rereads.leaving({PARENT, "/sys/devices/unknown"})
        await eventually(lambda: not one.rereads._tasks)
        assert one.pending.touches == [{PARENT}, {PARENT}]
        one.rereads.leaving({PARENT})
        one.remove(MDEV, PARENT)
        await eventually(lambda: not one.rereads._tasks)
        assert len(one.pending.touches) == 2


async def test_removal_that_begins_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first read may have come between two steps of the kernel; the tries are not endless."""
    monkeypatch.setattr(module, "LEAVING_SECONDS", (0.001, 0.001))
    async with following() as one:
        one.complete()
        leaving = graft(one.store.snapshot, readings=[mdev(state="removing")]).snapshot.lookup(UUID)
        one.rereads.after([Changed(one.mdev, leaving), Changed(leaving, leaving)])
        await eventually(lambda: not one.rereads._tasks)
        assert one.pending.touches == [{MDEV}, {MDEV}]


async def test_host_is_reconciled_again_and_again() -> None:
    """At the interval; never without one."""
    async with following(reconcile_seconds=0.001) as one:
        await eventually(lambda: len(one.pending.scans) > 2)
        assert set(one.pending.scans) == {Scan.RECONCILE}
    async with following(reconcile_seconds=0.0) as one:
        assert not one.rereads._tasks


async def test_functions_with_vendor_vfio_are_polled() -> None:
    """As long as there are any; no other device is."""
    one_function, other = function("one"), function("other")
    async with following(poll_seconds=0.001) as one:
        one.rereads.after([Added(one.store.snapshot.lookup(PARENT))])
        assert not one.rereads._tasks
        one.rereads.after([Added(one_function), Added(other), Changed(other, other)])
        await eventually(lambda: len(one.pending.polls) > 2)
        assert one.pending.polls[0] == {"/sys/devices/one", "/sys/devices/other"}
        one.rereads.after([Removed(one_function), Removed(other)])
        await eventually(lambda: "poll" not in one.rereads._tasks)
        assert set() not in one.pending.polls[:-1]


async def test_active_mdevs_are_polled() -> None:
    """Not one that was stopped, of which the definition is left."""
    async with following(poll_seconds=0.001) as one:
        one.complete()
        active = one.mdev
        stopped = structs.replace(active, path=definition_path("mtty", UUID))
        one.rereads.after([Added(active)])
        await eventually(lambda: len(one.pending.polls) > 2)
        assert one.pending.polls[0] == {MDEV}
        one.rereads.after([Changed(active, stopped)])
        await eventually(lambda: "poll" not in one.rereads._tasks)
        assert set() not in one.pending.polls[:-1]


async def test_polls_begin_again_with_the_next_device() -> None:
    """Even one that comes when the task has ended, and is not forgotten yet."""
    async with following(poll_seconds=0.001) as one:
        ended = one.rereads._tasks["poll"] = asyncio.create_task(asyncio.sleep(0))
        await ended
        one.rereads.after([Added(function("one"))])
        await eventually(lambda: len(one.pending.polls) > 0)


async def test_nothing_is_polled_without_an_interval() -> None:
    """The interval 0 switches it off."""
    async with following(poll_seconds=0.0) as one:
        one.rereads.after([Added(function("one"))])
        assert not one.rereads._tasks


async def test_close_ends_all_rereads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that wait for their time included."""
    monkeypatch.setattr(module, "INCOMPLETE_SECONDS", (FOREVER,))
    async with following(reconcile_seconds=FOREVER) as one:
        one.rereads.after([Added(one.mdev), Removed(one.mdev)])
        assert len(one.rereads._tasks) == 3
