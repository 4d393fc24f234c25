"""Measures what a scrape of a large host costs: python -m benchmarks.scrape."""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from benchmarks.generate import LARGE, generate, shape
from nodedevd.client import Client
from nodedevd.metrics.scrapes import FRESH_SECONDS
from tests.support.prometheus import fetch, metrics_service
from tests.support.running import Running, running

DOCUMENT = Path(__file__).parents[1] / "docs/metrics.md"
_OPENMETRICS = "application/openmetrics-text"
_GENERATED = re.compile(
    r"(<!-- written by python -m benchmarks.scrape --update -->\n).*(<!-- until here -->)", re.S
)
_EPILOG = """\
Example: measure, and write the figures into docs/metrics.md
  python -m benchmarks.scrape --update

Exit status: 0 measured, 1 the run failed, 2 wrong usage."""


class Figures(msgspec.Struct, frozen=True):
    """What was measured; CPU is that of the daemon and of the service."""

    devices: int
    series: int
    text_bytes: int
    scan_cpu_seconds: float
    """of the daemon, until it served"""
    quiet_cpu_seconds: float
    """of a scrape when no device has changed since the last one"""
    changed_cpu_seconds: float
    """of a scrape when one has"""
    shared_cpu_seconds: float
    """of a scrape within a second of another one"""
    service_bytes: int
    """resident memory of the service"""


def cpu_seconds(*pids: int) -> float:
    """Return the CPU time of all threads of processes, proc(5), schedstat."""
    files = [one for pid in pids for one in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(one.read_text().split()[0]) for one in files) / 1e9


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) << 10


def measure(devices: int, rounds: int) -> Figures:
    """Measure on a generated host."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        host = directory / "host"
        (directory / "metrics").mkdir()
        generate(host, shape(devices))
        path = directory / "nodedevd.sock"
        with (
            running(directory, host) as daemon,
            metrics_service(directory) as (service, url),
        ):
            scan = cpu_seconds(daemon.process.pid)
            with Client(str(path)) as client:
                found = len(client.list().devices)
            counts = sorted(host.glob("sys/devices/*/*/*/mdev_supported_types/*/available_*"))
            assert counts
            text = fetch(url, _OPENMETRICS)
            quiet = _scrapes(daemon, service, url, rounds, lambda number: None)
            changed = _scrapes(daemon, service, url, rounds, lambda number: _write(counts, number))
            time.sleep(FRESH_SECONDS)
            fetch(url, _OPENMETRICS)
            before = _cpu(daemon, service)
            for _ in range(rounds):
                fetch(url, _OPENMETRICS)
            shared = (_cpu(daemon, service) - before) / rounds
            return Figures(
                found,
                sum(not line.startswith(b"#") for line in text.splitlines()),
                len(text),
                scan,
                quiet,
                changed,
                shared,
                resident_bytes(service.process.pid),
            )


def _scrapes(
    daemon: Running, service: Running, url: str, rounds: int, change: Callable[[int], None]
) -> float:
    """Return the median CPU time of a scrape, each after a change, and when the last is too old."""
    taken = []
    for number in range(rounds):
        time.sleep(FRESH_SECONDS)
        change(number)
        before = _cpu(daemon, service)
        fetch(url, _OPENMETRICS)
        taken.append(_cpu(daemon, service) - before)
    return statistics.median(taken)


def _cpu(daemon: Running, service: Running) -> float:
    return cpu_seconds(daemon.process.pid, service.process.pid)


def _write(counts: Sequence[Path], number: int) -> None:
    """Change the count of a parent, which the daemon reads again for the next scrape."""
    counts[0].write_text(f"{number + 2}\n")


def report(figures: Figures) -> str:
    """Return the figures as text; ratios are comparable where times are not."""
    scan = figures.scan_cpu_seconds

    def line(what: str, seconds: float) -> str:
        return f"  {what:<44}{1e3 * seconds:>8.1f} ms   x{seconds / scan:.3f} of a scan\n"

    return (
        f"{figures.devices:,} devices: {figures.series:,} series, {figures.text_bytes:,} bytes\n"
        + line("CPU of a scrape, nothing has changed", figures.quiet_cpu_seconds)
        + line("CPU of a scrape, a device has changed", figures.changed_cpu_seconds)
        + line("CPU of a scrape within a second of another", figures.shared_cpu_seconds)
        + line("CPU of the daemon's start, with its scan", scan)
        + f"  {'memory of nodedevd-metrics':<44}{figures.service_bytes / (1 << 20):>8.1f} MiB\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scrape",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--devices", type=int, default=LARGE.devices, help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="scrapes of each (default: 5)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--update", action="store_true", help="update docs/metrics.md")
    arguments = parser.parse_args(argv)
    figures = measure(arguments.devices, arguments.rounds)
    text = report(figures)
    print(msgspec.json.encode(figures).decode() if arguments.json else text, end="")
    if arguments.update:
        page = DOCUMENT.read_text()
        DOCUMENT.write_text(_GENERATED.sub(rf"\1\n```\n{text}```\n\n\2", page))
    return 0


if __name__ == "__main__":
    sys.exit(main())
