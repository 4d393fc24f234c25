"""A watch collects all hosts again when another bucket has taken the place of the one it knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import msgspec
import pytest

from nodedevd.client.fleet import asynchronous
from nodedevd.client.fleet.access import Access
from nodedevd.client.fleet.asynchronous import AsyncFleetWatch
from nodedevd.client.fleet.bucket import Bucket, Delivered, Info, Subscription
from nodedevd.client.fleet.hosts import Host
from nodedevd.client.fleet.values import HOSTS
from tests.support.running import PATIENCE_SECONDS
from tests.unit.client.fleet.test_hosts import NOW
from tests.unit.client.fleet.test_mirror import PlayedBucket, delivered


class BusyBucket(PlayedBucket):
    """A bucket to which something is written while its state is asked for."""

    def __init__(self) -> None:
        super().__init__({"host.a": (b"{}", 7)})
        self.state = Info("then", 7, NOW, False)
        self.writes = 0
        self.asked = 0
        self.told = asyncio.Event()

    async def subscribe(
        self, keys: str, deliver: Callable[[Delivered], None], beat: Callable[[int], None]
    ) -> Subscription:
        """Deliver summaries; there is no heartbeat."""
        if keys == HOSTS:
            return await super().subscribe(keys, deliver, beat)

        async def end() -> None:
            pass

        return Subscription(0, end)

    async def last_sequence(self, keys: str) -> int:
        """Return the newest sequence of the summaries."""
        return self.newest if keys == HOSTS else 0

    async def info(self) -> Info:
        """Return the state as it was when it was asked for."""
        state = self.state
        self.asked += 1
        self.told.set()
        await asyncio.sleep(0)
        if self.asked > 1 and self.writes:
            self.writes -= 1
            sequence = state.last_sequence + 1
            self.state = msgspec.structs.replace(state, last_sequence=sequence)
            self.newest = sequence
            self.deliver(delivered("host.a", b"{}", sequence, sequence - 6))
        return state

    async def close(self) -> None:
        """Nothing is open."""

    async def until_asked(self, times: int) -> None:
        """Wait until it was asked so many times more, and once to see what came of the last."""
        until = self.asked + times + 1
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.asked < until:
                self.told.clear()
                await self.told.wait()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> BusyBucket:
    """Return a bucket to which all connect, and which is asked again and again."""
    played = BusyBucket()

    async def connect(access: object) -> Bucket:
        return cast(Bucket, played)

    monkeypatch.setattr(Bucket, "open", connect)
    monkeypatch.setattr(asynchronous, "_TICK_SECONDS", 0.001)
    return played


async def test_writes_while_the_leader_answers_make_no_other_bucket(bucket: BusyBucket) -> None:
    """Its answer is older than they are, and nothing is collected again."""
    async with AsyncFleetWatch(Access(("nats://played",)), check_seconds=0) as watch:
        await watch.next(PATIENCE_SECONDS)
        bucket.writes = 5
        await bucket.until_asked(6)
        assert bucket.writes == 0
        assert [mirror.restarts for mirror in watch._mirrors] == [1, 1]
        assert (watch.connections, list(map(_id, watch.hosts()))) == (1, ["a"])


@pytest.mark.parametrize(
    "state", [Info("then", 3, NOW, False), Info("later", 9, NOW, False)], ids=["erased", "remade"]
)
async def test_other_bucket_is_collected(state: Info, bucket: BusyBucket) -> None:
    """It has fewer writes, or was made at another time."""
    async with AsyncFleetWatch(Access(("nats://played",)), check_seconds=0) as watch:
        await watch.next(PATIENCE_SECONDS)
        bucket.values = {"host.b": (b"{}", 3)}
        bucket.state = state
        await bucket.until_asked(1)
        assert list(map(_id, watch.hosts())) == ["b"]


def _id(host: Host) -> str:
    return host.id
