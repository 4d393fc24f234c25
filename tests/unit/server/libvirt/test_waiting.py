"""What a change waits for: a place at the control service, and the tree that shows it."""

from __future__ import annotations

import asyncio

import pytest

from nodedevd.control.daemon import CLIENTS
from nodedevd.descriptors import WRITES
from nodedevd.errors import CardBusy
from nodedevd.model.changes import Update
from nodedevd.model.snapshot import Snapshot
from nodedevd.server.libvirt import waiting as waits
from nodedevd.server.libvirt.waiting import (
    PLACES_OF_USER,
    QUEUES,
    STUCK_SECONDS,
    Places,
    in_turn,
    settled,
)
from tests.unit.server.libvirt.test_session import change, stored

CARD = "pci_0000_02_00_0"


async def test_what_holds_is_not_waited_for() -> None:
    """Nobody subscribes."""
    store = stored()
    assert await settled(store, lambda: True)
    assert store.subscriptions == 0


async def test_change_that_makes_it_hold_ends_the_waiting() -> None:
    """Others do not."""
    store = stored()

    def holds() -> bool:
        return store.snapshot.lookup(CARD).driver == "wanted"

    waiting = asyncio.create_task(settled(store, holds))
    await asyncio.sleep(0)
    change(store, CARD, driver="other")
    await asyncio.sleep(0)
    assert not waiting.done()
    change(store, CARD, driver="wanted")
    change(store, CARD, driver="next")
    assert await waiting
    assert store.subscriptions == 0


async def test_what_never_holds_is_given_up() -> None:
    """And what is cancelled is forgotten."""
    store = stored()
    assert not await settled(store, lambda: False, 0.001)
    waiting = asyncio.create_task(settled(store, lambda: False))
    await asyncio.sleep(0)
    assert store.subscriptions == 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert store.subscriptions == 0
    store.publish(Update(Snapshot(store.snapshot, generation=2), ()))


async def test_users_do_not_wait_for_one_another() -> None:
    """One that has all of its places leaves some to others."""
    places = Places(4, 2)
    has, leaves = asyncio.Semaphore(0), asyncio.Event()

    async def one(uid: int) -> None:
        async with places.of(uid):
            has.release()
            await leaves.wait()

    busy = [asyncio.create_task(one(1000)) for _ in range(5)]
    await has.acquire()
    await has.acquire()
    async with places.of(1001):
        assert has.locked()
    leaves.set()
    await asyncio.gather(*busy)
    async with places.of(1000):
        pass


def test_control_service_would_take_as_many() -> None:
    """Of a user, and of all, with those that others open."""
    assert PLACES_OF_USER < CLIENTS // 4
    assert WRITES < CLIENTS


@pytest.mark.parametrize(
    ("busy_seconds", "asked"), [([0.0] * 3, 4), ([0.0] * QUEUES, QUEUES + 1), ([STUCK_SECONDS], 1)]
)
async def test_queue_is_waited_for_and_a_change_that_hangs_is_not(
    busy_seconds: list[float], asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So are many changes that take long, one after the other."""
    monkeypatch.setattr(waits, "PAUSE_SECONDS", 0)
    answers = [CardBusy(CARD, "create", seconds) for seconds in busy_seconds]
    calls: list[None] = []

    async def ask() -> str:
        calls.append(None)
        if len(calls) <= len(answers):
            raise answers[len(calls) - 1]
        return "done"

    if STUCK_SECONDS in busy_seconds:
        with pytest.raises(CardBusy):
            await in_turn(ask)
    else:
        assert await in_turn(ask) == "done"
    assert len(calls) == asked


async def test_queue_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the error of the last time."""
    monkeypatch.setattr(waits, "PAUSE_SECONDS", 0)
    calls: list[None] = []

    async def ask() -> None:
        calls.append(None)
        raise CardBusy(CARD, "create", float(len(calls) % 2))

    with pytest.raises(CardBusy):
        await in_turn(ask)
    assert len(calls) == QUEUES + 1
