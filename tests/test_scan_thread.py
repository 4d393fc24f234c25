"""One thread for blocking functions: results, order, and a function that does not come back."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodedevd.scan_thread import ScanThread

REPOSITORY = Path(__file__).parents[1]
PATIENCE_SECONDS = 30

STUCK = """
import asyncio, sys, threading
from nodedevd.scan_thread import ScanThread

started = threading.Event()

def read():
    started.set()
    open(sys.argv[1]).read()

async def main():
    thread = ScanThread()
    thread.run(read)
    started.wait()
    print("ended" if thread.close(0.01) else "left behind")

asyncio.run(main())
"""


class Value:
    """A result that can be watched."""


class Blocked:
    """A function that does not come back before it is released."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.release = threading.Event()

    def __call__(self) -> str:
        """Block."""
        self.started.set()
        assert self.release.wait(PATIENCE_SECONDS)
        return "released"

    def wait_started(self) -> None:
        """Wait, for a short time on the loop, until the function runs."""
        assert self.started.wait(PATIENCE_SECONDS)


@pytest.fixture
def thread() -> Iterator[ScanThread]:
    """Return a thread that has ended when the test has."""
    thread = ScanThread()
    yield thread
    assert thread.close(PATIENCE_SECONDS)


@pytest.fixture
def blocked() -> Iterator[Blocked]:
    """Return a function that blocks, at most until the test's end."""
    blocked = Blocked()
    yield blocked
    blocked.release.set()


async def test_function_that_returns_settles_with_its_result(thread: ScanThread) -> None:
    """Arguments go in, the result comes out, and it was another thread that worked."""
    assert await thread.run(int, "ff", base=16) == 255
    assert await thread.run(threading.get_ident) != threading.get_ident()


async def test_function_that_raises_settles_with_its_error(thread: ScanThread) -> None:
    """The error is the very one that was raised, and the thread goes on."""
    error = OSError(5, "Input/output error")

    def fail() -> None:
        raise error

    with pytest.raises(OSError, match="Input/output error") as caught:
        await thread.run(fail)
    assert caught.value is error
    assert await thread.run(str, 1) == "1"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
async def test_function_that_raises_no_ordinary_exception_leaves_the_thread(
    thread: ScanThread, kind: type[BaseException]
) -> None:
    """Whatever is raised is the caller's, and does not end the thread."""

    def fail() -> None:
        raise kind

    future = thread.run(fail)
    await asyncio.wait([future])
    assert isinstance(future.exception(), kind)
    assert await thread.run(str, 1) == "1"


async def test_function_that_runs_out_of_an_iterator_settles_with_an_error(
    thread: ScanThread,
) -> None:
    """A stray StopIteration, which no future takes, does not leave the caller waiting."""
    with pytest.raises(RuntimeError, match="StopIteration"):
        await thread.run(next, iter(()))


async def test_functions_run_one_after_another_in_order(thread: ScanThread) -> None:
    """The thread is one: what is asked first is done first, and nothing overlaps."""
    begun: list[int] = []

    def work(number: int) -> list[int]:
        begun.append(number)
        return list(begun)

    futures = [thread.run(work, number) for number in range(20)]
    assert await asyncio.gather(*futures) == [list(range(n + 1)) for n in range(20)]


async def test_cancelled_function_that_runs_ends_unheard(
    thread: ScanThread, blocked: Blocked
) -> None:
    """Nobody waits for it any more, and the next one is served."""
    future = thread.run(blocked)
    blocked.wait_started()
    future.cancel()
    blocked.release.set()
    assert await thread.run(str, 1) == "1"
    assert future.cancelled()


async def test_cancelled_function_that_waits_is_not_started(
    thread: ScanThread, blocked: Blocked
) -> None:
    """What nobody wants any more is not read."""
    started: list[int] = []
    first = thread.run(blocked)
    thread.run(started.append, 1).cancel()
    blocked.release.set()
    assert await first == "released"
    assert await thread.run(list, started) == []


async def test_waiter_that_times_out_leaves_the_thread_usable(
    thread: ScanThread, blocked: Blocked
) -> None:
    """A caller may give up on a function; the next caller gets her answer."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(thread.run(blocked), 0)
    blocked.release.set()
    assert await thread.run(str, 1) == "1"


def test_result_after_the_loop_has_closed_is_dropped(thread: ScanThread, blocked: Blocked) -> None:
    """The thread outlives a loop, and serves the next one."""

    async def leave() -> None:
        thread.run(blocked)
        blocked.wait_started()

    async def come() -> str:
        return await thread.run(str, 1)

    asyncio.run(leave())
    blocked.release.set()
    assert asyncio.run(come()) == "1"


async def test_result_that_was_handed_over_is_not_kept(thread: ScanThread) -> None:
    """An idle thread holds nothing of what it last returned."""
    gone = threading.Event()
    value = await thread.run(Value)
    weakref.finalize(value, gone.set)
    del value
    await asyncio.sleep(0)  # the loop lets go of the callback that handed it over
    assert gone.wait(PATIENCE_SECONDS)


async def test_busy_since_is_the_running_functions_start(
    thread: ScanThread, blocked: Blocked
) -> None:
    """While a function runs its start is known; before and after there is none."""
    assert thread.busy_since is None
    before = time.monotonic()
    future = thread.run(blocked)
    blocked.wait_started()
    assert thread.busy_since is not None
    assert before <= thread.busy_since <= time.monotonic()
    blocked.release.set()
    await future
    assert thread.busy_since is None


async def test_busy_since_after_an_error_is_none(thread: ScanThread) -> None:
    """A function that raised does not run any more."""
    with pytest.raises(ValueError, match="invalid literal"):
        await thread.run(int, "x")
    assert thread.busy_since is None


async def test_close_lets_what_was_asked_end() -> None:
    """Functions that wait are run, and then the thread is gone."""
    thread = ScanThread("scan-closed")
    futures = [thread.run(str, number) for number in range(3)]
    assert thread.close(PATIENCE_SECONDS)
    assert await asyncio.gather(*futures) == ["0", "1", "2"]
    assert "scan-closed" not in [one.name for one in threading.enumerate()]


async def test_close_of_a_stuck_thread_returns_without_it(
    thread: ScanThread, blocked: Blocked
) -> None:
    """A function that does not come back is told of, and not waited for."""
    future = thread.run(blocked)
    blocked.wait_started()
    assert thread.close(0.01) is False
    assert thread.busy_since is not None
    blocked.release.set()
    assert await future == "released"
    assert thread.close(PATIENCE_SECONDS) is True


def test_interpreter_with_a_stuck_thread_exits(tmp_path: Path) -> None:
    """A read that hangs in the kernel, here for the writer of a FIFO, hangs no exit."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", STUCK, str(fifo)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "left behind\n", "")
