"""The daemon starts no process, from its imports to its stop."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nodedevd.client import Client
from tests.support.running import running

WATCHED = """
import os, sys
FORBIDDEN = {"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
def refuse(event, arguments):
    if event in FORBIDDEN:
        print("started a process:", event, arguments, file=sys.stderr, flush=True)
        os._exit(99)
sys.addaudithook(refuse)
from nodedevd.__main__ import main
main()
"""


@pytest.mark.parametrize("events", ["kernel", "none"])
def test_daemon_starts_no_process(tmp_path: Path, events: str) -> None:
    """A fork, an exec or a library looked up by a tool ends it with a status of its own."""
    socket = tmp_path / "socket"
    command = (sys.executable, "-c", WATCHED)
    with (
        running(tmp_path, Path("/"), "--events", events, command=command, socket_path=socket),
        Client(str(socket)) as client,
    ):
        assert client.list().devices
