"""Runs libvirtd and nodedevd on the same generated hosts, in turn, and compares them."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import plot, report
from tests.support import libvirtd

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
CURVE = HERE / "curve.json"
DOCUMENT = HERE.parent / "docs/performance.md"
PLOT = HERE.parent / "docs/performance.svg"
CURVE_DEVICES = (100, 300, 1000, 3000)
"""in addition to the hosts of the comparison"""
QUICK_DEVICES = 260

_EPILOG = """\
Example: compare, and store the results for later comparisons
  make bench ARGS=--update

Exit status: 0 measured, whatever the figures are; 1 the run failed, or the two daemons show
different devices; 2 wrong usage, or libvirtd cannot run here."""


def measure(devices: int, rounds: int, *options: str) -> dict[str, Any]:
    """Measure on one host. Raises CalledProcessError."""
    return _inside("measure", "--devices", str(devices), "--rounds", str(rounds), *options)


def measure_kernel(rounds: int, *options: str) -> dict[str, Any]:
    """Measure the events of this machine's own kernel. Raises CalledProcessError."""
    return _inside("kernel", "--rounds", str(rounds), *options)


def _inside(module: str, *options: str) -> dict[str, Any]:
    """Run a module of this package in new namespaces, and return its figures."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory, "figures.json")
        command = [sys.executable, "-m", f"benchmarks.{module}", "--out", str(out), *options]
        subprocess.run([*libvirtd.NAMESPACES, *command], cwd=HERE.parent, check=True)
        return dict(json.loads(out.read_text()))


def machine() -> dict[str, Any]:
    """Return the properties of this machine that the figures depend on."""
    version = subprocess.run([libvirtd.LIBVIRTD, "--version"], capture_output=True, text=True)
    models = [
        line.partition(": ")[2]
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libvirtd": version.stdout.strip().rpartition(" ")[2],
        "load_before": os.getloadavg()[0],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the comparison, and write the files."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds for each daemon (default: 5)")
    parser.add_argument(
        "--devices",
        type=int,
        nargs="*",
        default=[report.SMALLEST, 620, 9573, report.LARGEST],
        help=f"numbers of devices of the hosts (default: {report.SMALLEST} 620 9573"
        f" {report.LARGEST}, the last one for nodedevd only)",
    )
    parser.add_argument(
        "--no-kernel", action="store_true", help="omit the events of this machine's own kernel"
    )
    parser.add_argument("--quick", action="store_true", help="a short run that shows that it works")
    parser.add_argument(
        "--curve", action="store_true", help="measure smaller hosts, and draw a picture"
    )
    parser.add_argument(
        "--nodedevd",
        metavar="PATH",
        help="installed nodedevd (default: that of this tree)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--update", action="store_true", help=f"update {RESULTS.name} and docs/performance.md"
    )
    arguments = parser.parse_args(argv)
    missing = libvirtd.missing()
    if missing is not None:
        print(f"libvirtd cannot run here: {missing}", file=sys.stderr)
        return 0 if arguments.quick else 2
    setting = machine()
    hosts: dict[str, Any] = {}
    program = () if arguments.nodedevd is None else ("--nodedevd", arguments.nodedevd)
    if arguments.quick:
        hosts[str(QUICK_DEVICES)] = measure(QUICK_DEVICES, 1, "--quick", *program)
    elif arguments.curve:
        for devices in CURVE_DEVICES:
            hosts[str(devices)] = measure(devices, min(3, arguments.rounds), "--brief", *program)
    else:
        for devices in arguments.devices:
            options: tuple[str, ...] = ("--brief",) if devices <= report.SMALLEST else ()
            options = ("--alone", "--brief") if devices >= report.LARGEST else options
            hosts[str(devices)] = measure(devices, arguments.rounds, *options, *program)
        if not arguments.no_kernel:
            hosts[report.KERNEL] = measure_kernel(arguments.rounds, *program)
    known = CURVE if arguments.curve else RESULTS
    before = json.loads(known.read_text())["hosts"] if known.exists() else {}
    outcome = report.as_json(hosts, setting)
    print(json.dumps(outcome, indent=1) if arguments.json else report.table(hosts, before))
    if arguments.update:
        known.write_text(json.dumps(outcome, indent=1) + "\n")
        if not arguments.curve:
            DOCUMENT.write_text(report.documented(DOCUMENT.read_text(), hosts, setting))
        else:
            compared = json.loads(RESULTS.read_text())["hosts"] if RESULTS.exists() else {}
            compared.pop(report.KERNEL, None)
            PLOT.write_text(plot.curve({**hosts, **compared}))
    if not arguments.quick and not arguments.json:
        print(f"{report.missed(hosts)} targets missed; on {setting}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"the run failed: {error}")
