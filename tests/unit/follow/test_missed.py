"""MissedChanges: a change that a reconcile found is missed, unless an event reports it."""

from __future__ import annotations

import logging
from collections.abc import Set

import pytest

from nodedevd.follow import missed as module
from nodedevd.follow.missed import NAMES_LOGGED, MissedChanges
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.net import Net, NetLink
from nodedevd.kinds.shared.mdevctl import DIRECTORY as DEFINITIONS
from nodedevd.kinds.system import System
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.graft import Reading, graft
from tests.support.fake_monitor import eventually
from tests.support.readings import assemble

COMPUTER = Device("computer", None, None, None, None, None, (System(),), (), None, ())
EMPTY = assemble(COMPUTER, [])
NET = "/sys/devices/virtual/net/{}"
UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
PARENT = "/sys/devices/virtual/mtty/mtty"


LATE_SECONDS = 0.02


@pytest.fixture(autouse=True)
def short_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count changes as missed soon."""
    monkeypatch.setattr(module, "LATE_EVENT_SECONDS", LATE_SECONDS)


@pytest.fixture
def missed() -> MissedChanges:
    """Return the changes of no reconcile yet."""
    return MissedChanges()


def net(name: str) -> Reading:
    """Return an interface as it was read."""
    capability = Net(
        interface=name,
        address=None,
        devtype=None,
        link=NetLink(state="up", speed=None),
        features=None,
        medium="80203",
        uppers=(),
    )
    return Reading(NET.format(name), "net", None, (capability,), (), None, ())


def mdev(path: str) -> Reading:
    """Return an mdev, or a definition of it, as it was read."""
    capability = MdevChild(
        uuid=UUID,
        mdev_type=None,
        parent=None,
        parent_addr="mtty",
        parent_path=PARENT,
        iommu_group=None,
        vfio_device=None,
        state="complete",
        attributes=(),
        defined=True,
        definition=None,
        waits_for=None,
    )
    return Reading(f"{path}/{UUID}", "mdev", None, (capability,), (), None, ())


def reconcile(
    missed: MissedChanges, *readings: Reading, reported: Set[str] = frozenset()
) -> Snapshot:
    """Have a reconcile find these devices, which are new."""
    update = graft(EMPTY, readings=readings)
    assert len(update.changes) == len(readings)
    missed.found(update.changes, reported, update.snapshot)
    return update.snapshot


async def counted(missed: MissedChanges) -> int:
    """Wait until it is too late for events, and return how many changes were missed."""
    await eventually(lambda: not missed)
    return missed.count


async def test_change_without_an_event_is_counted_and_named(
    missed: MissedChanges, caplog: pytest.LogCaptureFixture
) -> None:
    """Once; the next reconcile counts its own changes only."""
    with caplog.at_level(logging.INFO):
        reconcile(missed, net("eth0"), net("eth1"))
        assert await counted(missed) == 2
        reconcile(missed, net("eth2"))
        assert await counted(missed) == 3
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        "net_eth0 added, net_eth1 added",
        "net_eth2 added",
    ]


async def test_many_missed_changes_are_one_line_of_the_log(
    missed: MissedChanges, caplog: pytest.LogCaptureFixture
) -> None:
    """All are counted, the first are named."""
    with caplog.at_level(logging.INFO):
        reconcile(missed, *[net(f"eth{number:03}") for number in range(NAMES_LOGGED + 5)])
        assert await counted(missed) == NAMES_LOGGED + 5
    (record,) = caplog.records
    assert record.getMessage().endswith("and 5 more")


@pytest.mark.parametrize("reported", [NET.format("eth0"), "/sys/class/net/eth0"])
@pytest.mark.parametrize("late", [False, True])
async def test_reported_change_is_not_missed(
    missed: MissedChanges, reported: str, late: bool
) -> None:
    """A uevent reports a path and rtnetlink a link, before the reconcile or soon after it."""
    snapshot = reconcile(missed, net("eth0"), net("eth1"), reported=set() if late else {reported})
    if late:
        missed.explain({reported}, snapshot)
    assert await counted(missed) == 1


async def test_event_of_another_device_explains_nothing(missed: MissedChanges) -> None:
    """The change is missed all the same."""
    snapshot = reconcile(missed, net("eth0"))
    missed.explain(set(), snapshot)
    missed.explain({"/sys/devices/virtual/net/eth9"}, snapshot)
    assert await counted(missed) == 1


async def test_change_of_a_definition_is_reported_by_its_directory(missed: MissedChanges) -> None:
    """Inotify reports that definitions changed, not which; an interface stays unexplained."""
    reconcile(missed, mdev(f"{DEFINITIONS}/mtty"), net("eth0"), reported={DEFINITIONS})
    assert await counted(missed) == 1


async def test_move_is_reported_by_the_old_path(missed: MissedChanges) -> None:
    """An mdev that is stopped moves from sysfs to its definition, under one name."""
    old = graft(EMPTY, readings=[mdev(PARENT)]).snapshot
    update = graft(old, gone=[f"{PARENT}/{UUID}"], readings=[mdev(f"{DEFINITIONS}/mtty")])
    missed.found(update.changes, set(), update.snapshot)
    missed.explain({f"{PARENT}/{UUID}"}, update.snapshot)
    assert not missed


async def test_loss_of_events_clears_the_changes(missed: MissedChanges) -> None:
    """The lost events may have reported them; the next reconcile has its own time."""
    reconcile(missed, net("eth0"))
    missed.clear()
    assert not missed
    reconcile(missed, net("eth1"))
    assert await counted(missed) == 1
