"""systemd: sockets that systemd-socket-activate hands over."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import PATIENCE_SECONDS, REPOSITORY

SERVE = """
from nodedevd.systemd import listen_sockets

sockets = dict(listen_sockets())
for name in sorted(sockets):
    connection, _ = sockets[name].accept()
    connection.sendall(name.encode())
"""


@pytest.mark.needs("systemd-socket-activate")
def test_named_sockets_of_systemd_socket_activate_are_served(tmp_path: Path) -> None:
    """The clients that caused the start are answered, each on its socket."""
    paths = {"libvirt": tmp_path / "a.sock", "varlink": tmp_path / "b.sock"}
    listen = [f"--listen={path}" for path in paths.values()]
    names = f"--fdname={':'.join(paths)}"
    with subprocess.Popen(
        ["systemd-socket-activate", *listen, names, sys.executable, "-c", SERVE],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            for _ in paths:
                assert any("Listening on" in line for line in process.stderr)
            for name, path in paths.items():
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(PATIENCE_SECONDS)
                    client.connect(str(path))
                    assert client.recv(100) == name.encode()
            assert process.wait(PATIENCE_SECONDS) == 0
        finally:
            process.kill()
