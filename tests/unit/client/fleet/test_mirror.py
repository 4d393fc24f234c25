"""A mirror begins anew when anything may be lost, and says what that has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from nodedevd.client.fleet import mirror as mirrors
from nodedevd.client.fleet.bucket import Bucket, Delivered, Entry, Subscription
from nodedevd.client.fleet.errors import FleetUnreachable
from nodedevd.client.fleet.mirror import Mirror


class PlayedBucket:
    """A bucket whose deliveries the test plays."""

    server = "played"

    def __init__(self, values: dict[str, tuple[bytes, int]]) -> None:
        self.values = values
        self.lost = asyncio.Event()
        self.newest = 0
        self.leader_asked = asyncio.Event()
        self.deliver: Callable[[Delivered], None] = lambda one: None
        self.beat: Callable[[int], None] = lambda number: None
        self.sends = True

    async def subscribe(
        self, keys: str, deliver: Callable[[Delivered], None], beat: Callable[[int], None]
    ) -> Subscription:
        """Deliver what there is."""
        self.deliver, self.beat = deliver, beat
        left = len(self.values)
        for number, (key, (value, sequence)) in enumerate(self.values.items(), 1):
            if self.sends:
                deliver(Delivered(key, Entry(value, sequence, 0.0), number, left - number))

        async def end() -> None:
            pass

        return Subscription(left, end)

    async def last_sequence(self, keys: str) -> int:
        """Return what the leader knows."""
        self.leader_asked.set()
        return self.newest


async def made(bucket: PlayedBucket) -> tuple[Mirror, list[tuple[str, bytes | None]]]:
    """Return a mirror that has collected, and a list of the changes that follow."""
    changes: list[tuple[str, bytes | None]] = []
    mirror = Mirror(
        cast(Bucket, bucket),
        "host.*",
        lambda key, entry: changes.append((key, None if entry is None else entry.value)),
    )
    await mirror.collect()
    changes.clear()
    return mirror, changes


def delivered(key: str, value: bytes | None, sequence: int, number: int) -> Delivered:
    """Return a delivery after all that there was."""
    return Delivered(key, Entry(value, sequence, 0.0), number, 0)


async def test_writes_and_deletions_are_followed() -> None:
    """In order."""
    bucket = PlayedBucket({"a": (b"1", 1), "b": (b"1", 2)})
    mirror, changes = await made(bucket)
    bucket.deliver(delivered("a", b"2", 3, 3))
    bucket.deliver(delivered("b", None, 4, 4))
    assert changes == [("a", b"2"), ("b", None)]
    assert (mirror.last_sequence, mirror.broken) == (4, False)


async def test_empty_bucket_is_complete() -> None:
    """There is nothing to wait for."""
    mirror, _ = await made(PlayedBucket({}))
    assert mirror.entries == {}


@pytest.mark.parametrize("loss", ["gap", "beat", "silence"])
async def test_loss_begins_anew_and_tells_what_differs(
    loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what was removed, of which nobody tells, and sequences that begin at 1 again."""
    bucket = PlayedBucket({"a": (b"1", 10), "b": (b"1", 11)})
    mirror, changes = await made(bucket)
    old = bucket.deliver
    if loss == "gap":
        bucket.deliver(delivered("a", b"3", 14, 5))
    elif loss == "beat":
        bucket.beat(3)
    else:
        monkeypatch.setattr(mirrors, "SILENCE_SECONDS", -1.0)
    assert mirror.broken
    assert changes == []
    monkeypatch.undo()
    bucket.values = {"a": (b"4", 1), "c": (b"1", 2)}
    await mirror.collect()
    assert sorted(changes, key=str) == [("a", b"4"), ("b", None), ("c", b"1")]
    assert (mirror.last_sequence, mirror.broken) == (2, False)
    old(delivered("a", b"late", 15, 6))  # of the subscription before
    assert mirror.entries["a"].value == b"4"


async def test_newer_key_that_does_not_arrive_begins_anew() -> None:
    """What the leader knows may be on its way, but not for long."""
    bucket = PlayedBucket({"a": (b"1", 1)})
    mirror, _ = await made(bucket)
    bucket.newest = 5
    await mirror.check()
    assert not mirror.broken
    bucket.deliver(delivered("a", b"2", 5, 2))
    await mirror.check()
    bucket.newest = 9
    await mirror.check()
    assert not mirror.broken
    await mirror.check()
    assert mirror.broken


async def test_replica_that_was_cut_off_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it delivers is older than what is known; the rest may still arrive."""
    bucket = PlayedBucket({"a": (b"45", 45)})
    mirror, changes = await made(bucket)
    bucket.values = {"a": (b"1", 1)}
    bucket.newest = 46
    monkeypatch.setattr(mirrors, "CATCH_UP_SECONDS", 0.0)
    with pytest.raises(FleetUnreachable, match="behind the leader"):
        await mirror.collect()
    assert (changes, mirror.entries["a"].value) == ([], b"45")
    monkeypatch.undo()
    bucket.leader_asked.clear()
    collecting = asyncio.ensure_future(mirror.collect())
    await bucket.leader_asked.wait()
    bucket.deliver(delivered("a", b"46", 46, 2))
    await collecting
    assert changes == [("a", b"46")]
    assert mirror.last_sequence == 46


async def test_server_that_stops_while_it_sends_is_an_error() -> None:
    """A part of the hosts is not taken for all."""
    bucket = PlayedBucket({"a": (b"1", 1)})
    bucket.sends = False
    mirror = Mirror(cast(Bucket, bucket), "host.*", lambda key, entry: None)
    with pytest.raises(FleetUnreachable):
        await mirror.collect(timeout_seconds=0.01)
    bucket.lost.set()
    with pytest.raises(FleetUnreachable):
        await mirror.collect()
