"""The soak: real uevents, watchers, clients of libvirt and hostile connections, all at once.

It takes root, and makes a network namespace, a mount namespace and a daemon of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.soak.hostile import Deeds
from benchmarks.soak.interfaces import Interfaces
from benchmarks.soak.readers import Report, digest_of
from nodedevd.client import Client
from nodedevd.model.status import Status
from nodedevd.model.store import HISTORY_CHANGES
from nodedevd.socket_paths import INTERFACE
from nodedevd.varlink import ReplyDecoder, encode_call
from tests.support.running import NODEDEVCTL, REPOSITORY, Running, running

BURST = 1000
"""Uevents that are on their way at a time."""
SAMPLES = 10
RSS_GROWTH_MIB = 8.0
"""By the medians of tenths: from the first that begins with a full history of changes, to the last.
Until it is full, every change takes memory. A short soak is not judged by it."""
PATIENCE_SECONDS = 300.0
_NAMESPACES = ("unshare", "--net", "--mount", "--propagation", "private", "sh", "-euc")
_SETUP = 'mount -t sysfs sysfs /sys; mount -t tmpfs tmpfs /run; exec "$0" "$@"'
_INSIDE = "NODEDEVD_SOAK"

_EPILOG = """\
Example: a short one, while others use the machine
  make soak ARGS="--uevents 20000"

Exit status: 0 nothing was lost and the memory is level; 1 otherwise; 2 wrong usage; 3 it cannot
run here."""


class Sample(msgspec.Struct):
    """The daemon at one time."""

    uevents: int
    seconds: float
    rss_mib: float
    generation: int


class Outcome(msgspec.Struct):
    """The figures of a soak."""

    uevents: int
    seconds: float
    samples: list[Sample]
    rss_mib: list[float]
    """the median of each tenth"""
    rss_growth_mib: float
    rss_after_mib: float
    """after all clients have left"""
    describe_p50_ms: float
    describe_p99_ms: float
    devices: int
    generation: int
    readers: Report
    hostile: Deeds
    status: Status
    problems: list[str]
    """what must not be; empty if all is well"""


class Soak:
    """One run; use `run`."""

    def __init__(self, given: argparse.Namespace, directory: Path, daemon: Running) -> None:
        self._given = given
        self._paths = (str(directory / "nodedevd.sock"), str(directory / "libvirt.sock"))
        self._daemon = daemon
        self._began = time.monotonic()
        self._samples: list[Sample] = []
        self._rss: list[list[float]] = [[] for _ in range(SAMPLES)]
        self._latencies: list[float] = []
        self._problems: list[str] = []

    def run(self) -> Outcome:
        """Do all of it."""
        given, interfaces = self._given, Interfaces()
        with ExitStack() as stack, Client(self._paths[0]) as client:
            numbers = (given.watchers - given.idle, given.idle, given.libvirt)
            readers = _child("readers", *self._paths, *map(str, numbers))
            stack.callback(_end, readers)
            assert readers.stdout is not None
            assert readers.stdin is not None
            hostile = _child("hostile", *self._paths, str(given.hostile))
            stack.callback(_end, hostile)
            for child in (readers, hostile):
                if child.stdout is None or child.stdout.readline() != "ready\n":
                    raise RuntimeError(f"a process ended: {child.args!r}")
            before = client.status().events
            interfaces.begin()  # afterwards: others cause uevents, too
            self._sample(0, client.status())
            self._bursts(interfaces, client, before)
            deeds = msgspec.json.decode(hostile.communicate()[0], type=Deeds)
            status = self._settled(client)
            readers.stdin.write(f"finish {status.generation}\n")
            readers.stdin.flush()
            report = msgspec.json.decode(readers.stdout.readline(), type=Report)
            devices = self._compare(client, report)
            seconds = time.monotonic() - self._began
            status = client.status()
        rss_after = self._rss_after()
        self._judge(report, status, interfaces.uevents)
        medians = [round(statistics.median(one), 1) for one in self._rss if one]
        full = [one.generation > HISTORY_CHANGES for one in self._samples[: len(medians)]]
        growth = medians[-1] - medians[full.index(True)] if any(full) else 0.0
        if growth > RSS_GROWTH_MIB:
            self._problems.append(f"the memory grew by {growth:.1f} MiB: {medians}")
        return Outcome(
            uevents=interfaces.uevents,
            seconds=round(seconds, 1),
            samples=self._samples,
            rss_mib=medians,
            rss_growth_mib=round(growth, 1),
            rss_after_mib=rss_after,
            describe_p50_ms=_quantile(self._latencies, 0.5),
            describe_p99_ms=_quantile(self._latencies, 0.99),
            devices=devices,
            generation=status.generation,
            readers=report,
            hostile=deeds,
            status=status,
            problems=self._problems,
        )

    def _bursts(self, interfaces: Interfaces, client: Client, before: int) -> None:
        wanted: int = self._given.uevents
        polite = _Polite(self._paths[0])
        while interfaces.uevents < wanted:
            interfaces.burst(min(BURST, wanted - interfaces.uevents))
            status = self._followed(client, before + interfaces.uevents)
            self._latencies.append(polite.describe("computer"))
            tenth = min(interfaces.uevents * SAMPLES // wanted, SAMPLES)
            self._rss[min(tenth, SAMPLES - 1)].append(self._rss_mib())
            if tenth >= len(self._samples):
                self._sample(interfaces.uevents, status)
        polite.close()

    def _followed(self, client: Client, events: int) -> Status:
        """Wait until the daemon has received so many uevents. Raises TimeoutError."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        pause = 0.001
        while (status := client.status()).events < events:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the daemon has received {status.events} of {events} uevents")
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        return status

    def _settled(self, client: Client) -> Status:
        """Return a status that has not changed while a scan of this host took place."""
        before = client.status()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            time.sleep(0.5)
            now = client.status()
            if (now.generation, now.updates) == (before.generation, before.updates):
                return now
            if time.monotonic() > deadline:
                self._problems.append("the host goes on changing")
                return now
            before = now

    def _compare(self, client: Client, report: Report) -> int:
        """Compare the daemon's devices with a scan's and the watchers'; return their number."""
        for _ in range(5):  # others may change devices that all namespaces see
            before = client.status().generation
            known = _by_name(client.snapshot_json())
            command = [*NODEDEVCTL, "--sysroot", "/", "show", "--all"]
            scanned = _by_name(subprocess.run(command, capture_output=True, check=True).stdout)
            if client.status().generation == before:
                break
        if digest_of(known) != digest_of(scanned):
            names = sorted(
                name for name in known.keys() | scanned if known.get(name) != scanned.get(name)
            )
            self._problems.append(f"the tree is not that of a fresh scan: {names[:5]}")
        others = {one: many for one, many in report.digests.items() if one != digest_of(known)}
        if others:
            self._problems.append(f"{sum(others.values())} watchers know another tree")
        return len(known)

    def _judge(self, report: Report, status: Status, uevents: int) -> None:
        log = self._daemon.log
        for holds, problem in (
            (report.behind == 0, f"{report.behind} watchers are behind"),
            (not report.contradictions, f"contradictions: {report.contradictions}"),
            (report.resyncs == 0, f"{report.resyncs} resyncs of watchers that read"),
            (report.libvirt_differ == 0, f"{report.libvirt_differ} clients of libvirt differ"),
            (status.events >= uevents, f"{status.events} of {uevents} uevents were received"),
            (status.overflows == 0, f"{status.overflows} overflows"),
            (status.monitor_errors == 0, f"{status.monitor_errors} errors of the monitor"),
            (status.missed_changes == 0, f"{status.missed_changes} missed changes"),
            (not status.unanswered_reads, f"reads that hang: {status.unanswered_reads}"),
            ("Traceback" not in log, f"defects in the log: {log[-3000:]}"),
        ):
            if not holds:
                self._problems.append(problem)

    def _sample(self, uevents: int, status: Status) -> None:
        sample = Sample(
            uevents, round(time.monotonic() - self._began, 1), self._rss_mib(), status.generation
        )
        self._samples.append(sample)
        left = ""
        if uevents:
            ahead = sample.seconds * (self._given.uevents / uevents - 1)
            left = f", {ahead:.0f} s to go"
        print(
            f"{uevents} uevents after {sample.seconds:.0f} s: RSS {sample.rss_mib:.1f} MiB, "
            f"generation {status.generation}, {status.clients} clients{left}",
            file=sys.stderr,
        )

    def _rss_mib(self) -> float:
        text = Path(f"/proc/{self._daemon.process.pid}/status").read_text()
        (line,) = [line for line in text.splitlines() if line.startswith("VmRSS:")]
        return round(int(line.split()[1]) / 1024, 1)

    def _rss_after(self) -> float:
        with Client(self._paths[0]) as client:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while client.status().clients > 1 and time.monotonic() < deadline:
                time.sleep(0.1)
        return self._rss_mib()


class _Polite:
    """A client that asks for one device now and then, and waits for the reply."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._decoder = ReplyDecoder(1 << 20)

    def describe(self, name: str) -> float:
        """Return the milliseconds to the reply."""
        began = time.monotonic()
        self._socket.sendall(encode_call(f"{INTERFACE}.Describe", {"name": name}))
        while self._decoder.next() is None:
            self._decoder.feed(self._socket.recv(1 << 16))
        return (time.monotonic() - began) * 1000

    def close(self) -> None:
        """Leave."""
        self._socket.close()


def _by_name(text: bytes) -> dict[str, bytes]:
    devices = json.loads(text)["devices"]
    return {one["name"]: json.dumps(one, sort_keys=True).encode() for one in devices}


def _child(module: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.soak.{module}", *arguments],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def _quantile(values: Sequence[float], part: float) -> float:
    return round(sorted(values)[min(int(len(values) * part), len(values) - 1)], 2)


def soak(given: argparse.Namespace) -> Outcome:
    """Run in the namespaces of this process."""
    with tempfile.TemporaryDirectory(prefix="nodedevd-soak-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        options = ("--libvirt-socket", str(directory / "libvirt.sock"))
        with running(directory, Path("/"), *options) as daemon:
            return Soak(given, directory, daemon).run()


def _shown(outcome: Outcome) -> str:
    report, deeds = outcome.readers, outcome.hostile
    return "\n".join(
        (
            f"uevents      {outcome.uevents} in {outcome.seconds} s to {outcome.generation}",
            f"watchers     {report.events} events, {report.resyncs} resyncs",
            f"libvirt      {report.libvirt_events} events, {report.libvirt_differ} clients differ",
            f"hostile      {deeds.connections} connections, {deeds.refused} refused",
            f"Describe     p50 {outcome.describe_p50_ms} ms, p99 {outcome.describe_p99_ms} ms",
            f"RSS in MiB   {outcome.rss_mib}, after the clients {outcome.rss_after_mib}",
            *(f"problem      {problem}" for problem in outcome.problems),
        )
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the figures, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--uevents", type=int, default=1_000_000, help="(default: %(default)s)")
    parser.add_argument("--watchers", type=int, default=100, help="(default: %(default)s)")
    parser.add_argument("--idle", type=int, default=10, help="of them never read (%(default)s)")
    parser.add_argument("--libvirt", type=int, default=10, help="clients (default: %(default)s)")
    parser.add_argument("--hostile", type=int, default=50, help="connections (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(argv)
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        print("it takes root, and unshare(1) of util-linux", file=sys.stderr)
        return 3
    if _INSIDE not in os.environ:
        command = [
            sys.executable,
            "-m",
            "benchmarks.soak",
            *(sys.argv[1:] if argv is None else argv),
        ]
        environment = {**os.environ, _INSIDE: "1"}
        return subprocess.run([*_NAMESPACES, _SETUP, *command], env=environment).returncode
    outcome = soak(given)
    text: Any = msgspec.json.format(msgspec.json.encode(outcome)).decode()
    print(text if given.json else _shown(outcome))
    return int(bool(outcome.problems))


if __name__ == "__main__":
    sys.exit(main())
