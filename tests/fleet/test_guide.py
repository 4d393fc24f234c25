"""The guide to a fleet, and the commands of docs/fleet.md, print what they show."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
import pytest

from tests.support.guides import DOCS, Shell, examples
from tests.support.nats_server import free_ports, nats_server, program
from tests.support.played_fleet import PlayedHost, Reader, configuration, make_bucket
from tests.support.running import REPOSITORY

PUBLISH = (sys.executable, "-m", "nodedevd.publish")


@pytest.mark.needs("nats-server")
@pytest.mark.slow
@pytest.mark.exhaustive
def test_commands_of_the_guide_print_what_it_shows(tmp_path: Path) -> None:
    """In order, in one shell, on a port that is free."""
    port = str(free_ports(1)[0])
    consoles = [
        msgspec.structs.replace(one, text=one.text.replace("14222", port))
        for one in examples(DOCS / "guides" / "a-fleet.md", "console")
    ]
    server = program()
    assert server is not None
    commands = {"nodedevd-publish": PUBLISH, "nats-server": (server,)}
    Shell(tmp_path, commands=commands).console(*consoles, start_in=REPOSITORY)


@pytest.mark.needs("nats-server")
@pytest.mark.slow
async def test_program_of_the_page_prints_what_it_shows(tmp_path: Path) -> None:
    """One host is alive, the other one was stopped."""
    (program_of_page,) = examples(DOCS / "fleet.md", "python")
    (shown,) = (one for one in examples(DOCS / "fleet.md", "text") if one.title == "python")
    with nats_server(tmp_path / "nats") as server:
        await make_bucket([server.url])
        hosts = [
            # A watch begins with what was written first: there are no more heartbeats meanwhile.
            PlayedHost(
                configuration([server.url], tmp_path, name, heartbeat_seconds=600.0),
                sample="vgpu-sriov",
            )
            for name in ("kvm1", "kvm2")
        ]
        reader = Reader([server.url])
        for count, host in enumerate(hosts, 1):
            host.start()
            await reader.until(lambda: reader.is_true(hosts[:count]), "the hosts")  # noqa: B023
        await hosts[1].leave()
        await reader.until(lambda: reader.known["kvm2"].state == "left", "that it has left")
        text = program_of_page.text.replace("nats://127.0.0.1:4222", server.url)
        example = msgspec.structs.replace(program_of_page, text=text)
        await asyncio.to_thread(Shell(tmp_path).python, example, shown)
        await hosts[0].kill()
        await reader.close()


def test_commands_of_the_page_print_what_it_shows(tmp_path: Path) -> None:
    """Those that need no fleet."""
    Shell(tmp_path).console(*examples(DOCS / "fleet.md", "console"), start_in=REPOSITORY)
