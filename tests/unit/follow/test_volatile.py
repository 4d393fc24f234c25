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
        self.values.note(Work(Scan.RESCAN, began=self.began), SNAPSHOT, {})

    def request(self, *numbers: int) -> set[str] | None:
        """Request parents; return the paths that are read for it, None if none is."""
        devices = [one for number in numbers if (one := PARENTS[number]) is not None]
        if self.values.refresh(devices) is None:
            return None
        work = self.pending.take(SNAPSHOT)
        self.values.read_besides(work)
        self.pending.done(work)
        return work.volatile


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
    work = Work(touched={PATHS[0]}, volatile={PATHS[1]}, began=time.monotonic())
    values.values.note(work, SNAPSHOT, {})
    assert values.request(0, 1) is None
    assert values.request(2) == {PATHS[2]}


@pytest.mark.parametrize("work", [Work(Scan.RESCAN), Work(volatile=set(PATHS))])
async def test_age_of_a_value_counts_from_the_read_of_its_device(work: Work) -> None:
    """A scan takes seconds on a large host, and reads most devices long after it began."""
    values = Values(age=AGE + 1)
    work.began = time.monotonic() - AGE - 1
    values.values.note(work, SNAPSHOT, {PATHS[0]: time.monotonic()})
    assert values.request(0) is None
    assert values.request(1) == {PATHS[1]}


async def test_device_that_is_gone_is_forgotten() -> None:
    """So is one without volatile values any more."""
    values = Values(age=0)
    work = Work(touched=set(PATHS), began=time.monotonic())
    values.values.note(work, assemble(COMPUTER, []), {})
    assert values.values._read_at == {}


async def test_devices_requested_shortly_before_are_read_besides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Up to a number, and only those that are stale."""
    values = Values(age=AGE - 1)
    assert values.request(1, 2, 3) is None
    later = time.monotonic() + 2
    monkeypatch.setattr(time, "monotonic", lambda: later)
    values.values.note(Work(volatile={PATHS[3]}, began=later), SNAPSHOT, {})
    assert values.request(0) == set(PATHS[:3])
    monkeypatch.setattr(module, "READ_BESIDES", 1)
    assert len(values.request(0) or ()) == 2
    later += 3 * AGE
    assert values.request(3) == {PATHS[3]}


async def test_values_that_are_being_read_are_not_read_again() -> None:
    """Many clients ask for the same devices at once: each is read once, and all are answered."""
    values = Values(age=AGE + 1)
    first = values.values.refresh([one for one in PARENTS[:2] if one is not None])
    work = values.pending.take(SNAPSHOT)
    same = values.values.refresh([one for one in PARENTS[1:2] if one is not None])
    other = values.values.refresh([one for one in PARENTS[1:3] if one is not None])
    values.values.note(work, SNAPSHOT, {})
    values.pending.done(work)
    assert first is not None
    assert same is not None
    assert other is not None
    assert first.done()
    assert same.done()
    assert not other.done()
    work = values.pending.take(SNAPSHOT)
    values.values.read_besides(work)
    assert PATHS[0] not in work.volatile
    values.pending.done(work)
    assert other.done()


async def test_read_that_began_too_early_is_not_enough() -> None:
    """What it reads may be older than a client accepts."""
    values = Values(age=AGE + 1)
    parents = [one for one in PARENTS[:1] if one is not None]
    values.values.refresh(parents)
    work = values.pending.take(SNAPSHOT)
    work.began -= AGE + 1
    late = values.values.refresh(parents)
    values.pending.done(work)
    assert late is not None
    assert not late.done()


async def test_requests_during_a_job_that_fails_wait_for_the_next() -> None:
    """Those that waited for it, and those that came while it ran."""
    values = Values(age=AGE + 1)
    parents = [one for one in PARENTS[:1] if one is not None]
    before = values.values.refresh(parents)
    work = values.pending.take(SNAPSHOT)
    during = values.values.refresh(parents)
    values.pending.put_back(work)
    after = values.values.refresh(parents)
    work = values.pending.take(SNAPSHOT)
    assert work.volatile == {PATHS[0]}
    values.pending.done(work)
    assert all(one is not None and one.done() for one in (before, during, after))


async def test_client_does_not_wait_for_threads_that_hang() -> None:
    """Stale values are better than no reply."""
    values = Values(age=AGE + 1, stuck_seconds=0.01)
    parent = PARENTS[0]
    assert parent is not None
    waiting = values.values.refresh([parent])
    assert waiting is not None
    await waiting
