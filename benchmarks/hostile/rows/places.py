"""One user takes all places it can get, and goes in and out of the last one."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.hostile.bed import SMALL, Bed, Daemon, connected
from benchmarks.hostile.figure import Figure

CONNECTIONS = 1100
SECONDS = 2.0
CHURN_SECONDS = 60.0


def measure(bed: Bed) -> Iterator[Figure]:
    """Yield how often root is refused beside it, and how long root waits.

    The wait is CPU time of the daemon, since the attacker keeps a processor busy.
    """
    with bed.daemon(SMALL) as daemon:

        def attack() -> Iterator[None]:
            held = connected(daemon.varlink, CONNECTIONS) + connected(daemon.libvirt, CONNECTIONS)
            yield
            until = time.monotonic() + CHURN_SECONDS
            while time.monotonic() < until:
                for protocol in (daemon.varlink, daemon.libvirt):
                    if held:
                        held.pop(0).close()
                    held += connected(protocol, 1)

        refused = 0
        used = []
        with bed.attacker(attack):
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                before = daemon.cpu_seconds()
                refused += not _answered(daemon)
                used.append((daemon.cpu_seconds() - before) * 1e3)
                time.sleep(0.01)
        yield Figure("places: root is refused", 100 * refused / len(used), "%", 0)
        yield Figure("places: CPU until root is answered", sorted(used)[-1], "ms", 1000)


def _answered(daemon: Daemon) -> bool:
    while True:
        try:
            daemon.ask("GetStatus")
        except BlockingIOError:
            continue  # The backlog of the socket is full.
        except (ValueError, OSError):
            return False
        return True
