"""Fuzzing with coverage: `make fuzz`, see CONTRIBUTING.md.

Each target runs in a process of its own, from its corpus on. An input that fails is printed, with
what to do; the exit status is 1 then, 2 for wrong arguments, and 0 otherwise.

  make fuzz ARGS="varlink pci-vpd --runs 1000000 --keep"
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.corpus import corpus_file, read_corpus, write_corpus
from tests.fuzz.reached import coverage, smallest_cover
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

_TIMEOUT_SECONDS = 20
_MEMORY_MIB = 2048
_DONE = re.compile(r"^#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+)", re.MULTILINE)
_RUNS = re.compile(r"^stat::number_of_executed_units:\s*(\d+)$", re.MULTILINE)
_INPUT = "input-"


class Result(NamedTuple):
    """What the runs of a target found."""

    target: str
    runs: int
    seconds: float
    edges: int
    """counters of atheris that are not zero"""
    lines: int
    """lines of the target's modules that its corpus reaches"""
    lines_in_all: int
    corpus: int
    """inputs that atheris kept"""
    failed: Sequence[str]
    """inputs that failed"""


def fuzz(target: Target, runs: int, seconds: int, work: Path, keep: bool) -> Result:
    """Run a target so many times, or seconds if they are not 0; keep a small corpus if wanted."""
    corpus, artifacts = work / target.name, work / f"{target.name}-failed"
    for directory in (corpus, artifacts):
        directory.mkdir(exist_ok=True)
    words = work / f"{target.name}.words"
    words.write_text("".join(f'"{_quoted(word)}"\n' for word in target.words), "ascii")
    for number, data in enumerate(read_corpus(target.name)):
        (corpus / f"kept-{number}").write_bytes(data)
    arguments = (
        f"-runs={runs}",
        f"-max_total_time={seconds}",
        f"-max_len={target.most_bytes}",
        f"-dict={words}",
        "-len_control=0",
        f"-timeout={_TIMEOUT_SECONDS}",
        f"-rss_limit_mb={_MEMORY_MIB}",
        f"-artifact_prefix={artifacts}/{_INPUT}",
        "-print_final_stats=1",
        str(corpus),
    )
    began = time.monotonic()
    log = work / f"{target.name}.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "tests.fuzz.child", target.name, *arguments]
        status = subprocess.run(command, stdout=output, stderr=output).returncode
    text = log.read_text("utf-8", "replace")
    states = _DONE.findall(text)
    done = _RUNS.findall(text)
    failed = [repr(path.read_bytes()) for path in sorted(artifacts.glob(f"{_INPUT}*"))]
    if status and not failed:
        failed = [f"no input: {text[-2000:]}"]
    kept = [path.read_bytes() for path in corpus.iterdir()]
    if keep and not failed:
        write_corpus(target.name, smallest_cover(target, kept))
    lines, lines_in_all = coverage(target, kept if not failed else [])
    return Result(
        target=target.name,
        runs=int(done[-1] if done else states[-1][0] if states else 0),
        seconds=round(time.monotonic() - began, 1),
        edges=int(states[-1][1]) if states else 0,
        lines=lines,
        lines_in_all=lines_in_all,
        corpus=len(kept),
        failed=failed,
    )


def _quoted(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _shared(targets: Sequence[Target], runs: int) -> list[int]:
    whole = sum(target.share for target in targets)
    return [round(runs * target.share / whole) for target in targets]


def _shown(result: Result) -> str:
    rate = result.runs / max(result.seconds, 0.1)
    reached = f"{result.lines} of {result.lines_in_all} lines"
    text = (
        f"{result.target:14}{result.runs:>10} runs {rate:>7.0f}/s "
        f"{result.edges:>6} edges {reached:>20}"
    )
    for failed in result.failed:
        text += (
            f"\n  failed: {failed}\n  mend it, and add the input to {corpus_file(result.target)}, "
            "below a comment that says what it was"
        )
    return text


def main() -> int:
    """Run the targets, and print what they reached."""
    parser = argparse.ArgumentParser(
        prog="make fuzz ARGS=…", description="Fuzz the readers of hostile bytes, with coverage."
    )
    parser.add_argument("target", nargs="*", help=f"all by default: {', '.join(TARGETS)}")
    parser.add_argument("--runs", type=int, default=200_000, help="of all targets (%(default)s)")
    parser.add_argument("--seconds", type=int, default=0, help="of a target at the most")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time (%(default)s)")
    parser.add_argument("--keep", action="store_true", help="write a small corpus for git")
    parser.add_argument("--work", type=Path, help="directory that keeps all inputs and logs")
    parser.add_argument("--json", type=Path, help="write the results to this file, too")
    given = parser.parse_args()
    unknown = set(given.target) - TARGETS.keys()
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    targets = [TARGETS[name] for name in given.target or TARGETS]
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(given.jobs) as pool:
        work = given.work or Path(directory)
        work.mkdir(exist_ok=True)
        running = [
            pool.submit(fuzz, target, runs, given.seconds, work, given.keep)
            for target, runs in zip(targets, _shared(targets, given.runs), strict=True)
        ]
        results = []
        for one in running:
            results.append(one.result())
            print(_shown(results[-1]), flush=True)
    print(f"{sum(one.runs for one in results)} runs in all")
    if given.json is not None:
        given.json.write_text(json.dumps([one._asdict() for one in results], indent=1) + "\n")
    return int(any(one.failed for one in results))


if __name__ == "__main__":
    sys.exit(main())
