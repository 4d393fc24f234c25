"""Measures how soon clients hear of changes of this machine's own kernel: benchmarks.kernel.

It must run in new namespaces; `benchmarks.__main__` creates them, and reads the results. Both
daemons follow the same udevd, without rules, in a network namespace in which nothing else happens.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.daemons import Daemon, Libvirtd, Nodedevd, Started, started
from benchmarks.measure import EVENT_SECONDS, Figures, progress
from benchmarks.protocols import Connection, Protocol
from benchmarks.soak.interfaces import Interfaces
from tests.support.libvirtd import RUN, UDEVD, mount

CHANGES = 20
"""interfaces that are added and removed one after another"""
UEVENTS = 2000
QUIET_SECONDS = 0.1
"""Nothing happens for so long before a change."""
_RULES = ("/usr/lib/udev/rules.d", "/etc/udev")


def set_up() -> None:
    """Run a udevd in these namespaces, without Debian's rules, which differ from host to host."""
    mount("-t", "tmpfs", "none", "/run")
    mount("-t", "sysfs", "none", "/sys")  # with the interfaces of this namespace
    for directory in _RULES:
        mount("-t", "tmpfs", "none", directory)
    RUN.mkdir()
    subprocess.run([UDEVD, "--daemon"], check=True)  # returns when it is ready


def measure(daemon: Daemon, interfaces: Interfaces) -> Figures:
    """Start a daemon, and measure its events and what they cost."""
    with started(daemon) as running, Connection(daemon.own, EVENT_SECONDS) as connection:
        connection.ask(daemon.own.watch)
        running.cpu_at_rest()
        added, removed = [], []
        for _ in range(CHANGES):
            time.sleep(QUIET_SECONDS)
            began = time.monotonic()
            name = interfaces.add()
            _wait(connection, daemon.own, "added", name)
            added.append(time.monotonic() - began)
            time.sleep(QUIET_SECONDS)
            began = time.monotonic()
            # The kernel returns from it long after its event.
            removing = threading.Thread(target=interfaces.remove, args=[name])
            removing.start()
            _wait(connection, daemon.own, "removed", name)
            removed.append(time.monotonic() - began)
            removing.join()
        figures = {
            "veth_added_ms": statistics.median(added) * 1e3,
            "veth_added_p95_ms": statistics.quantiles(added, n=20)[-1] * 1e3,
            "veth_removed_ms": statistics.median(removed) * 1e3,
        }
        return figures | {"uevents_cpu_s": _storm(running, interfaces)}


def _storm(running: Started, interfaces: Interfaces) -> float:
    """Return the CPU time that a daemon uses for many uevents, most of which say `change`."""
    before = running.cpu_at_rest()
    interfaces.burst(UEVENTS)
    subprocess.run(["udevadm", "settle"], check=True)
    return running.cpu_at_rest() - before


def _wait(connection: Connection, protocol: Protocol, event: str, interface: str) -> None:
    """Wait until an interface is reported; its name is followed by its hardware address."""
    wanted = re.compile(f"net_{interface}_[0-9a-f_]{{17}}")
    while True:
        found = protocol.read_event(connection.receive())
        if found is not None and found[0] == event and wanted.fullmatch(found[1]):
            return


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and write the figures of all rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nodedevd", help="path of the program")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    set_up()
    interfaces = Interfaces()
    daemons: list[Daemon] = [Libvirtd(), Nodedevd(arguments.nodedevd)]
    rounds: dict[str, list[Figures]] = {}
    for number in range(arguments.rounds):
        for daemon in daemons if number % 2 == 0 else reversed(daemons):
            figures = measure(daemon, interfaces)
            rounds.setdefault(daemon.name, []).append(figures)
            progress(
                f"this machine's kernel: round {number + 1} of {arguments.rounds}, {daemon.name}:"
                f" {figures['veth_added_ms']:.2f} ms to an event"
            )
    arguments.out.write_text(json.dumps(rounds))


if __name__ == "__main__":
    main()
