"""A publisher keeps the keys of its host true, and says in time when it cannot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import msgspec
import pytest

from nodedevd.client.fleet.bucket import ABSENT, Bucket, Entry, Info
from nodedevd.client.fleet.errors import WrongSequence
from nodedevd.client.fleet.hosts import Host, host_at, record
from nodedevd.client.fleet.values import Alive, alive_key, alive_of, summary_key, summary_of
from nodedevd.publish import publisher as publishers
from nodedevd.publish import source as sources
from nodedevd.publish.source import Source, State
from tests.support.played_fleet import PATIENCE, PlayedHost, PlayedSource, configuration
from tests.support.running import PATIENCE_SECONDS


class PlayedBucket:
    """A bucket in memory, and every heartbeat that was written to it."""

    part_bytes = 1 << 19
    server = "nats://played:4222"

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.sequence = 0
        self.lost = asyncio.Event()
        self.heartbeats: list[Alive] = []
        self.written = asyncio.Event()

    async def get(self, key: str) -> Entry:
        """Return what a key has."""
        return self.entries.get(key, ABSENT)

    async def info(self) -> Info:
        """Return the state."""
        return Info("", self.sequence, time.time(), False)

    async def put(self, key: str, value: bytes | None, expected: int) -> int:
        """Write a key that is at a sequence."""
        if self.entries.get(key, ABSENT).sequence != expected:
            raise WrongSequence(key, expected)
        self.sequence += 1
        self.entries[key] = Entry(value, self.sequence, time.time())
        if key.endswith(".alive"):
            self.heartbeats.append(alive_of(value or b""))
        self.written.set()
        return self.sequence

    async def close(self) -> None:
        """Nothing is open."""

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until a condition holds after a write."""
        async with asyncio.timeout(PATIENCE):
            while not reached():
                self.written.clear()
                await self.written.wait()

    @property
    def generation(self) -> int:
        """That of the summary."""
        found = self.host().summary
        assert found is not None
        return found.generation

    def host(self, name: str = "one") -> Host:
        """Return the host as a reader shows it when the newest heartbeat arrives."""
        return host_at(record(name, self.entries), self.entries.get(alive_key(name), ABSENT).time)


class WaitingSource(PlayedSource):
    """A source that answers when the test lets it."""

    def __init__(self, name: str = "vgpu-pf") -> None:
        super().__init__(name)
        self.answers = asyncio.Event()
        self.asked = asyncio.Event()

    async def read(self, part_bytes: int) -> State | None:
        """Return the newest state, in the end."""
        self.asked.set()
        await self.answers.wait()
        return await super().read(part_bytes)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> PlayedBucket:
    """Return a bucket, to which all connect."""
    played = PlayedBucket()

    async def connect(access: object) -> Bucket:
        played.lost = asyncio.Event()
        return cast(Bucket, played)

    monkeypatch.setattr(Bucket, "open", connect)
    monkeypatch.setattr(publishers, "_DAEMON_SECONDS", 0.01)
    monkeypatch.setattr(publishers, "_VERIFIED", 1)
    monkeypatch.setattr(publishers, "_PAUSES", (0.01, 0.01))
    return played


@asynccontextmanager
async def publishing(host: PlayedHost) -> AsyncIterator[None]:
    """Have a host publish, until it is killed."""
    host.start()
    try:
        yield
    finally:
        await host.kill()


def host(directory: Path, source: PlayedSource | None = None) -> PlayedHost:
    """Return a host whose heartbeats are due soon."""
    made = PlayedHost(configuration(["nats://played"], directory, "one", heartbeat_seconds=0.05))
    made.source = source or made.source
    return made


@pytest.mark.slow
async def test_heartbeats_go_on_while_the_daemon_does_not_answer(
    bucket: PlayedBucket, tmp_path: Path
) -> None:
    """The host is not gone, and another machine does not take it over."""
    source = WaitingSource()
    source.answers.set()
    async with publishing(host(tmp_path, source)):
        await bucket.until(lambda: bucket.host().state == "alive")
        source.answers.clear()
        source.asked.clear()
        await asyncio.wait_for(source.asked.wait(), PATIENCE)
        beats = len(bucket.heartbeats)
        await bucket.until(lambda: len(bucket.heartbeats) > beats + 1)
        source._set("absent")
        await bucket.until(lambda: bucket.heartbeats[-1].daemon == "absent")
        assert bucket.host().state == "no-daemon"
        source.generation += 1
        source._set("ok")
        source.answers.set()
        await bucket.until(lambda: bucket.heartbeats[-1].daemon == "ok")
        await bucket.until(lambda: bucket.generation == source.generation)


@pytest.mark.slow
async def test_summary_of_the_boot_before_is_not_alive_until_it_is_replaced(
    bucket: PlayedBucket, tmp_path: Path
) -> None:
    """Whatever time the first answer of the daemon takes."""
    async with publishing(host(tmp_path)):
        await bucket.until(lambda: bucket.host().state == "alive")
    bucket.heartbeats.clear()
    source = WaitingSource("vgpu-sriov")
    source.instance = "the next boot"
    async with publishing(host(tmp_path, source)):
        await bucket.until(lambda: len(bucket.heartbeats) > 2)
        assert {one.confirmed for one in bucket.heartbeats} == {False}
        assert (bucket.host().state, bucket.host().usable) == ("stale", False)
        source.answers.set()
        await bucket.until(lambda: bucket.heartbeats[-1].confirmed)
        found = bucket.host()
        assert found.state == "alive"
        assert found.summary is not None
        assert found.summary.instance == "the next boot"


async def test_summary_that_is_still_true_is_alive_from_the_first_heartbeat(
    bucket: PlayedBucket, tmp_path: Path
) -> None:
    """As after an update of the publisher, which is no change of the host."""
    async with publishing(host(tmp_path)):
        await bucket.until(lambda: bucket.host().state == "alive")
    bucket.heartbeats.clear()
    async with publishing(host(tmp_path)):
        await bucket.until(lambda: len(bucket.heartbeats) > 2)
        assert {one.confirmed for one in bucket.heartbeats} == {True}


@pytest.mark.parametrize("value", ["replaced", None])
async def test_summary_that_somebody_replaces_or_deletes_is_written_again(
    value: str | None, bucket: PlayedBucket, tmp_path: Path
) -> None:
    """An administrator may write any key, and the host stays what it is."""
    async with publishing(host(tmp_path)):
        await bucket.until(lambda: bucket.host().state == "alive")
        true = bucket.host().summary
        assert true is not None
        false = msgspec.json.encode(msgspec.structs.replace(true, devices=999))
        key = summary_key("one")
        await bucket.put(key, false if value else None, bucket.entries[key].sequence)
        sequence = bucket.entries[key].sequence
        await bucket.until(lambda: bucket.entries[key].sequence > sequence)
        assert summary_of(bucket.entries[key].value or b"").devices == true.devices
        await bucket.until(lambda: bucket.host().state == "alive")
        assert alive_key("one") in bucket.entries


async def test_lost_connection_is_replaced_before_the_next_heartbeat(
    bucket: PlayedBucket, tmp_path: Path
) -> None:
    """Nobody waits for the heartbeat to fail, and no processor is taken by waiting."""
    made = PlayedHost(configuration(["nats://played"], tmp_path, "one", heartbeat_seconds=3600.0))
    async with publishing(made):
        await bucket.until(lambda: bucket.host().state == "alive")
        beats = len(bucket.heartbeats)
        bucket.lost.set()
        await bucket.until(lambda: len(bucket.heartbeats) > beats)
        assert bucket.host().state == "alive"


class WaitingClient:
    """A daemon that answers when the test lets it."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()

    async def types(self) -> None:
        """Answer, in the end."""
        await self.answers.wait()

    async def snapshot_json(self) -> bytes:
        """Return a host without devices."""
        return b'{"generation":3,"devices":[]}'


async def test_daemon_that_answers_late_is_absent_until_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever publishes hears of both, and the answer is not lost."""
    monkeypatch.setattr(sources, "_LATE_SECONDS", 0.0)
    source = Source("/nonexistent")
    source.daemon = "ok"
    client = WaitingClient()
    monkeypatch.setattr(source, "_client", client)
    reading = asyncio.ensure_future(source.read(1 << 19))
    await asyncio.wait_for(source.told.wait(), PATIENCE_SECONDS)
    assert (source.daemon, "waiting for nodedevd" in source.reason) == ("absent", True)
    source.told.clear()
    client.answers.set()
    state = await reading
    assert state is not None
    assert (state.generation, source.daemon, source.told.is_set()) == (3, "ok", True)
