"""Clients of a server of libvirt's protocol, each a process of its own, which only connect."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from tests.support.running import PATIENCE_SECONDS
from tests.support.serving import listening

LIBVIRT = "virtnodedevd-sock"

_CONNECT = """
import os, socket, sys
path, uid, *groups = sys.argv[1:]
os.setgroups([int(one) for one in groups])
os.setgid(int(uid)); os.setuid(int(uid))
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(path)
    sys.stdin.read()
"""


class LibvirtClients:
    """The server, as far as it accepts.

    Attributes:
        path: where it listens.
        listening: the socket that it accepts on.
        processes: the clients.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / LIBVIRT
        self.listening = listening(self.path)
        self.path.chmod(0o666)
        self.processes: list[subprocess.Popen[bytes]] = []
        self._accepted: list[socket.socket] = []

    def accepted(self, *ids: int) -> socket.socket:
        """Return the server's end of a new client, which is a process of a user in groups."""
        command = [sys.executable, "-c", _CONNECT, str(self.path), *map(str, ids)]
        self.processes.append(subprocess.Popen(command, stdin=subprocess.PIPE))
        self.listening.settimeout(PATIENCE_SECONDS)
        sock, _ = self.listening.accept()
        self._accepted.append(sock)
        return sock

    def close(self) -> None:
        """End the clients, and the server."""
        for process in self.processes:
            process.communicate(timeout=PATIENCE_SECONDS)
        for sock in (*self._accepted, self.listening):
            sock.close()
