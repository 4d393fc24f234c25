"""Measures both daemons on one host, in turn, in rounds: python -m benchmarks.measure.

It must run in new namespaces; `benchmarks.__main__` creates them, and reads the results.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks import commands, report
from benchmarks.daemons import (
    Daemon,
    Libvirtd,
    Nodedevd,
    Started,
    cpu_of,
    first_connection,
    processors_awake,
    started,
)
from benchmarks.generate import shape
from benchmarks.protocols import Connection, Protocol, Rpc, Varlink
from benchmarks.stage import Stage, compiled
from nodedevd.host.sysroot import Sysroot
from nodedevd.tree.read import scan
from tests.libvirt.comparison import compare
from tests.support.libvirtd import RUN

LOAD_SECONDS = 2.0
QUICK_SECONDS = 0.2
CLIENTS = 64
CHANGES = 10
"""devices that are removed and added one after another"""
BURST = 1000
"""virtual functions that are removed at once"""
XML_BYTES = 900
"""average for a device, which the floor writes"""
EVENT_SECONDS = 300.0
"""After so long without an event, the daemon has missed the change."""
BURST_SECONDS = 60.0
"""A burst that takes longer is not measured to its end."""

Figures: TypeAlias = dict[str, float]


def progress(text: str) -> None:
    """Print a progress message to standard error."""
    print(text, file=sys.stderr, flush=True)


class Loader:
    """Sends requests with the C program, so that the daemon takes most of the time."""

    def __init__(self) -> None:
        self._program = compiled("load")
        self._requests = RUN / "requests"

    def run(
        self,
        protocol: Protocol,
        requests: Sequence[bytes],
        *,
        clients: int = 1,
        seconds: float = 0.0,
    ) -> dict[str, Any]:
        """Send each request once, or all repeatedly for some time. Raises CalledProcessError."""
        with self._requests.open("wb") as file:
            file.write(struct.pack("=I", len(protocol.greeting)))
            for request in (*protocol.greeting, *requests):
                file.write(struct.pack("=I", len(request)) + request)
        command = [str(self._program), str(protocol.path), protocol.framing, str(self._requests)]
        command += [str(clients), str(seconds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        return dict(json.loads(done.stdout))


class Bench:
    """Both daemons on one host."""

    def __init__(self, stage: Stage, load_seconds: float) -> None:
        self._stage = stage
        self._load_seconds = load_seconds
        self._loader = Loader()

    def check(self, daemons: Sequence[Daemon]) -> None:
        """Fail unless both daemons show all devices, with the same text for each."""
        shown = []
        for daemon in daemons:
            with started(daemon):
                with Connection(daemon.libvirt, 60.0) as connection:
                    shown.append(read_all(daemon.libvirt, connection))
                if isinstance(daemon, Nodedevd):
                    self._check_bulk(daemon, shown[-1])
        theirs, own = shown
        assert len(own) == self._stage.devices, f"{len(own)} devices"
        one_sided = sorted(theirs.keys() ^ own.keys())
        assert not one_sided, (
            f"{len(one_sided)} devices are shown by only one daemon: {one_sided[:5]}"
        )
        compare(theirs, own, Path("/"))

    def _check_bulk(self, daemon: Nodedevd, own: dict[str, str]) -> None:
        """Fail unless the bulk reply has the text of each device, and there are no read errors."""
        protocol = daemon.varlink
        with Connection(protocol, 60.0) as connection:
            (request,) = protocol.everything([])
            document = protocol.read(connection.ask(request))["xml"]
            errors = protocol.read(connection.ask(protocol.status))["error_count"]
        devices = re.findall(r"  <device>\n(?:.|\n)*?\n  </device>\n", document)
        found = [re.sub("^  ", "", device, flags=re.MULTILINE) for device in devices]
        assert sorted(found) == sorted(own.values()), "the bulk reply differs from single replies"
        assert errors == 0, f"{errors} read errors"

    def floor_of_a_call(self) -> Figures:
        """Measure a C program that answers every call with the same bytes, as many as XML has."""
        protocol = Varlink(RUN / "answer.sock")
        protocol.path.unlink(missing_ok=True)
        process = subprocess.Popen([compiled("answer"), protocol.path, str(XML_BYTES)])
        try:
            with first_connection(protocol, process, "answer"):
                pass  # it listens now
            figures = self._answers(protocol, process.pid, "answer")
            with processors_awake():
                return figures | self._answers(protocol, process.pid, "awake_answer")
        finally:
            process.kill()
            process.wait()

    def _answers(self, protocol: Protocol, pid: int, key: str) -> Figures:
        before = cpu_of(pid)
        done = self._loader.run(protocol, [protocol.dump("computer")], seconds=self._load_seconds)
        cpu = (cpu_of(pid) - before) / done["answered"]
        return {f"{key}_us": done["p50_ns"] / 1e3, f"{key}_cpu_us": cpu * 1e6}

    def measure(self, daemon: Daemon, *, load: bool, burst: bool) -> Figures:
        """Start a daemon and measure it."""
        with started(daemon) as running:
            assert len(running.names) == self._stage.devices, f"{len(running.names)} devices"
            figures = {
                "start_wall_s": running.wall_seconds,
                "start_cpu_s": running.cpu_seconds,
                "start_rss_mib": running.rss_mib(),
            }
            if isinstance(daemon, Nodedevd):
                with Connection(daemon.varlink, 60.0) as connection:
                    status = daemon.varlink.read(connection.ask(daemon.varlink.status))
                figures["scan_s"] = status["last_scan"]["seconds"]
            figures |= self._questions(daemon, running, load=load)
            figures["rss_mib"] = running.rss_mib()
            return figures | self._events(daemon.own, running, burst=burst)

    def _questions(self, daemon: Daemon, running: Started, *, load: bool) -> Figures:
        own, libvirt, names = daemon.own, daemon.libvirt, list(running.names)
        random.Random(1).shuffle(names)  # a run that ends early has devices of every kind
        everything, dumps = own.everything(names), [own.dump(name) for name in names]
        figures = {"all_first_ms": self._loader.run(own, everything)["wall_ns"] / 1e6}
        figures["names_ms"] = self._loader.run(own, [own.names] * 5)["p50_ns"] / 1e6
        figures |= self._dumps(own, dumps, running, "dump", 1)
        with processors_awake():
            figures |= self._dumps(own, dumps, running, "awake_dump", 1)
        # By now, the counts are older than --count-age: nodedevd reads them again.
        figures["all_ms"] = self._loader.run(own, everything)["wall_ns"] / 1e6
        if load:
            figures |= self._dumps(own, dumps, running, "load", CLIENTS)
        if libvirt is own:
            figures["libvirt_names_ms"] = figures["names_ms"]
            figures["libvirt_dump_us"] = figures["dump_us"]
            figures["libvirt_dump_cpu_us"] = figures["dump_cpu_us"]
        elif load:
            names_ns = self._loader.run(libvirt, [libvirt.names] * 5)["p50_ns"]
            figures["libvirt_names_ms"] = names_ns / 1e6
            with Connection(libvirt, 60.0) as connection:
                theirs = libvirt.read_names(connection.ask(libvirt.names))
            random.Random(1).shuffle(theirs)
            dumps = [libvirt.dump(name) for name in theirs]
            figures |= self._dumps(libvirt, dumps, running, "libvirt_dump", 1)
        return figures

    def _dumps(
        self, protocol: Protocol, dumps: Sequence[bytes], running: Started, key: str, clients: int
    ) -> Figures:
        before = running.cpu()
        done = self._loader.run(protocol, dumps, clients=clients, seconds=self._load_seconds)
        cpu = running.cpu() - before
        figures = {f"{key}_us": done["p50_ns"] / 1e3, f"{key}_p99_us": done["p99_ns"] / 1e3}
        figures[f"{key}_cpu_us"] = cpu / done["answered"] * 1e6
        figures[f"{key}_per_s"] = done["answered"] / done["wall_ns"] * 1e9
        return figures

    # -- changes -----------------------------------------------------------------------

    def _events(self, protocol: Protocol, running: Started, *, burst: bool) -> Figures:
        functions = self._stage.functions
        figures: Figures = {}
        with Connection(protocol, EVENT_SECONDS) as connection:
            connection.ask(protocol.watch)
            before = running.cpu_at_rest()
            walls = []
            for function in functions[:CHANGES]:
                walls.append(self._until(connection, protocol, [self._stage.remove(function)]))
                walls.append(self._until(connection, protocol, self._stage.restore()))
            used = running.cpu_at_rest() - before
            figures["event_cpu_ms"] = used / len(walls) * 1e3
            figures["event_ms"] = sorted(walls)[len(walls) // 2] * 1e3
            if burst:
                messages = [self._stage.remove(function) for function in functions[:BURST]]
                before = running.cpu()
                figures["burst_s"] = self._until(connection, protocol, messages, BURST_SECONDS)
                figures["burst_cpu_s"] = running.cpu() - before
                self._stage.restore()
        return figures

    def _until(
        self,
        connection: Connection,
        protocol: Protocol,
        messages: Sequence[bytes],
        limit_seconds: float = EVENT_SECONDS,
    ) -> float:
        """Send messages of udevd, and return after how many seconds the client has all events.

        The result exceeds the limit if events are still missing then.
        """
        wanted = {expected_event(message) for message in messages}
        began = time.monotonic()
        for message in messages:
            self._stage.send(message)
        while wanted and time.monotonic() - began < limit_seconds:
            event = protocol.read_event(connection.receive())
            if event is not None:
                wanted.discard(event)
        return time.monotonic() - began


def expected_event(message: bytes) -> tuple[str, str]:
    """Return the event that clients receive for a message of udevd about a PCI function."""
    action, path = re.findall(rb"(?:ACTION|DEVPATH)=([^\0]*)", message)
    name = re.sub("[^0-9a-f]", "_", path.decode().rpartition("/")[2])
    return ("removed" if action == b"remove" else "added", f"pci_{name}")


def read_all(protocol: Rpc, connection: Connection) -> dict[str, str]:
    """Return the XML of every device by name."""
    names = protocol.read_names(connection.ask(protocol.names))
    return {name: protocol.read_xml(connection.ask(protocol.dump(name))) for name in names}


class Floor:
    """The reads of a scan, done by a C program that does nothing else."""

    def __init__(self, xml_bytes: int) -> None:
        self._program = compiled("floor")
        self._reads = RUN / "reads"
        self._xml_bytes = xml_bytes
        noted = ReadLog()
        scan(noted)
        self._reads.write_text("".join(noted.reads), errors="surrogateescape")

    def measure(self) -> Figures:
        """Do the reads once."""
        command = [str(self._program), str(self._reads), str(self._xml_bytes), "1"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        answer = json.loads(done.stdout)
        return {"floor_s": answer["rounds_ns"][0] / 1e9, "floor_reads": answer["reads"]}


class ReadLog(Sysroot):
    """A sysroot that logs every read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []

    def listdir(self, path: str) -> list[str]:
        self.reads.append(f"L {path}\n")
        return super().listdir(path)

    def read(self, path: str, size: int | None = None) -> bytes:
        self.reads.append(f"R{'' if size is None else size} {path}\n")
        return super().read(path, size)

    def read_link(self, path: str) -> str:
        self.reads.append(f"T {path}\n")
        return super().read_link(path)

    def exists(self, path: str) -> bool:
        self.reads.append(f"E {path}\n")
        return super().exists(path)


def main() -> None:
    """Measure, and write the figures of all rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help="measure nodedevd only")
    parser.add_argument("--brief", action="store_true", help="omit 64 clients and the burst")
    parser.add_argument("--quick", action="store_true", help="measure for a short time")
    parser.add_argument("--nodedevd", help="path of the program")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    devices, load = arguments.devices, not arguments.brief
    progress(f"{devices} devices: generating the host")
    stage = Stage(shape(devices))
    stage.set_up()
    bench = Bench(stage, QUICK_SECONDS if arguments.quick else LOAD_SECONDS)
    daemons: list[Daemon] = [Nodedevd(arguments.nodedevd)]
    if not arguments.alone:
        daemons.insert(0, Libvirtd())
    if not arguments.alone:
        progress(f"{devices} devices: comparing the devices of both daemons")
        bench.check(daemons)
    floor = Floor(XML_BYTES * devices)
    burst = load and len(stage.functions) >= BURST
    rounds: dict[str, list[Figures]] = {}
    for number in range(arguments.rounds):
        floors = floor.measure() | (bench.floor_of_a_call() if load else {})
        rounds.setdefault("floor", []).append(floors)
        for daemon in daemons if number % 2 == 0 else reversed(daemons):
            # libvirtd takes minutes for this, with two processes for each device.
            bursts = burst and (number == 0 or not isinstance(daemon, Libvirtd))
            figures = bench.measure(daemon, load=load, burst=bursts)
            rounds.setdefault(daemon.name, []).append(figures)
            progress(
                f"{devices} devices: round {number + 1} of {arguments.rounds}, "
                f"{daemon.name} up after {figures['start_wall_s']:.2f} s"
            )
        if devices <= report.SMALLEST:
            nodedevd = Nodedevd(arguments.nodedevd)
            with started(nodedevd):
                for name, times in commands.measure(nodedevd, arguments.nodedevd).items():
                    if name == nodedevd.name:
                        rounds[name][-1] |= times
                    else:
                        rounds.setdefault(name, []).append(times)
        if not arguments.alone and load:
            with started(Libvirtd(mdevctl=False)) as running:
                without = {"start_wall_s": running.wall_seconds, "start_cpu_s": running.cpu_seconds}
            rounds.setdefault("libvirtd without mdevctl", []).append(without)
    arguments.out.write_text(json.dumps(rounds))


if __name__ == "__main__":
    main()
