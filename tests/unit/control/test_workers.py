"""Threads for what blocks: how many there are at a time, and whose."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from nodedevd.control.workers import Workers
from nodedevd.errors import NotPossible
from tests.support.running import PATIENCE_SECONDS


class Held:
    """A function that runs until it is let go."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self._go = threading.Event()

    def __call__(self) -> str:
        """Run."""
        self.began.set()
        assert self._go.wait(PATIENCE_SECONDS)
        return "done"

    def let_go(self) -> None:
        """Let it end."""
        self._go.set()

    async def has_begun(self) -> bool:
        """Wait for it to begin."""
        return await asyncio.to_thread(self.began.wait, PATIENCE_SECONDS)


def run(test: Callable[[], object]) -> None:
    """Run a coroutine function."""
    asyncio.run(test())  # type: ignore[arg-type]


def test_one_user_has_its_share_and_the_others_theirs() -> None:
    """What is over it waits, in the order of its arrival, and does not keep others waiting."""

    async def test() -> None:
        workers = Workers("test", 3, 2)
        ones = [Held() for _ in range(3)]
        futures = [workers.run(1001, one) for one in ones]
        other = Held()
        futures.append(workers.run(1002, other))
        assert await ones[0].has_begun()
        assert await ones[1].has_begun()
        assert await other.has_begun()
        assert workers.queued == 1
        assert not ones[2].began.is_set()
        ones[0].let_go()
        assert await ones[2].has_begun()
        for one in (*ones, other):
            one.let_go()
        assert await asyncio.gather(*futures) == ["done"] * 4
        assert not workers.busy

    run(test)


def test_root_does_not_wait_for_the_others() -> None:
    """Its functions run beside theirs."""

    async def test() -> None:
        workers = Workers("test", 1, 1)
        theirs, waits, roots = Held(), Held(), Held()
        futures = [workers.run(1001, theirs), workers.run(1002, waits)]
        assert await theirs.has_begun()
        futures.append(workers.run(0, roots))
        assert await roots.has_begun()
        assert not waits.began.is_set()
        for one in (theirs, waits, roots):
            one.let_go()
        await asyncio.gather(*futures)

    run(test)


def test_nobody_waiting_does_not_stop_a_function() -> None:
    """A future that is cancelled, before its function runs or while it does."""

    async def test() -> None:
        workers = Workers("test", 1, 1)
        first, second = Held(), Held()
        futures = [workers.run(1001, one) for one in (first, second)]
        assert await first.has_begun()
        for future in futures:
            future.cancel()
        first.let_go()
        assert await second.has_begun()
        second.let_go()
        assert await workers.close(PATIENCE_SECONDS)

    run(test)


def test_error_is_the_callers(recwarn: pytest.WarningsRecorder) -> None:
    """Or nobody's, if nobody waits for it any more."""

    async def test() -> None:
        workers = Workers("test", 1, 1)

        def fail() -> None:
            raise KeyError("x")

        with pytest.raises(KeyError):
            await workers.run(1001, fail)
        workers.run(1001, fail)
        assert await workers.close(PATIENCE_SECONDS)

    run(test)


def test_close_waits_for_what_runs_and_begins_nothing() -> None:
    """What has not begun never does."""

    async def test() -> None:
        workers = Workers("test", 1, 1)
        first, second = Held(), Held()
        workers.run(1001, first)
        workers.run(1001, second)
        assert await first.has_begun()
        assert not await workers.close(0)
        first.let_go()
        assert await workers.close(PATIENCE_SECONDS)
        assert not second.began.is_set()
        assert not workers.busy

    run(test)


def test_thread_that_cannot_be_started_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """And its place is free again for those that wait."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def test() -> None:
        workers = Workers("test", 1, 1)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            refused = workers.run(1001, lambda: "done")
            waiting = workers.run(1001, lambda: "done")
        with pytest.raises(NotPossible, match="can't start new thread"):
            await refused
        assert await waiting == "done"
        assert not workers.busy

    run(test)
