"""Shared by all tests: the runner of `async def` tests, golden files, fake hosts."""

from __future__ import annotations

import asyncio
import inspect
import signal
from typing import Any

import pytest
from pyfakefs.fake_filesystem import FakeFilesystem

from tests.support.golden import Golden
from tests.support.trees import Tree

ASYNC_TEST_TIMEOUT_SECONDS = 60

# A shell ignores it for what it starts in the background; what the tests start is to take it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run `async def` tests on a loop of their own; a task left behind fails the test."""
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

    asyncio.run(run(), debug=True)
    return True


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes the golden files again."""
    parser.addoption(
        "--update-golden", action="store_true", help="write the files below tests/golden again"
    )


@pytest.fixture
def golden(pytestconfig: pytest.Config) -> Golden:
    """Return what compares with golden files."""
    return Golden(update=bool(pytestconfig.getoption("--update-golden")))


@pytest.fixture
def tree(fs: FakeFilesystem) -> Tree:
    """Return the words that build this host's own /sys, in a file system that is not real."""
    tree = Tree(fs.root_dir_name)
    tree.directory("/sys")
    return tree
