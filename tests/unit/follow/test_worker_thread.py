"""worker_thread: blocking functions, one after another, off the event loop."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodedevd.follow.worker_thread import WorkerThread
from tests.support.running import PATIENCE_SECONDS


class Gate:
    """A function that blocks until it is opened."""

    def __init__(self) -> None:
        self._entered = threading.Event()
        self._open = threading.Event()

    def __call__(self) -> str:
        """Block."""
        self._entered.set()
        assert self._open.wait(PATIENCE_SECONDS)
        return "through"

    def wait_entered(self) -> None:
        """Wait until it runs."""
        assert self._entered.wait(PATIENCE_SECONDS)

    def open(self) -> None:
        """Let it return."""
        self._open.set()


@pytest.fixture
def thread() -> Iterator[WorkerThread]:
    """Return a thread, and check that it ends."""
    thread = WorkerThread()
    yield thread
    thread.close(PATIENCE_SECONDS)
    assert ended(thread)


def ended(thread: WorkerThread) -> bool:
    """Return whether a thread has ended."""
    return not thread._thread.is_alive()


async def test_function_runs_in_another_thread_and_its_result_is_awaited(
    thread: WorkerThread,
) -> None:
    """The thread of the loop does not run it."""

    def where(*, at: str) -> tuple[str, int]:
        return at, threading.get_ident()

    at, ident = await thread.run(where, at="sys")
    assert at == "sys"
    assert ident != threading.get_ident()


async def test_loop_goes_on_while_a_function_blocks(thread: WorkerThread) -> None:
    """Callbacks run meanwhile, also one that the function waits for."""
    gate = Gate()
    future = thread.run(gate)
    asyncio.get_running_loop().call_soon(gate.open)
    assert await future == "through"


async def test_functions_run_one_after_another_in_order(thread: WorkerThread) -> None:
    """No two run at once, and none overtakes another."""
    steps: list[str] = []

    def step(name: str) -> None:
        steps.append(f"{name} begins")
        os.sched_yield()
        steps.append(f"{name} ends")

    names = [str(number) for number in range(50)]
    await asyncio.gather(*(thread.run(step, name) for name in names))
    assert steps == [f"{name} {what}" for name in names for what in ("begins", "ends")]


@pytest.mark.parametrize("error", [OSError(5, "EIO"), KeyboardInterrupt(), SystemExit(1)])
async def test_exception_of_a_function_reaches_its_caller_alone(
    thread: WorkerThread, error: BaseException
) -> None:
    """Any exception is raised where the function is awaited; the thread lives on."""

    def fail() -> None:
        raise error

    future = thread.run(fail)
    await asyncio.wait({future})
    assert future.exception() is error
    assert await thread.run(int, "7") == 7


async def test_stop_iteration_reaches_its_caller_as_a_runtime_error(thread: WorkerThread) -> None:
    """A future refuses StopIteration, so the caller gets a RuntimeError."""
    with pytest.raises(RuntimeError, match="StopIteration"):
        await thread.run(next, iter(()))


async def test_cancelling_a_running_function_drops_its_result(thread: WorkerThread) -> None:
    """The loop's exception handler is not called, and the next function runs."""
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    gate = Gate()
    future = thread.run(gate)
    gate.wait_entered()
    future.cancel()
    gate.open()
    assert await thread.run(int, "7") == 7
    with pytest.raises(asyncio.CancelledError):
        await future
    assert reported == []


async def test_exception_of_a_cancelled_function_is_dropped(thread: WorkerThread) -> None:
    """Its exception is dropped."""
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    gate = Gate()

    def fail() -> None:
        gate()
        raise OSError

    future = thread.run(fail)
    gate.wait_entered()
    future.cancel()
    gate.open()
    assert await thread.run(int, "7") == 7
    assert future.cancelled()
    assert reported == []


async def test_function_cancelled_while_it_waits_never_starts(thread: WorkerThread) -> None:
    """The host is not read for a result that nothing waits for."""
    started: list[str] = []
    gate = Gate()
    running = thread.run(gate)
    waiting = thread.run(started.append, "cancelled")
    last = thread.run(started.append, "wanted")
    waiting.cancel()
    gate.open()
    await asyncio.gather(running, last)
    assert started == ["wanted"]


def test_loop_closed_meanwhile_harms_neither_thread_nor_next_loop(thread: WorkerThread) -> None:
    """A result for a closed loop is dropped."""
    gate = Gate()

    async def abandon() -> None:
        thread.run(gate)
        gate.wait_entered()

    async def use() -> int:
        return await thread.run(int, "7")

    asyncio.run(abandon())
    gate.open()
    assert asyncio.run(use()) == 7


async def test_result_is_not_kept_by_the_thread(thread: WorkerThread) -> None:
    """An idle thread keeps no old tree in memory."""

    class Tree:
        pass

    gone = threading.Event()
    weakref.finalize(await thread.run(Tree), gone.set)
    # The loop keeps its handle of the call that settled the future until its next turn.
    await asyncio.sleep(0)
    assert gone.wait(PATIENCE_SECONDS)


async def test_close_waits_for_the_running_function() -> None:
    """A function that runs is completed."""
    thread = WorkerThread()
    gate = Gate()
    future = thread.run(gate)
    gate.wait_entered()
    gate.open()
    thread.close(PATIENCE_SECONDS)
    assert ended(thread)
    assert await future == "through"


async def test_run_after_close_is_refused() -> None:
    """Its future would never be settled."""
    thread = WorkerThread()
    thread.close(PATIENCE_SECONDS)
    with pytest.raises(RuntimeError, match="closed"):
        thread.run(int, "7")


async def test_close_leaves_a_function_that_is_stuck(tmp_path: Path) -> None:
    """Close does not wait for a read that hangs; when the read returns, the thread ends."""
    fifo = tmp_path / "attribute"
    os.mkfifo(fifo)
    thread = WorkerThread()
    future = thread.run(fifo.read_bytes)
    with fifo.open("wb") as writer:  # both ends are open: it is in read(2), or soon will be
        thread.close(0)
        assert not ended(thread)
        writer.write(b"late")
    assert await future == b"late"
    thread.close(PATIENCE_SECONDS)
    assert ended(thread)
