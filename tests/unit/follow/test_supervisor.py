"""The supervisor of reads, and its threads."""

from __future__ import annotations

import asyncio
import threading

from nodedevd.follow.supervisor import Supervisor
from nodedevd.host.job import Job
from tests.support.running import PATIENCE_SECONDS


def test_thread_of_a_read_that_hung_ends_with_it() -> None:
    """Also when the loop that would have heard of it is closed by then."""
    returns = threading.Event()

    def read(job: Job) -> None:
        if "/sys/a" not in job.unanswered:
            job.run("/sys/a", returns.wait)

    async def run() -> None:
        supervisor = Supervisor(lambda path: None, stuck_seconds=0.01, name="abandoned")
        await supervisor.run(read)
        supervisor.close(PATIENCE_SECONDS)

    asyncio.run(run())
    left = [one for one in threading.enumerate() if one.name == "abandoned"]
    assert left
    returns.set()
    for thread in left:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
