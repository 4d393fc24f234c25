"""A fleet whose hosts are played: real publishers and readers, and daemons that are none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import msgspec

from nodedevd.client.fleet.access import Access
from nodedevd.client.fleet.asynchronous import AsyncFleetWatch
from nodedevd.client.fleet.bucket import Bucket
from nodedevd.client.fleet.errors import FleetError
from nodedevd.client.fleet.hosts import Host
from nodedevd.client.fleet.watching import FleetEvent
from nodedevd.model.listing import Devices
from nodedevd.publish.configuration import Configuration
from nodedevd.publish.identity import Identity
from nodedevd.publish.publisher import Publisher
from nodedevd.publish.source import Source, State, state_of
from tests.support.hosts import snapshot_of

PATIENCE = 60.0


@cache
def template(name: str) -> State:
    """Return the state of a sample host."""
    devices = Devices(1, tuple(snapshot_of(name)))
    return state_of(msgspec.json.encode(devices), "x", 1 << 19)


class PlayedSource(Source):
    """The state of a host that is played: `change` makes the next generation of it.

    `costly` makes each state from all devices, as the real one does; else the room and the tree
    stay those of the sample host, and the generation alone differs.
    """

    def __init__(self, name: str = "vgpu-pf", *, costly: bool = False) -> None:
        super().__init__("/nonexistent")
        self._name = name
        self._costly = costly
        self.instance = "played"
        self.generation = 1
        self.daemon = "ok"
        self.changed.set()

    async def follow(self) -> None:
        """Nobody is followed."""

    def change(self) -> None:
        """Change the host."""
        self.generation += 1
        self.changed.set()

    async def read(self, part_bytes: int) -> State | None:
        """Return the newest state."""
        if self.daemon != "ok":
            return None
        if self._costly:
            text = msgspec.json.encode(Devices(self.generation, tuple(snapshot_of(self._name))))
            return state_of(text, self.instance, part_bytes)
        return msgspec.structs.replace(
            template(self._name), instance=self.instance, generation=self.generation
        )


class PlayedHost:
    """A host: its source and its publisher."""

    def __init__(self, configuration: Configuration, *, sample: str = "vgpu-pf") -> None:
        self.id = configuration.own_id
        self.source = PlayedSource(sample)
        self.configuration = configuration
        self.publisher: Publisher | None = None
        self._task: asyncio.Task[None] | None = None
        self._identity: Identity | None = None

    def start(self) -> None:
        """Start a publisher."""
        self.source.changed.set()
        self._identity = Identity(self.configuration.state, self.id)
        self.publisher = Publisher(self.configuration, self.source, self._identity)
        self._task = asyncio.ensure_future(self.publisher.run())

    async def kill(self) -> None:
        """End the publisher as a kill does: it writes nothing more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._identity is not None:
            self._identity.close()
        self._task = self._identity = None

    async def leave(self) -> None:
        """End it in order."""
        publisher = self.publisher
        await self.kill()
        assert publisher is not None
        await publisher.leave()


def configuration(urls: Sequence[str], directory: Path, host: str, **more: object) -> Configuration:
    """Return the configuration of a host, with short times."""
    given = {"heartbeat_seconds": 1.0, "publish_seconds": 0.05, "timeout_seconds": 2.0, **more}
    return Configuration(
        servers=tuple(urls),
        host=host,
        name=f"{host}.example",
        state_directory=str(directory / "state"),
        **given,  # type: ignore[arg-type]
    )


async def make_bucket(urls: Sequence[str], *, replicas: int = 1, max_bytes: int = 1 << 28) -> None:
    """Make the bucket; a new cluster takes a while."""
    deadline = time.monotonic() + PATIENCE
    while True:
        bucket = None
        try:
            bucket = await Bucket.open(Access(tuple(urls)))
            await bucket.make(replicas=replicas, max_bytes=max_bytes)
            await bucket.info()
            return
        except FleetError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
        finally:
            if bucket is not None:
                await bucket.close()


class Reader:
    """A watch that is read all the time, and what it has told."""

    def __init__(self, urls: Sequence[str], **more: float) -> None:
        self.watch = AsyncFleetWatch(Access(tuple(urls), timeout_seconds=2.0), **more)
        self.events: list[FleetEvent] = []
        self.known: dict[str, Host] = {}
        self.ignored: set[str] = set()
        """hosts of other processes"""
        self.back: list[str] = []
        """where a generation went back, which must never be"""
        self._news = asyncio.Event()
        self._task = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async for event in self.watch:
            self.events.append(event)
            if event.event == "removed":
                self.known.pop(event.host or "", None)
            elif event.known is not None:
                self._take(event.known)
            self._news.set()

    def _take(self, host: Host) -> None:
        old = self.known.get(host.id)
        if old is not None and old.summary and host.summary:
            one, other = old.summary, host.summary
            if one.instance == other.instance and other.generation < one.generation:
                self.back.append(f"{host.id}: {one.generation} to {other.generation}")
        self.known[host.id] = host

    async def until(self, reached: object, what: str, seconds: float = PATIENCE) -> float:
        """Wait until a condition holds for what was told; return how long that took."""
        assert callable(reached)
        begun = time.monotonic()
        while not reached():
            left = begun + seconds - time.monotonic()
            assert left > 0, f"not {what} within {seconds} s: {self.differences}"
            if self._task.done():
                self._task.result()
            self._news.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), min(left, 0.5))
        return time.monotonic() - begun

    differences: object = None

    def is_true(self, hosts: Iterable[PlayedHost]) -> bool:
        """Return whether what was told is what the hosts have."""
        wanted = {one.id: one.source.generation for one in hosts}
        found = {
            one.id: one.summary.generation if one.summary and one.state == "alive" else one.state
            for one in self.known.values()
            if one.id not in self.ignored
        }
        self.differences = {
            key: (wanted.get(key), found.get(key))
            for key in wanted.keys() | found.keys()
            if wanted.get(key) != found.get(key)
        }
        return not self.differences and self.watch.reachable

    async def close(self) -> None:
        """End it."""
        await self.watch.close()
        with suppress(asyncio.CancelledError):
            await self._task


class PlayedFleet:
    """Hosts that change once a second, and a reader that follows them through a fault."""

    def __init__(
        self, urls: Sequence[str], directory: Path, *, count: int = 30, ignored: str = ""
    ) -> None:
        self.urls = list(urls)
        self._ignored = {ignored}
        self.hosts = [
            PlayedHost(configuration(urls, directory, f"h{number}")) for number in range(count)
        ]
        self.reader: Reader | None = None
        self._changing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> PlayedFleet:
        for host in self.hosts:
            host.start()
        self.reader = Reader(self.urls)
        self.reader.ignored = self._ignored
        await self.until_true()
        self.begin()
        return self

    def begin(self) -> None:
        """Change once a second."""
        if self._changing is None or self._changing.done():
            self._changing = asyncio.ensure_future(self._change())

    async def __aexit__(self, *exception: object) -> None:
        await self.still()
        for host in self.hosts:
            await host.kill()
        assert self.reader is not None
        await self.reader.close()

    async def _change(self) -> None:
        while True:
            for host in self.hosts:
                host.source.change()
            await asyncio.sleep(1)

    async def still(self) -> None:
        """Stop changing."""
        if self._changing is not None:
            self._changing.cancel()
            with suppress(asyncio.CancelledError):
                await self._changing

    async def until_true(self) -> float:
        """Stop changing; return how long it took until the reader knew the hosts' own state."""
        await self.still()
        reader = self.reader
        assert reader is not None
        took = await reader.until(lambda: reader.is_true(self.hosts), "the hosts' own state", 120)
        assert not reader.back, reader.back
        return took


async def leader_of(urls: Sequence[str]) -> str:
    """Return the name of the server that leads the bucket."""
    bucket = await Bucket.open(Access(tuple(urls)))
    try:
        return str((await bucket._api("STREAM.INFO.KV_fleet"))["cluster"]["leader"])
    finally:
        await bucket.close()
