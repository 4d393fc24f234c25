"""The guide to a fleet, and the commands of docs/fleet.md, print what they show."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from tests.support.guides import DOCS, Shell, examples
from tests.support.nats_server import free_ports, program
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


def test_commands_of_the_page_print_what_it_shows(tmp_path: Path) -> None:
    """Those that need no fleet."""
    Shell(tmp_path).console(*examples(DOCS / "fleet.md", "console"), start_in=REPOSITORY)
