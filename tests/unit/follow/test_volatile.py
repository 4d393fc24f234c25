"""VolatileValues: a client waits only for values that are too old, and never without end."""

from __future__ import annotations

import math
import time

import pytest

from nodedevd.follow import volatile as module
from nodedevd.follow.options import FollowOptions
from nodedevd.follow.pending import Pending, Scan, Work
from nodedevd.follow.volatile import VolatileValues
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.system import System
from nodedevd.model.device import Device
from nodedevd.tree.graft import Reading
from tests.support.readings import assemble

AGE = 10.0
COMPUTER = Device("computer", None, None, None, None, None, (System(),), (), None, ())
PATHS = [f"/sys/devices/virtual/mtty/mtty{number}" for number in range(4)]
SNAPSHOT = assemble(
    COMPUTER,
    [
        Reading(path, "mtty", None, (MdevParent(types=(), children=()),), (), None, ())
        for path in PATHS
    ],
)
PARENTS = [SNAPSHOT.at(path) for path in PATHS]


class Values:
    """Volatile values of four parents, read `age` seconds ago."""

    def __init__(self, age: float, stuck_seconds: float = 3600.0) -> None:
        self.pending = Pending()
        options = FollowOptions(count_age_seconds=AGE, stuck_seconds=stuck_seconds)
        self.values = VolatileValues(self.pending, options)
        self.began = time.monotonic() - age
        self.values.note(Work(Scan.RESCAN), SNAPSHOT, self.began)

    def request(self, *numbers: int) -> set[str] | None:
        """Request parents; return the paths that are read for it, None if none is."""
        devices = [one for number in numbers if (one := PARENTS[number]) is not None]
        if self.values.refresh(devices) is None:
            return None
        return self.pending.take(SNAPSHOT).volatile


async def test_value_is_served_until_it_is_too_old() -> None:
    """By the clock at which its read began; what is not volatile is never too old."""
    young, old = Values(age=AGE - 5), Values(age=AGE + 1)
    assert young.request(0, 1) is None
    assert old.request(0, 1) == set(PATHS[:2])
    parent = PARENTS[0]
    assert parent is not None
    assert young.values.fresh_until(parent) == young.began + AGE
    assert young.values.fresh_until(COMPUTER) == math.inf
    assert old.values.refresh([COMPUTER]) is None


async def test_value_that_was_never_read_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the clock says."""
    values = VolatileValues(Pending(), FollowOptions(count_age_seconds=AGE))
    assert values.refresh([one for one in PARENTS if one is not None]) is not None


async def test_job_makes_fresh_what_it_read() -> None:
    """Both kinds of read count; the other values stay as old as they are."""
    values = Values(age=AGE + 1)
    values.values.note(Work(touched={PATHS[0]}, volatile={PATHS[1]}), SNAPSHOT, time.monotonic())
    assert values.request(0, 1) is None
    assert values.request(2) == {PATHS[2]}


async def test_device_that_is_gone_is_forgotten() -> None:
    """So is one without volatile values any more."""
    values = Values(age=0)
    values.values.note(Work(touched=set(PATHS)), assemble(COMPUTER, []), time.monotonic())
    assert values.values._read_at == {}


async def test_devices_requested_shortly_before_are_read_besides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Up to a number, and only those that are stale."""
    values = Values(age=AGE - 1)
    assert values.request(1, 2, 3) is None
    later = time.monotonic() + 2
    monkeypatch.setattr(time, "monotonic", lambda: later)
    values.values.note(Work(volatile={PATHS[3]}), SNAPSHOT, later)
    assert values.request(0) == set(PATHS[:3])
    monkeypatch.setattr(module, "READ_BESIDES", 1)
    assert len(values.request(0) or ()) == 2
    later += 3 * AGE
    assert values.request(3) == {PATHS[3]}


async def test_client_does_not_wait_for_threads_that_hang() -> None:
    """Stale values are better than no reply."""
    values = Values(age=AGE + 1, stuck_seconds=0.01)
    parent = PARENTS[0]
    assert parent is not None
    waiting = values.values.refresh([parent])
    assert waiting is not None
    await waiting
