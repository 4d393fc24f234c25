"""What a server refuses, and what a reader cannot take at once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from nodedevd.client.fleet import AsyncFleet
from nodedevd.client.fleet.access import Access
from nodedevd.client.fleet.bucket import Bucket
from nodedevd.client.fleet.errors import FleetFull
from nodedevd.client.fleet.values import alive_key, summary_key, tree_key
from nodedevd.publish import source as sources
from nodedevd.publish.source import state_of
from tests.support.nats_server import nats_server
from tests.support.played_fleet import (
    PlayedFleet,
    PlayedHost,
    Reader,
    configuration,
    make_bucket,
    template,
)
from tests.support.running import REPOSITORY
from tests.unit.client.fleet.test_hosts import summary

pytestmark = [pytest.mark.exhaustive, pytest.mark.slow, pytest.mark.needs("nats-server")]


async def fill(bucket: Bucket, size: int) -> None:
    """Write keys of no host until the server refuses."""
    for number in range(1, 100_000):
        await bucket.put(f"filler.{number}", b"x" * size, 0)


def fill_disk(path: Path) -> None:
    """Write a file until the disk is full."""
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def test_bucket_without_room_refuses_new_hosts_and_keeps_the_old(tmp_path: Path) -> None:
    """The publisher of the new host says so, and publishes when there is room."""

    async def run() -> None:
        await make_bucket([server.url], max_bytes=1 << 20)
        bucket = await Bucket.open(Access((server.url,)))
        first = PlayedHost(configuration([server.url], tmp_path, "first"))
        first.start()
        reader = Reader([server.url])
        await reader.until(lambda: reader.is_true([first]), "the first host")
        filler = await bucket.put("filler.0", b"x" * 800_000, 0)
        with pytest.raises(FleetFull, match="maximum bytes"):
            await fill(bucket, 20_000)
        said: list[str] = []
        second = PlayedHost(configuration([server.url], tmp_path, "second"))
        second.start()
        assert second.publisher is not None
        second.publisher._on_state = said.append
        await reader.until(lambda: any("maximum bytes" in text for text in said), "a word of it")
        first.source.change()
        await reader.until(lambda: "first" in reader.known, "the first host")
        await bucket.put("filler.0", None, filler)
        await reader.until(lambda: reader.is_true([first, second]), "both hosts")
        await second.kill()
        await first.kill()
        await bucket.close()
        await reader.close()

    with nats_server(tmp_path / "nats") as server:
        asyncio.run(run())


def test_store_without_room_refuses_everything_and_the_host_becomes_stale_or_gone(
    tmp_path: Path,
) -> None:
    """`max_file_store` is reached: no reader takes what is there for what the host has."""

    async def run() -> None:
        await make_bucket([server.url], max_bytes=1 << 20)
        bucket = await Bucket.open(Access((server.url,)))
        # As one that was made without a limit of its own.
        config = (await bucket._api("STREAM.INFO.KV_fleet"))["config"]
        await bucket._api("STREAM.UPDATE.KV_fleet", {**config, "max_bytes": -1})
        host = PlayedHost(configuration([server.url], tmp_path, "host"))
        host.start()
        reader = Reader([server.url])
        await reader.until(lambda: reader.is_true([host]), "the host")
        with pytest.raises(FleetFull):
            await fill(bucket, 200_000)
        host.source.change()
        await reader.until(lambda: reader.known["host"].state != "alive", "the loss")
        await bucket._api("STREAM.PURGE.KV_fleet", {"filter": "$KV.fleet.filler.*"})
        print(f"true after {await reader.until(lambda: reader.is_true([host]), 'it'):.2f} s")
        await host.kill()
        await bucket.close()
        await reader.close()

    with nats_server(tmp_path / "nats", max_store="3M") as server:
        asyncio.run(run())


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[None]:
    """Mount a file system of a size."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", directory], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


@pytest.mark.needs("namespaces")
def test_full_disk_makes_hosts_gone_until_there_is_room_and_a_restart(tmp_path: Path) -> None:
    """The server answers reads, and no writes; heartbeats are missing."""

    async def run() -> None:
        await make_bucket([server.url], max_bytes=1 << 28)
        hosts = [
            PlayedHost(configuration([server.url], tmp_path, f"h{number}")) for number in range(3)
        ]
        for host in hosts:
            host.start()
        reader = Reader([server.url])
        await reader.until(lambda: reader.is_true(hosts), "the hosts")
        with pytest.raises(OSError, match="No space"):
            fill_disk(disk / "filler")
        for host in hosts:
            host.source.change()
        await reader.until(
            lambda: (
                all(one.state != "alive" for one in reader.known.values())
                or not reader.watch.reachable
            ),
            "that they are not alive",
        )
        (disk / "filler").unlink()
        server.stop()
        server.start()
        print(f"true after {await reader.until(lambda: reader.is_true(hosts), 'them'):.2f} s")
        for host in hosts:
            await host.kill()
        await reader.close()

    disk = tmp_path / "disk"
    with small_disk(disk, "8M"), nats_server(disk / "nats") as server:
        asyncio.run(run())


def test_tree_of_several_parts_and_one_that_no_server_takes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A large tree is whole at a reader; one beyond all limits is said, and the rest published."""

    async def run() -> None:
        await make_bucket([server.url])
        host = PlayedHost(configuration([server.url], tmp_path, "host"))
        junk = os.urandom(1_400_000).hex()
        text = msgspec.json.encode({"generation": 1, "devices": [], "more": junk})
        large = state_of(text, "played", 1 << 19)
        assert large.tree.parts == 4

        async def read(part_bytes: int) -> sources.State:
            assert part_bytes == 1 << 19
            return large

        host.source.read = read  # type: ignore[method-assign]
        host.start()
        reader = Reader([server.url])
        await reader.until(lambda: reader.is_true([host]), "the large host")
        async with AsyncFleet(server.url) as fleet:
            assert (await fleet.tree("host")).text == text
            large = msgspec.structs.replace(template("vgpu-pf"), generation=2)
            host.source.change()
            await reader.until(lambda: reader.is_true([host]), "the small host")
            assert (await fleet.tree("host")).snapshot.get("computer") is not None
        bucket = await Bucket.open(Access((server.url,)))
        assert (await bucket.get(tree_key("host", 3))).value is None
        with pytest.raises(FleetFull):
            await bucket.put("host.x", bytes(2_000_000), 0)
        many = {f"type-{number}" * 100: 1 for number in range(2000)}
        large = msgspec.structs.replace(
            large, generation=3, room=msgspec.structs.replace(large.room, counts=many)
        )
        with caplog.at_level(logging.WARNING):
            host.source.change()
            await reader.until(lambda: "more than" in caplog.text, "a word of it")
            await reader.until(lambda: reader.known["host"].state == "stale", "that it is stale")
        await bucket.close()
        await host.kill()
        await reader.close()

    with nats_server(tmp_path / "nats") as server:
        asyncio.run(run())


def test_reader_that_is_slow_ends_with_the_newest_state(tmp_path: Path) -> None:
    """It holds no more than a state of each host, however many changes there were."""

    async def run() -> None:
        await make_bucket([server.url])
        bucket = await Bucket.open(Access((server.url,)))
        watch = AsyncFleet(server.url).watch()
        async with watch:
            event = await watch.next()
            assert event is not None
            assert event.event == "ready"
            sequences = dict.fromkeys(range(20), 0)
            for generation in range(1, 501):
                for host in sequences:
                    value = msgspec.json.encode(summary(f"h{host}", generation=generation))
                    key = summary_key(f"h{host}")
                    sequences[host] = await bucket.put(key, value, sequences[host])
            for host in sequences:
                alive = b'{"v":1,"publisher":"p","daemon":"ok","interval":60}'
                await bucket.put(alive_key(f"h{host}"), alive, 0)
            told: dict[str | None, tuple[str | None, int | None]] = {}
            events = 0
            while len([one for one in told.values() if one == ("alive", 500)]) < len(sequences):
                event = await watch.next(30)
                assert event is not None
                events += 1
                told[event.host] = event.state, event.generation
            print(f"{events} events of 10,000 changes")
            assert events < 100
        await bucket.close()

    with nats_server(tmp_path / "nats") as server:
        asyncio.run(run())


def test_reader_that_is_stopped_for_a_while_ends_with_the_newest_state(tmp_path: Path) -> None:
    """As a process that the scheduler does not run: the server drops it, it comes back."""
    with nats_server(tmp_path / "nats") as server:
        asyncio.run(make_bucket([server.url]))
        output = tmp_path / "events"
        command = "from nodedevd.cli.main import main; main()"
        arguments = ["--fleet", server.url, "events", "--initial", "--json"]
        with output.open("wb") as file:
            reader = subprocess.Popen(
                [sys.executable, "-c", command, *arguments],
                stdout=file,
                cwd=REPOSITORY,
            )

        def generations() -> dict[str, int]:
            found = {}
            for line in output.read_bytes().splitlines():
                event = msgspec.json.decode(line)
                if event["generation"] is not None:
                    found[event["host"]] = event["generation"]
            return found

        async def run() -> None:
            async with PlayedFleet([server.url], tmp_path) as fleet:
                reader.send_signal(signal.SIGSTOP)
                bucket = await Bucket.open(Access((server.url,)))
                sequence = 0
                for _ in range(400):  # what the server cannot send
                    sequence = await bucket.put("host.filler", b"x" * 600_000, sequence)
                await asyncio.sleep(15)
                await bucket.put("host.filler", None, sequence)
                await bucket.close()
                reader.send_signal(signal.SIGCONT)
                await fleet.until_true()
                wanted = {one.id: one.source.generation for one in fleet.hosts}
                async with asyncio.timeout(60):
                    while generations() != wanted:
                        assert reader.poll() is None
                        await asyncio.sleep(0.1)

        try:
            asyncio.run(run())
        finally:
            reader.kill()
            reader.wait()
