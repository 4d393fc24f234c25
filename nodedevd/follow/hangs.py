"""hangs: decides which reads hang, and how long the next one may take.

A read that a driver does not answer cannot be cancelled: it keeps its thread, and a new thread
reads the rest. This module does no waiting: `supervisor` waits on the event loop, `in_time` blocks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from nodedevd.descriptors import HANGING_AT_MOST
from nodedevd.errors import NodedevError
from nodedevd.host.job import Job
from nodedevd.model.status import UnansweredRead

STUCK_SECONDS = 2.0
"""How long the first read that hangs is waited for. Hangs come in groups, so the one after N
others gets 1/(N+1) of it."""
SHORTEST_SECONDS = 0.05
"""The shortest time that a read gets however many hang: 64 that hang cost 10 s, 512 cost 32 s."""
SLOW_SECONDS = 10.0
"""The longest time that a read gets that hung before and then returned."""
_SLOW_KEPT = 4096


class TooManyHang(NodedevError):
    """So many reads hang that the rest of the host cannot be read."""

    code = "too-many-reads-hang"
    number: int
    path: str

    def __str__(self) -> str:
        return (
            f"{self.number} reads of this host hang, the last one that of {self.path}: a driver"
            " does not answer; see the kernel's log"
        )


class Hanging(msgspec.Struct, frozen=True, eq=False):
    """A read that has not returned."""

    path: str
    since: float
    """time.monotonic()"""
    is_call: bool
    """whether it is a call, and not the read of a device"""
    owner: str | None
    """the path of the device that the call is about, if it is about one"""


class Hangs:
    """The reads that hang, oldest first, and the time that others may take."""

    def __init__(self, stuck_seconds: float, at_most: int = HANGING_AT_MOST) -> None:
        self._stuck_seconds = stuck_seconds
        self._at_most = at_most
        self._hanging: list[Hanging] = []
        self._slow: dict[str, float] = {}
        """limits of reads that were slow once, in seconds, by path"""

    def __iter__(self) -> Iterator[Hanging]:
        return iter(self._hanging)

    def __len__(self) -> int:
        return len(self._hanging)

    def next_job(self, after: Job | None = None) -> Job:
        """Return an attempt that leaves out what hangs. Raises TooManyHang."""
        if len(self._hanging) >= self._at_most:
            raise TooManyHang(len(self._hanging), self._hanging[-1].path)
        devices = frozenset([one.owner or one.path for one in self if one.owner or not one.is_call])
        calls = frozenset([one.path for one in self if one.is_call])
        return Job(devices, calls, after)

    def limit(self, path: str | None) -> float:
        """Return how many seconds a read may take."""
        limit = self._stuck_seconds / (1 + len(self._hanging))
        shortest = min(SHORTEST_SECONDS, self._stuck_seconds)
        return max(limit, shortest, self._slow.get(path or "", 0.0))

    def found(self, job: Job) -> Hanging | None:
        """Return the read of a job that hangs, and abandon the job; None if none does."""
        path, since = job.path, job.since
        limit = self.limit(path)
        if path is None or time.monotonic() - since < limit:
            return None
        job.abandoned = True
        hanging = Hanging(path, since, job.is_call, job.owner)
        self._hanging.append(hanging)
        return hanging

    def returned(self, hanging: Hanging) -> None:
        """Note that a read has returned: next time it gets as much time as it took."""
        self._hanging.remove(hanging)
        seconds = time.monotonic() - hanging.since
        if len(self._slow) >= _SLOW_KEPT:
            self._slow.clear()
        self._slow[hanging.path] = min(2 * seconds, SLOW_SECONDS)

    def unanswered(self) -> tuple[UnansweredRead, ...]:
        """Return the reads that hang, for a status."""
        time_now = time.monotonic()
        return tuple([UnansweredRead(one.path, round(time_now - one.since, 3)) for one in self])
