"""shared_look: one look at the processes at a time, shared by all calls that came before it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from nodedevd.follow.shared_look import SharedLook, look_in_time, unanswered
from nodedevd.host.job import Job
from nodedevd.host.processes import ProcessScan
from nodedevd.host.sysroot import Sysroot
from nodedevd.questions.in_use import VfioUsage
from tests.support.hosts import host_file
from tests.support.running import PATIENCE_SECONDS


class Looks:
    """Looks that block until they are released; each returns its number as `unseen`."""

    def __init__(self) -> None:
        self.begun = 0
        self._begun = threading.Semaphore(0)
        self._go = threading.Semaphore(0)

    def __call__(self, job: Job) -> VfioUsage:
        """Block until released."""
        self.begun += 1
        number = self.begun
        self._begun.release()
        assert self._go.acquire(timeout=PATIENCE_SECONDS)
        return VfioUsage(processes=ProcessScan((), number, hidden=False))

    async def wait_begun(self) -> None:
        """Wait until one more has begun."""
        assert await asyncio.to_thread(self._begun.acquire, timeout=PATIENCE_SECONDS)

    def end(self) -> None:
        """Release one."""
        self._go.release()


@asynccontextmanager
async def looking(
    looks: Looks, seconds: float = PATIENCE_SECONDS
) -> AsyncIterator[SharedLook[VfioUsage]]:
    """Yield a SharedLook, and end its thread."""
    shared = SharedLook("look", looks, unanswered=unanswered, seconds=seconds)
    try:
        yield shared
    finally:
        looks.end()
        looks.end()
        await shared.close(PATIENCE_SECONDS)


async def test_calls_during_a_look_share_the_next_one() -> None:
    """A look that began before a call does not answer it; many calls cost one look."""
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
    """A caller does not wait for a dead file system; the next look starts when that one returns."""
    looks = Looks()
    async with looking(looks, seconds=0.01) as shared:
        for _ in range(2):
            assert (await shared.look()).reason == "unanswered"
        assert looks.begun == 1


async def test_look_without_an_unknown_answer_times_out() -> None:
    """What has not been read must not look like something that is missing."""
    looks = Looks()
    shared = SharedLook("look", looks, seconds=0.01)
    with pytest.raises(TimeoutError):
        await shared.look()
    looks.end()
    await shared.close(PATIENCE_SECONDS)


async def test_call_after_a_look_that_failed_is_answered() -> None:
    """The error is raised to the callers of that look only."""

    def fail(job: Job) -> VfioUsage:
        raise OSError("no /proc")

    shared = SharedLook("look", fail)
    for _ in range(2):
        with pytest.raises(OSError, match="no /proc"):
            await shared.look()
    await shared.close(PATIENCE_SECONDS)


async def test_client_that_disconnects_cancels_only_its_own_call() -> None:
    """Its call is cancelled, and the look goes on for the others."""
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


def test_look_without_a_running_loop() -> None:
    """As nodedevctl does; the processes of a recorded host are not on this machine."""
    assert look_in_time(Sysroot(str(host_file("vgpu-pf")))).reason == "other-host"
