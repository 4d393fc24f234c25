"""in_time: reads a host, or a part of it, once, and goes on without what hangs.

For programs without an event loop; `supervisor` does the same on one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from nodedevd.follow.hangs import STUCK_SECONDS, Hanging, Hangs
from nodedevd.host.job import Job
from nodedevd.host.sysroot import Progress, Sysroot
from nodedevd.layout.directories import may_declare
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import UnansweredRead
from nodedevd.tree.read import rescan

T = TypeVar("T")


def in_time(
    read: Callable[[Job], T], *, stuck_seconds: float = STUCK_SECONDS
) -> tuple[T, tuple[UnansweredRead, ...]]:
    """Return the result of a read, and what it left out because it hangs.

    It is called with a `Job`, as by `Supervisor.run`. Ctrl-C ends the wait at once. Raises
    TooManyHang, and whatever the read raises.
    """
    hangs = Hangs(stuck_seconds)
    job = hangs.next_job()
    stuck: dict[Hanging, _Attempt[T]] = {}
    try:
        while True:
            attempt = _Attempt(read, job)
            hanging = None
            while hanging is None and not attempt.ended(hangs.limit(job.path) / 4):
                hanging = hangs.found(job)
            if hanging is not None:
                stuck[hanging] = attempt
            else:
                # On a busy machine a read can be late, and return before the others are read.
                late = [one for one, its in stuck.items() if its.ended(0)]
                if not late or attempt.failed:
                    return attempt.result(), hangs.unanswered()
                for one in late:
                    del stuck[one]
                    hangs.returned(one)
                    job.done.pop(one.path, None)
                    job.done.pop(one.owner or "", None)
            job = hangs.next_job(job)
    finally:
        job.abandoned = True


def scan_in_time(
    sysroot: Sysroot,
    *,
    progress: Progress | None = None,
    stuck_seconds: float = STUCK_SECONDS,
) -> tuple[Snapshot, tuple[UnansweredRead, ...]]:
    """Scan a host; return the tree and the reads that hang. Raises NotASysroot, TooManyHang.

    Cards that layout files name have their states.
    """

    def read(job: Job) -> Snapshot:
        update = rescan(sysroot, Snapshot(), job=job, progress=progress)
        files = sysroot.during(job).reporting()
        if not may_declare(files):
            return update.snapshot.numbered(1)
        from nodedevd.layout.states import NOTHING, follow_layout  # most hosts need none of it

        return follow_layout(files, update, NOTHING)[0].snapshot.numbered(1)

    return in_time(read, stuck_seconds=stuck_seconds)


def read_in_time(
    sysroot: Sysroot, read: Callable[[Sysroot], T], *, stuck_seconds: float = STUCK_SECONDS
) -> tuple[T, tuple[UnansweredRead, ...]]:
    """Return what a function reads besides devices, and the reads that hang.

    Reads that hang fail with Unanswered, an OSError. Raises as `in_time`.
    """
    return in_time(lambda job: read(sysroot.during(job).reporting()), stuck_seconds=stuck_seconds)


class _Attempt(Generic[T]):
    """A read in a thread of its own, which does not hold up the exit of the interpreter."""

    def __init__(self, read: Callable[[Job], T], job: Job) -> None:
        self._outcome: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
        self._ended: tuple[T | None, BaseException | None] | None = None
        threading.Thread(target=self._run, args=(read, job), daemon=True).start()

    def ended(self, timeout_seconds: float) -> bool:
        """Wait so long at the most for its end; return whether it has ended."""
        with suppress(Empty):
            self._ended = self._outcome.get(timeout=timeout_seconds)
        return self._ended is not None

    @property
    def failed(self) -> bool:
        """Whether it has raised an exception."""
        return self._ended is not None and self._ended[1] is not None

    def result(self) -> T:
        """Return the result, or raise the exception."""
        assert self._ended is not None
        result, error = self._ended
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    def _run(self, read: Callable[[Job], T], job: Job) -> None:
        try:
            self._outcome.put((read(job), None))
        except BaseException as error:
            self._outcome.put((None, error))
