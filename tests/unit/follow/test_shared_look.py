"""shared_look: one look at the processes at a time, shared by all who asked before it began."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from nodedevd.follow.shared_look import SharedLook, look_in_time
from nodedevd.host.processes import Seen
from nodedevd.host.sysroot import Sysroot
from nodedevd.questions.in_use import Look
from tests.support.hosts import host_file
from tests.support.running import PATIENCE_SECONDS


class Looks:
    """Looks that stay until they are let go; each tells its number as unseen processes."""

    def __init__(self) -> None:
        self.begun = 0
        self._begun = threading.Semaphore(0)
        self._go = threading.Semaphore(0)

    def __call__(self) -> Look:
        """Look."""
        self.begun += 1
        number = self.begun
        self._begun.release()
        assert self._go.acquire(timeout=PATIENCE_SECONDS)
        return Look(seen=Seen((), number, hidden=False))

    async def wait_begun(self) -> None:
        """Wait until one more has begun."""
        assert await asyncio.to_thread(self._begun.acquire, timeout=PATIENCE_SECONDS)

    def end(self) -> None:
        """Let one end."""
        self._go.release()


@asynccontextmanager
async def looking(looks: Looks, seconds: float = PATIENCE_SECONDS) -> AsyncIterator[SharedLook]:
    """Yield one, whose thread ends."""
    shared = SharedLook(looks, seconds)
    try:
        yield shared
    finally:
        looks.end()
        looks.end()
        await shared.close(PATIENCE_SECONDS)


async def test_all_who_ask_during_a_look_share_the_next() -> None:
    """What began before a question is no answer to it, and a crowd costs one look."""
    looks = Looks()
    async with looking(looks) as shared:
        first = asyncio.ensure_future(shared.look())
        await looks.wait_begun()
        later = [asyncio.ensure_future(shared.look()) for _ in range(50)]
        await asyncio.sleep(0)
        looks.end()
        assert (await first).unseen == 1
        await looks.wait_begun()
        looks.end()
        assert {(await one).unseen for one in later} == {2}
    assert looks.begun == 2


async def test_look_that_does_not_return_answers_unknown() -> None:
    """Who asks is not kept waiting for a dead file system; afterwards all is well again."""
    looks = Looks()
    async with looking(looks, seconds=0.01) as shared:
        for _ in range(2):
            assert (await shared.look()).reason == "unanswered"
        assert looks.begun == 1


async def test_question_after_a_look_that_failed_is_answered() -> None:
    """An error is its askers' alone."""

    def fail() -> Look:
        raise OSError("no /proc")

    shared = SharedLook(fail)
    for _ in range(2):
        with pytest.raises(OSError, match="no /proc"):
            await shared.look()
    await shared.close(PATIENCE_SECONDS)


async def test_client_that_goes_away_takes_nobody_along() -> None:
    """Its own wait is cancelled, and the look goes on for the others."""
    looks = Looks()
    async with looking(looks) as shared:
        gone = asyncio.ensure_future(shared.look())
        await looks.wait_begun()
        stays, also_gone = (asyncio.ensure_future(shared.look()) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        also_gone.cancel()
        looks.end()
        await looks.wait_begun()
        looks.end()
        assert (await stays).unseen == 2


def test_look_without_a_loop_is_made_in_time() -> None:
    """As nodedevctl looks: a recorded host's processes are not here."""
    assert look_in_time(Sysroot(str(host_file("vgpu-pf")))).reason == "other-host"
