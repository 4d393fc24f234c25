"""Measures what an unprivileged user can do to the daemon, against limits."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import shlex
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.hostile import rows
from benchmarks.hostile.bed import Bed
from benchmarks.hostile.figure import Figure, table

HERE = Path(__file__).parent
BEFORE = HERE / "before.json"
HOSTS = HERE.parents[1] / "build/hostile"

_EPILOG = """\
Example: measure one row, and print its figures as JSON
  make bench-hostile ARGS="--json places"

Exit status: 0 all figures are within their limits, 1 a limit is missed or the run failed,
2 wrong usage."""


def row_names() -> list[str]:
    """Return the names of all rows, which are those of the modules."""
    return sorted(module.name for module in pkgutil.iter_modules(rows.__path__))


def main() -> None:
    """Measure the rows of the command line."""
    parser = argparse.ArgumentParser(
        prog="make bench-hostile",
        description="Measure what an unprivileged user can do to the daemon, as root.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="rows to measure (default: all)")
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--program", default="", help="command of the daemon to measure")
    parser.add_argument(
        "--hosts",
        type=Path,
        default=HOSTS,
        help="directory of generated hosts (default: %(default)s)",
    )
    parser.add_argument(
        "--update-before", action="store_true", help="store the figures to compare with later"
    )
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(row_names()))
        return
    unknown = set(arguments.rows) - set(row_names())
    if unknown:
        parser.error(f"no row {min(unknown)!r}; --list prints the names")
    if os.geteuid() != 0:
        parser.error("the attacks run as another user: run it as root")
    figures = _measured(Bed(arguments.hosts, shlex.split(arguments.program)), arguments.rows)
    before = msgspec.json.decode(BEFORE.read_bytes(), type=dict[str, float])
    if arguments.update_before:
        before.update((one.title, one.value) for one in figures)
        text = msgspec.json.format(msgspec.json.encode(before, order="sorted"), indent=1)
        BEFORE.write_bytes(text + b"\n")
    if arguments.json:
        print(msgspec.json.encode(figures).decode())
    else:
        print(table(figures, before), end="")
    sys.exit(not all(one.met for one in figures))


def _measured(bed: Bed, names: list[str]) -> list[Figure]:
    figures: list[Figure] = []
    for name in names or row_names():
        began = time.monotonic()
        row = importlib.import_module(f"{rows.__name__}.{name}")
        for figure in row.measure(bed):
            figures.append(figure)
            seconds = time.monotonic() - began
            print(f"{seconds:5.1f} s {figure.title}: {figure.value:.4g}", file=sys.stderr)
    return figures


if __name__ == "__main__":
    main()
