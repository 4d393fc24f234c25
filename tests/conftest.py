"""Shared by all tests: `async def` tests, golden files, and what this machine lacks."""

from __future__ import annotations

import asyncio
import gc
import inspect
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support.alone import alone_with
from tests.support.checked_loop import CheckedLoop
from tests.support.golden import Golden
from tests.support.kept_archives import keep_sample_hosts
from tests.support.needs import missing
from tests.support.real_devices import RealDevice, find
from tests.support.search import FULL_EXAMPLES, QUICK_EXAMPLES

ASYNC_TEST_TIMEOUT_SECONDS = 60

# A shell ignores it for the programs that it starts in the background, and they for theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)

keep_sample_hosts()

# On a busy machine any example may be slow, and so may finding it.
FULL = hypothesis.settings(
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    max_examples=FULL_EXAMPLES,
)
hypothesis.settings.register_profile("full", FULL)
hypothesis.settings.register_profile("quick", FULL, max_examples=QUICK_EXAMPLES)
hypothesis.settings.load_profile("full")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test on a loop of its own; a task left behind fails the test."""
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    names = inspect.signature(test).parameters
    arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in names}

    async def run() -> None:
        async with asyncio.timeout(ASYNC_TEST_TIMEOUT_SECONDS):
            await test(**arguments)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"

    with asyncio.Runner(loop_factory=CheckedLoop) as runner:
        runner.run(run())
    return True


def pytest_collection_finish(session: pytest.Session) -> None:
    """Take the tests, thousands of objects that stay, away from the garbage collector."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs what this machine lacks."""
    for mark in item.iter_markers("needs"):
        for need in mark.args:
            if (words := missing(need)) is not None:
                pytest.skip(f"needs {words}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was missing for the tests that were skipped, once and in sight."""
    reports = terminalreporter.getreports("skipped")
    if not reports:
        return
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports)
    terminalreporter.section(f"{len(reports)} tests skipped", yellow=True, bold=True)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:5} {reason}")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes the golden files again."""
    parser.addoption(
        "--update-golden", action="store_true", help="write the files below tests/golden again"
    )


@pytest.fixture
def golden(pytestconfig: pytest.Config) -> Golden:
    """Return the golden files, to compare with."""
    return Golden(update=bool(pytestconfig.getoption("--update-golden")))


@pytest.fixture
def real_device() -> Iterator[RealDevice]:
    """Return a device of this machine, to a test that needs `uevents`; no other test has it now."""
    found = find()
    assert found is not None
    with alone_with(Path(found.path)):
        yield found
