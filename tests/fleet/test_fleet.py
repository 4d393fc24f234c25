"""A fleet of a few hosts over a real server: what publishers write, and commands print."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema_rs import Draft202012Validator

from nodedevd.cli.schema import json_schema
from nodedevd.client.fleet import AsyncFleet, Fleet, NoFleet, NoSuchHost
from nodedevd.client.fleet.access import Access
from nodedevd.client.fleet.bucket import ABSENT, Bucket
from nodedevd.client.fleet.errors import FleetRefused, FleetUnreachable, WrongSequence
from nodedevd.client.fleet.mirror import Mirror
from nodedevd.client.fleet.values import HOSTS, alive_key, summary_key, tree_key
from nodedevd.model.listing import Devices
from nodedevd.publish.configuration import Configuration
from tests.support.ctl import Ctl
from tests.support.hosts import snapshot_of
from tests.support.nats_server import NatsServer, nats_server
from tests.support.played_fleet import PlayedHost, Reader, configuration, make_bucket

JSON_OF_FLEET = (
    ("dumpxml", "one", "pci_0000_02_00_0", "--json"),
    ("fits", "--type", "P40-4C", "--json"),
    ("hosts", "--json"),
    ("list", "--json"),
    ("show", "one", "--all"),
    ("types", "--json"),
    ("wait", "--count", "2", "--json"),
)
"""All commands but `events`, whose lines are the events of a watch."""

pytestmark = [pytest.mark.needs("nats-server"), pytest.mark.slow]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """Return a server with an empty bucket."""
    with nats_server(tmp_path / "nats") as one:
        asyncio.run(make_bucket([one.url]))
        yield one


def settings(server: NatsServer, directory: Path, host: str) -> Configuration:
    """Return the configuration of a host whose heartbeats are due soon."""
    return configuration([server.url], directory, host, heartbeat_seconds=0.3)


async def test_hosts_are_published_and_shown_until_they_are_gone(
    server: NatsServer, tmp_path: Path
) -> None:
    """Publishers, the watch, one-shot calls and commands say the same, at each moment."""
    ctl = Ctl(["--fleet", server.url])

    async def run(*arguments: str, status: int = 0) -> str:
        return (await asyncio.to_thread(ctl.run, *arguments, status=status)).stdout

    one = PlayedHost(settings(server, tmp_path, "one"))
    two = PlayedHost(settings(server, tmp_path, "two"), sample="vgpu-sriov")
    one.start()
    two.start()
    reader = Reader([server.url], check_seconds=0.2)
    await reader.until(lambda: reader.is_true([one, two]), "both hosts")
    one.source.change()
    await reader.until(lambda: reader.is_true([one, two]), "the change")
    assert reader.events[-1].parts == ("generation",)

    table = (await run("hosts")).splitlines()
    assert [line.split()[:2] for line in table[1:]] == [["one", "alive"], ["two", "alive"]]
    assert "P40-4C" in await run("types")
    fitting = msgspec.json.decode(await run("fits", "--type", "P40-4C", "--count", "4", "--json"))
    assert (fitting["answer"], fitting["hosts"][0]["place"]) == ("yes", 4)
    assert "yes: 2 x A2-4Q fit, on 1 host" in await run("fits", "--type", "A2-4Q", "--count", "2")
    assert "no: 2 x A2-4Q" in await run("fits", "--type", "A2-4Q", "--count", "3", status=5)
    await run("fits", "--type", "nothing", status=6)
    listed = (await run("list", "--cap", "mdev_parent")).splitlines()
    assert "one pci_0000_02_00_0" in listed
    shown = msgspec.json.decode((await run("show", "one", "--all")).encode(), type=Devices)
    assert shown.devices == tuple(snapshot_of("vgpu-pf"))
    assert "GRID P40-4C" in await run("dumpxml", "one", "pci_0000_02_00_0")
    assert "no host 'three'" in (await asyncio.to_thread(ctl.invoke, "show", "three", "-")).stderr
    await run("wait", "--count", "2")
    for arguments in JSON_OF_FLEET:
        Draft202012Validator(json_schema(f"fleet {arguments[0]}")).validate(
            msgspec.json.decode(await run(*arguments))
        )
    of_events = Draft202012Validator(json_schema("fleet events"))
    for event in reader.events:
        of_events.validate(msgspec.to_builtins(event))

    await two.leave()
    await reader.until(lambda: reader.known["two"].state == "left", "that it has left")
    await one.kill()
    await reader.until(lambda: reader.known["one"].state == "gone", "that it is gone")
    await run("wait", "--gone", "one")
    assert "perhaps: 0 of" in await run("fits", "--type", "P40-4C", status=5)
    one.start()  # as after a kill: at once, by the name that was kept
    await reader.until(lambda: reader.known["one"].state == "alive", "that it is back")
    one.source.daemon = "absent"
    one.source.changed.set()
    await reader.until(lambda: reader.known["one"].state == "no-daemon", "that it has no daemon")
    await run("hosts", "--forget", "two")
    await reader.until(lambda: "two" not in reader.known, "that it is forgotten")
    assert [event.event for event in reader.events if event.host is None] == ["ready"]
    await one.kill()
    await reader.close()


async def test_second_publisher_of_a_host_is_refused(server: NatsServer, tmp_path: Path) -> None:
    """It writes nothing while the first one lives, and takes over when that has left."""
    said: list[str] = []
    first = PlayedHost(settings(server, tmp_path / "a", "one"))
    second = PlayedHost(settings(server, tmp_path / "b", "one"))
    first.start()
    reader = Reader([server.url])
    await reader.until(lambda: reader.is_true([first]), "the first one")
    second.start()
    assert second.publisher is not None
    second.publisher._on_state = said.append
    second.source.generation = 9
    await reader.until(lambda: bool(said) or reader.known["one"].state != "alive", "a refusal")
    assert "another nodedevd-publish" in said[0]
    assert second.publisher.writes == 0
    first.source.change()
    await reader.until(lambda: reader.is_true([first]), "the first one's change")
    await first.leave()
    await reader.until(lambda: reader.is_true([second]), "the second one")
    await second.kill()
    await reader.close()


async def test_late_write_of_an_old_state_is_refused(server: NatsServer, tmp_path: Path) -> None:
    """What another connection had still in its sockets does not take the state back."""
    bucket = await Bucket.open(Access((server.url,)))
    first = await bucket.put("host.a", b"1", 0)
    second = await bucket.put("host.a", b"2", first)
    with pytest.raises(WrongSequence):
        await bucket.put("host.a", b"1", first)
    with pytest.raises(WrongSequence):
        await bucket.put("host.a", b"1", 0)
    entry = await bucket.get("host.a")
    assert (entry.value, entry.sequence) == (b"2", second)
    await bucket.put("host.a", None, second)
    assert (await bucket.get("host.a")).value is None
    assert await bucket.get("host.b") == ABSENT
    await bucket.close()


async def test_roll_up_of_one_host_does_not_erase_the_others(server: NatsServer) -> None:
    """The bucket has it forbidden."""
    bucket = await Bucket.open(Access((server.url,)))
    await bucket.put("host.a", b"1", 0)
    attack = await bucket._nats.request(
        "$KV.fleet.host.b", b"x", headers={"Nats-Rollup": "all"}, timeout=5
    )
    assert msgspec.json.decode(attack.data)["error"]["err_code"] == 10111
    assert (await bucket.get("host.a")).value == b"1"
    await bucket.close()


async def test_values_that_cannot_be_read_are_shown_as_such(server: NatsServer) -> None:
    """A newer version, nonsense, and a half of a host."""
    bucket = await Bucket.open(Access((server.url,)))
    alive = b'{"v":1,"publisher":"p","daemon":"ok","interval":60,"instance":"i","generation":3}'
    values: dict[str, Any] = {
        alive_key("newer"): alive,
        summary_key("newer"): b'{"v":2,"more":[]}',
        alive_key("nonsense"): alive,
        summary_key("nonsense"): b"[[[[",
        alive_key("half"): alive,
        summary_key("other-half"): b'{"v":1}',
        tree_key("tree"): b"x",
    }
    for key, value in values.items():
        await bucket.put(key, value, 0)
    await bucket.close()
    async with AsyncFleet(server.url) as fleet:
        found = await fleet.hosts()
        assert {one.id: one.state for one in found.hosts} == {
            "newer": "newer",
            "nonsense": "unreadable",
            "half": "incomplete",
            "other-half": "unreadable",
        }
        with pytest.raises(NoSuchHost):
            await fleet.tree("tree")


def store(server: NatsServer, key: str, headers: bytes, value: bytes) -> None:
    """Store a value with headers as they are, which nats-py would not write."""
    sizes = f"{len(headers)} {len(headers) + len(value)}"
    subject = f"$KV.fleet.{key}"
    with socket.create_connection((server.address, server.port), 30) as connection:
        connection.sendall(
            b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB stored 1\r\n'
            + f"HPUB {subject} stored {sizes}\r\n".encode()
            + headers
            + value
            + b"\r\n"
        )
        received = b""
        while b'"seq":' not in received:
            data = connection.recv(4096)
            assert data, received
            received += data


HOSTILE_HEADERS = (
    b"NATS/1.0\r\nStatus: 100\r\nNats-Last-Consumer: 0\r\n\r\n",
    b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 9\r\n\r\n",
    b"NATS/1.0\r\nStatus: 100\r\nNats-Consumer-Stalled: $JS.API.STREAM.DELETE.KV_fleet\r\n\r\n",
    b"NATS/1.0\r\nStatus: 503\r\n\r\n",
    b"NATS/1.0 503\r\n\r\n",
    b"NATS/1.0 404\r\nStatus: 404\r\n\r\n",
    b"NATS/1.0\r\nNats-Sequence: x\r\nNats-Time-Stamp: y\r\n\r\n",
    b"NATS/1.0 \xff\xff\xff \xff\r\n\xff: \xff\r\n\r\n",
    b"NATS",
    b"\r\n",
)


async def test_headers_that_a_host_stores_are_no_answers_of_the_server(
    server: NatsServer, tmp_path: Path
) -> None:
    """A host may write its own keys with any headers; all hosts are read nevertheless."""
    one = PlayedHost(settings(server, tmp_path, "one"))
    one.start()
    reader = Reader([server.url])
    await reader.until(lambda: reader.is_true([one]), "the host")
    bucket = await Bucket.open(Access((server.url,)))
    keys = (summary_key("one"), alive_key("one"), tree_key("one"))
    values = [(await bucket.get(key)).value or b"" for key in keys]
    reader.ignored = {f"evil{number}" for number in range(len(HOSTILE_HEADERS))}
    for number, headers in enumerate(HOSTILE_HEADERS):
        for key, value in zip(keys, values, strict=True):
            key = key.replace("one", f"evil{number}")
            await asyncio.to_thread(store, server, key, headers, value)
            assert (await bucket.get(key)).value == value
    one.source.change()
    await reader.until(lambda: reader.is_true([one]), "the change")
    await reader.until(lambda: reader.known.keys() == {"one"} | reader.ignored, "all hosts")
    assert reader.watch.connections == 1
    assert [mirror.restarts for mirror in reader.watch._mirrors] == [1, 1]
    ctl = Ctl(["--fleet", server.url])
    listed = msgspec.json.decode((await asyncio.to_thread(ctl.run, "list", "--json")).stdout)
    assert {one["host"] for one in listed["hosts"] if one["devices"]} == reader.known.keys()
    await bucket.close()
    await reader.close()
    await one.kill()


def test_blocking_client_and_watch(server: NatsServer) -> None:
    """They work without an event loop of the program's."""
    with Fleet(server.url) as fleet:
        assert fleet.hosts().hosts == ()
        with fleet.watch() as watch:
            event = watch.next(30)
            assert event is not None
            assert event.event == "ready"
            assert watch.next(0.01) is None


async def test_lost_connection_is_an_error_without_the_password(server: NatsServer) -> None:
    """The server is named as in its URL, but for the user."""
    bucket = await Bucket.open(Access((server.url.replace("//", "//u:secret@"),)))
    assert bucket.server == server.url
    mirror = Mirror(bucket, HOSTS, lambda key, entry: None)
    await mirror.collect()
    await bucket.close()
    with pytest.raises(FleetUnreachable) as error:
        await mirror.collect()
    assert error.value.servers == (server.url,)


async def test_server_that_refuses_is_not_tried_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another server may answer at once; the reason is the refusal."""
    slept: list[float] = []

    async def sleep(seconds: float, *more: object) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(FleetUnreachable, match="Connect call failed"):
        await Bucket.open(Access(("nats://127.0.0.1:1",)))
    assert sum(slept) == 0


USERS = """
authorization { users: [
  { user: "admin", password: "a" }
  { user: "reader", password: "r", permissions: {
      publish: { deny: ["$KV.>"] }, subscribe: { allow: ["_INBOX.>"] } } }
] }
"""


async def test_call_after_a_refused_one_is_answered(tmp_path: Path) -> None:
    """A refusal is of one call, and not of the connection's later ones."""
    with nats_server(tmp_path / "nats", extra=USERS) as server:
        of_admin, of_reader = (
            server.url.replace("//", f"//{user}@") for user in ("admin:a", "reader:r")
        )
        await make_bucket([of_admin])
        bucket = await Bucket.open(Access((of_admin,)))
        await bucket.put(summary_key("one"), b"{}", 0)
        await bucket.close()
        async with AsyncFleet(of_reader) as fleet:
            for _ in range(2):
                assert [one.id for one in (await fleet.hosts()).hosts] == ["one"]
                with pytest.raises(FleetRefused):
                    await fleet.forget("one")


def test_servers_without_the_bucket_or_without_an_answer(tmp_path: Path) -> None:
    """The error says what to do, the exit status what it is."""
    with nats_server(tmp_path / "nats") as server:
        with Fleet(server.url) as fleet, pytest.raises(NoFleet):
            fleet.hosts()
        result = Ctl(["--fleet", server.url]).run("hosts", status=1)
        assert "nodedevd-publish --make-bucket" in result.stderr
