"""Job: what one thread reads at the moment, for the thread that supervises it.

The read of a device is reported as a whole, by `run`: when one attribute hangs, the others of the
same driver usually do. Whatever else is read is reported call by call, by `Sysroot.reporting`.
What hangs is left out of the next attempt at the job, where it raises `Unanswered`.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from nodedevd.errors import NodedevError

NOT_RETURNED = "a read has not returned"
"""What `Unanswered` says."""

P = ParamSpec("P")
T = TypeVar("T")


class Abandoned(NodedevError):
    """The result of this job is not needed: another attempt has replaced it."""

    code = "abandoned"


class Unanswered(OSError):
    """An earlier read of this path has not returned, so it is not read again."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.ETIMEDOUT, NOT_RETURNED, path)


class Job:
    """One attempt at a job: the reading thread reports its progress, the supervisor reads it."""

    def __init__(
        self,
        unanswered: Set[str] = frozenset(),
        calls: Set[str] = frozenset(),
        after: Job | None = None,
    ) -> None:
        """Begin an attempt.

        Args:
            unanswered: Paths of the devices whose read hangs, to be left out.
            calls: Paths of the other files and directories of which a call hangs.
            after: The attempt that was abandoned before, if there was one.
        """
        self.unanswered = unanswered
        self.path: str | None = None
        """what is being read; None between two reads"""
        self.is_call = False
        """whether that is a call, and not the read of a device"""
        self.owner: str | None = None
        """the path of the device that the call is about, if it is about one"""
        self.since = time.monotonic()
        """when that read began, as time.monotonic()"""
        self.abandoned = False
        """set by the supervisor, to end the job at the next read"""
        # A copy: the thread of the earlier attempt goes on when its read returns.
        self.done: dict[str, Any] = {} if after is None else dict(after.done)
        """what earlier attempts have read and this one need not read again, by path"""
        self.began: dict[str, float] = {} if after is None else dict(after.began)
        """when the last read of each device began, as time.monotonic()"""
        self.hung: frozenset[str] = frozenset()
        """the paths whose read hung in earlier attempts at this job"""
        if after is not None and after.path is not None:
            self.hung = after.hung | {after.path}
        self.left_out: set[str] = set()
        """the paths, other than devices, that were not read, because their read hangs"""
        self._calls = calls

    def run(self, path: str, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of the read of a device. Raises Abandoned."""
        self._start(path, is_call=False)
        self.began[path] = self.since
        try:
            return read(*args, **kwargs)
        finally:
            self.path = None

    def reported(self, call: Callable[..., T]) -> Callable[..., T]:
        """Return a function of a path, and more, that reports each of its calls.

        It raises Abandoned, and Unanswered for the paths to leave out.
        """

        def reported(path: str, *args: object) -> T:
            self._start_call(path)
            try:
                return call(path, *args)
            finally:
                self.path = None

        return reported

    @contextmanager
    def besides(self, path: str, *, owner: str | None = None) -> Iterator[None]:
        """Report a read that several devices share, while one of them is read.

        If it hangs, it is left out of all of them, and its owner is left as it was. Raises
        Abandoned, and Unanswered if it is to be left out.
        """
        before, was_call = self.path, self.is_call
        self._start_call(path, owner)
        try:
            yield
        finally:
            self.path = None
            if before is not None and not self.abandoned:
                self._start(before, is_call=was_call)

    def _start_call(self, path: str, owner: str | None = None) -> None:
        if path in self._calls:
            self.left_out.add(path)
            raise Unanswered(path)
        self._start(path, is_call=True, owner=owner)

    def _start(self, path: str, *, is_call: bool, owner: str | None = None) -> None:
        if self.abandoned:
            raise Abandoned
        self.since, self.is_call, self.owner = time.monotonic(), is_call, owner
        self.path = path  # Last: the supervisor reads it first.
