"""One user makes the daemon log something again and again."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

from benchmarks.hostile.bed import SMALL, Bed
from benchmarks.hostile.figure import Figure

SECONDS = 1.5


def measure(bed: Bed) -> Iterator[Figure]:
    """Yield how many lines the log has after as many connections as fit into the time."""
    with bed.daemon(SMALL) as daemon:

        def attack() -> Iterator[None]:
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(daemon.libvirt.path))
                    client.sendall(b"\0\0\0\1")
            yield

        with bed.attacker(attack):
            daemon.ask("GetStatus")
            lines = daemon.log.read_text().count("\n")
    yield Figure("log: lines by packets that are none", lines, "lines", 30)
