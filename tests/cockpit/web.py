"""A Cockpit of the test's own: cockpit-ws with a session that takes no login, and this page."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.running import PATIENCE_SECONDS, REPOSITORY

COCKPIT_WS = Path("/usr/lib/cockpit/cockpit-ws")
BRIDGE = Path("/usr/bin/cockpit-bridge")
PACKAGE = REPOSITORY / "cockpit"
NODEDEVCTL = Path(sys.executable).with_name("nodedevctl")


@contextmanager
def cockpit(
    directory: Path,
    *,
    command: Path = NODEDEVCTL,
    user: str | None = None,
    socket_path: Path | None = None,
) -> Iterator[str]:
    """Start Cockpit, and yield the address of its pages.

    The page asks the daemon on `nodedevd.sock`, unless another socket is given, and the control
    service on `control.sock`, both in the directory. The session is that of a user, by default the
    one who runs this. A session ends with its last page, and none follows: each test needs a
    Cockpit of its own.
    """
    share, config = directory / "share/cockpit", directory / "config/cockpit"
    for made in (share, config):
        made.mkdir(parents=True)
    shutil.copytree(PACKAGE, share / "nodedevd")  # every user may read it here
    own = {
        "socket": str(socket_path or directory / "nodedevd.sock"),
        "control": str(directory / "control.sock"),
        "command": [str(command)],
    }
    (config / "nodedevd.override.json").write_text(json.dumps(own))
    home = Path(pwd.getpwnam(user).pw_dir) if user else directory / "home"
    if not user:
        home.mkdir()
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "XDG_DATA_DIRS": f"{directory / 'share'}:/usr/share",
        "XDG_CONFIG_DIRS": str(directory / "config"),
        # Without one the bridge starts a bus of its own, which outlives it.
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={directory / 'no-bus'}",
    }
    with session(directory / "cockpit.log", environment, user) as address:
        yield address


@contextmanager
def session(
    log_file: Path, environment: Mapping[str, str], user: str | None = None
) -> Iterator[str]:
    """Start cockpit-ws on a free port, and yield the address of its pages."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    as_user = ["runuser", "-u", user, "--preserve-environment", "--"] if user else []
    arguments = ("--no-tls", "-a", "127.0.0.1", "-p", str(port), f"--local-session={BRIDGE}")
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*as_user, str(COCKPIT_WS), *arguments], env=environment, stdout=log, stderr=log
        )
    try:
        _wait(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until somebody listens on a port."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            assert process.poll() is None, f"cockpit-ws ended with status {process.returncode}"
            assert time.monotonic() < deadline, "cockpit-ws does not listen"
            time.sleep(0.02)
