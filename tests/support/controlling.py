"""nodedevd-control as a process, on a host of files."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.running import PATIENCE_SECONDS, Running, running

COMMAND = (sys.executable, "-m", "nodedevd.control")
SOCKET = "control.sock"
PATIENT = f"[limits]\nconfirm_seconds = {10 * PATIENCE_SECONDS}\n"
"""Configuration for a busy machine: what threads of the test play may come late."""
_ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())  # that of the service, which this process becomes
os.execv(sys.argv[2], sys.argv[2:])
"""


@contextmanager
def controlling(
    directory: Path,
    sysroot: Path,
    *options: str,
    configuration: str = PATIENT,
    environment: Mapping[str, str] | None = None,
    follow: bool = False,
) -> Iterator[Running]:
    """Start the service on `control.sock` in the directory, wait until it serves, and stop it.

    It has the configuration, and follows a daemon only if it is to.
    """
    file = directory / "control.toml"
    file.write_text(configuration)
    file.chmod(0o600)
    given = ("--config", str(file), *(() if follow else ("--scan",)), *options)
    with running(
        directory,
        sysroot,
        *given,
        environment=environment,
        socket_path=directory / SOCKET,
        command=COMMAND,
    ) as service:
        yield service


def activated(directory: Path, sysroot: Path, configuration: str) -> subprocess.Popen[bytes]:
    """Start the service as systemd does for the first call, with the socket as descriptor 3."""
    file = directory / "control.toml"
    file.write_text(configuration)
    file.chmod(0o600)
    path = directory / SOCKET
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        with (directory / "log").open("ab") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-c", _ACTIVATE, str(listening.fileno())),
                    *(*COMMAND, "--scan", "--config", str(file), "--sysroot", str(sysroot)),
                ],
                env={**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "control"},
                pass_fds=(listening.fileno(),),
                stderr=log,
            )
