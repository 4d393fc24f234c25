"""Who may do what: TLS, users, permissions, and what a violator is told."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodedevd.client.fleet import AsyncFleet, FleetRefused
from nodedevd.client.fleet.access import Access, Tls
from nodedevd.client.fleet.bucket import Bucket
from nodedevd.client.fleet.errors import BadAccess, FleetUnreachable
from nodedevd.publish.configuration import Configuration
from tests.support.nats_server import NatsServer, nats_server
from tests.support.played_fleet import PlayedHost
from tests.support.running import REPOSITORY

pytestmark = [pytest.mark.exhaustive, pytest.mark.slow, pytest.mark.needs("nats-server")]


def permissions() -> str:
    """Return the permissions that docs/fleet.md gives, as a server reads them."""
    page = (REPOSITORY / "docs" / "fleet.md").read_text(encoding="utf-8")
    return page.split("```text authorization\n", 1)[1].split("```", 1)[0]


def certificates(directory: Path) -> None:
    """Make an authority, and a certificate of the server."""
    directory.mkdir()
    new = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    signed = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -copy_extensions copy"
    for command in (
        f"{new} -x509 -days 30 -subj /CN=ca -keyout ca.key -out ca.pem",
        f"{new} -subj /CN=localhost -addext {names} -keyout server.key -out server.csr",
        f"openssl x509 -req -in server.csr {signed} -out server.pem",
    ):
        subprocess.run(command.split(), cwd=directory, check=True, capture_output=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """Return a server with TLS and the users of the documentation."""
    made = tmp_path / "tls"
    certificates(made)
    (tmp_path / "password").write_text("secret\n")
    tls = (
        f'tls {{ cert_file: "{made}/server.pem", key_file: "{made}/server.key",'
        f' ca_file: "{made}/ca.pem", timeout: 5 }}\n'
    )
    text = permissions().replace("kvm1", "h1").replace('password: "…"', 'password: "secret"')
    with nats_server(tmp_path / "nats", extra=tls + text) as one:
        asyncio.run(make_bucket_as_admin(one, tmp_path))
        yield one


def as_user(server: NatsServer, directory: Path, user: str, **more: object) -> Configuration:
    """Return the configuration of a user."""
    given = {
        "servers": (f"tls://127.0.0.1:{server.port}",),
        "user": user,
        "password_file": str(directory / "password"),
        "tls": Tls(ca=str(directory / "tls" / "ca.pem")),
        "inbox_prefix": "_INBOX_" + user.removeprefix("host-"),
        "host": "h1",
        "state_directory": str(directory / "state"),
        "heartbeat_seconds": 1.0,
        "publish_seconds": 0.05,
        "timeout_seconds": 2.0,
        **more,
    }
    return Configuration(**given)  # type: ignore[arg-type]


async def make_bucket_as_admin(server: NatsServer, directory: Path) -> None:
    """Make the bucket."""
    bucket = await Bucket.open(as_user(server, directory, "admin", inbox_prefix="_INBOX"))
    await bucket.make(replicas=1, max_bytes=1 << 26)
    await bucket.close()


async def test_host_and_reader_have_the_permissions_that_they_need(
    server: NatsServer, tmp_path: Path
) -> None:
    """Those of the documentation suffice, over TLS."""
    host = PlayedHost(as_user(server, tmp_path, "host-h1"))
    host.start()
    reading = as_user(server, tmp_path, "reader")
    watch = AsyncFleet(reading).watch()
    async with watch, AsyncFleet(reading) as fleet:
        states = []
        while "alive" not in states:
            event = await watch.next(30)
            assert event is not None
            states.append(event.state)
        host.source.change()
        generation = None
        while generation != 2:
            event = await watch.next(30)
            assert event is not None
            generation = event.generation
        assert (await fleet.tree("h1")).snapshot.get("computer") is not None
        with pytest.raises(FleetRefused):
            await fleet.forget("h1")
    await host.leave()


async def test_violators_are_told_at_once(server: NatsServer, tmp_path: Path) -> None:
    """Neither a host nor a reader does what is not its own; nobody waits for a timeout."""
    host = as_user(server, tmp_path, "host-h1", timeout_seconds=60.0)
    for key in ("host.h2", "host.h2.alive", "host.h10"):
        bucket = await Bucket.open(host)
        with pytest.raises(FleetRefused, match="permissions violation"):
            await bucket.put(key, b"x", 0)
        await bucket.close()
    bucket = await Bucket.open(host)
    with pytest.raises(FleetRefused):
        await bucket.get("host.h2")
    await bucket.close()
    async with AsyncFleet(host) as fleet:
        with pytest.raises(FleetRefused):
            await fleet.hosts()
    bucket = await Bucket.open(as_user(server, tmp_path, "reader", timeout_seconds=60.0))
    with pytest.raises(FleetRefused):
        await bucket.put("host.h1", b"x", 0)
    await bucket.close()
    forgotten = as_user(server, tmp_path, "reader", inbox_prefix="_INBOX", timeout_seconds=60.0)
    async with AsyncFleet(forgotten) as fleet:
        with pytest.raises(FleetRefused, match="inbox_prefix"):
            await fleet.hosts()


async def test_strangers_are_not_let_in(server: NatsServer, tmp_path: Path) -> None:
    """A wrong password, no TLS, an unknown authority: the error says which."""
    wrong = tmp_path / "wrong"
    wrong.write_text("guess")
    with pytest.raises(FleetRefused, match="Authorization"):
        await Bucket.open(as_user(server, tmp_path, "reader", password_file=str(wrong)))
    with pytest.raises((FleetRefused, FleetUnreachable)):
        await Bucket.open(Access((f"nats://127.0.0.1:{server.port}",)))
    with pytest.raises(FleetRefused, match="certificate"):
        await Bucket.open(as_user(server, tmp_path, "reader", tls=Tls()))
    with pytest.raises(BadAccess, match="No such file"):
        await Bucket.open(as_user(server, tmp_path, "reader", password_file="/nowhere"))


async def test_publisher_says_that_it_is_refused(server: NatsServer, tmp_path: Path) -> None:
    """In its state, which systemd shows."""
    said = asyncio.Event()

    def on_state(text: str) -> None:
        if "permissions violation" in text:
            said.set()

    host = PlayedHost(as_user(server, tmp_path, "host-h1", host="h2"))
    host.start()
    assert host.publisher is not None
    host.publisher._on_state = on_state
    async with asyncio.timeout(30):
        await said.wait()
    await host.kill()
    await make_bucket_as_admin(server, tmp_path)  # it is there already
