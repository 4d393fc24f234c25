"""What a reconcile finds is missed, unless something told of it, early or late."""

from __future__ import annotations

import logging

import pytest

from nodedevd.follow.missed import SHOWN, Missed
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.net import Net, NetLink
from nodedevd.kinds.shared.mdevctl import DIRECTORY as DEFINITIONS
from nodedevd.kinds.system import System
from nodedevd.model.changes import Change
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.graft import Reading, graft
from tests.support.readings import assemble

COMPUTER = Device("computer", None, None, None, None, None, (System(),), (), None, ())
EMPTY = assemble(COMPUTER, [])
NET = "/sys/devices/virtual/net/{}"
UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
PARENT = "/sys/devices/virtual/mtty/mtty"


def net(name: str) -> Reading:
    """Return an interface as it was read."""
    capability = Net(
        interface=name,
        address=None,
        devtype=None,
        link=NetLink(state="up", speed=None),
        features=None,
        medium="80203",
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
        defined=True,
        autostart=False,
        attributes=(),
        waits_for=None,
    )
    return Reading(f"{path}/{UUID}", "mdev", None, (capability,), (), None, ())


def found(*readings: Reading, old: Snapshot = EMPTY) -> tuple[Missed, Snapshot]:
    """Return what a reconcile took up that found these devices new."""
    update = graft(old, readings=readings)
    changes: tuple[Change, ...] = update.changes
    assert len(changes) == len(readings)
    missed = Missed()
    missed.suspect(changes)
    assert missed
    return missed, update.snapshot


def test_change_nobody_tells_of_is_counted_and_named(caplog: pytest.LogCaptureFixture) -> None:
    """It counts once, and is forgotten then."""
    missed, _ = found(net("eth0"), net("eth1"))
    with caplog.at_level(logging.INFO):
        assert missed.convict() == 2
    (record,) = caplog.records
    assert "net_eth0 added, net_eth1 added" in record.getMessage()
    assert not missed
    assert missed.convict() == 0


def test_many_changes_are_logged_in_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """All are counted, the first named."""
    missed, _ = found(*[net(f"eth{number:03}") for number in range(SHOWN + 5)])
    with caplog.at_level(logging.INFO):
        assert missed.convict() == SHOWN + 5
    (record,) = caplog.records
    assert record.getMessage().endswith("and 5 more")


@pytest.mark.parametrize("told", [NET.format("eth0"), "/sys/class/net/eth0"])
def test_device_that_is_told_of_is_not_missed(told: str) -> None:
    """By its path, as a uevent does, or by its link, as rtnetlink does; others stay."""
    missed, snapshot = found(net("eth0"), net("eth1"))
    missed.acquit({told}, snapshot)
    assert missed.convict() == 1


@pytest.mark.parametrize("told", [set(), {"/sys/devices/virtual/net/eth9"}])
def test_what_others_are_told_of_excuses_nothing(told: set[str]) -> None:
    """A uevent of another device is no sign."""
    missed, snapshot = found(net("eth0"))
    missed.acquit(told, snapshot)
    assert missed.convict() == 1


def test_definition_is_told_of_by_its_directory() -> None:
    """Inotify says that definitions changed, not which; an interface is not excused by it."""
    missed, snapshot = found(mdev(f"{DEFINITIONS}/mtty"), net("eth0"))
    missed.acquit({DEFINITIONS}, snapshot)
    assert missed.convict() == 1


def test_device_that_moved_is_told_of_by_its_old_path() -> None:
    """An mdev that is stopped goes from sysfs to its definition, under one name."""
    old = graft(EMPTY, readings=[mdev(PARENT)]).snapshot
    update = graft(old, gone=[f"{PARENT}/{UUID}"], readings=[mdev(f"{DEFINITIONS}/mtty")])
    missed = Missed()
    missed.suspect(update.changes)
    missed.acquit({f"{PARENT}/{UUID}"}, update.snapshot)
    assert not missed
