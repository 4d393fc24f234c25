"""Retries: has read again what could not be read, with backoff, until it could."""

from __future__ import annotations

import asyncio
import time

from nodedevd.follow.pending import Pending, Scan, Work
from nodedevd.model.changes import Update
from nodedevd.tree.unread import WHOLE_HOST

RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0)
"""Delays before the retries of what could not be read; the last one repeats."""
SHORTAGE_SECONDS = 5.0
"""The longest delay while descriptors or memory are short: that ends for all at once."""
TOLERATED_AFTER = 6
"""Retries after which a new device is shown as far as it can be read."""


def delay(retries: int, *, short: bool) -> float:
    """Return how many seconds to wait after so many retries."""
    seconds = RETRY_SECONDS[min(retries, len(RETRY_SECONDS) - 1)]
    return min(seconds, SHORTAGE_SECONDS) if short else seconds


class Retries:
    """Reads nothing itself: puts what could not be read into `pending` when it is due."""

    def __init__(self, pending: Pending) -> None:
        self._pending = pending
        self._retries: dict[str, int] = {}
        """how often each path was read in vain"""
        self._due: dict[str, float] = {}
        """when it is read again, as time.monotonic()"""
        self._timer: asyncio.TimerHandle | None = None

    def after(self, work: Work, update: Update) -> None:
        """Schedule what a job could not read, and forget what it could."""
        if not update.unread and not self._due:
            return
        for path in tuple(self._due) if work.scan else work.touched & self._due.keys():
            if path not in update.unread:
                del self._due[path], self._retries[path]
        time_now = time.monotonic()
        for path in update.unread:
            if self._due.get(path, 0.0) <= time_now:
                retries = self._retries.get(path, -1) + 1
                self._retries[path] = retries
                self._due[path] = time_now + delay(retries, short=update.short)
        self._schedule()

    def close(self) -> None:
        """Have nothing read again."""
        if self._timer is not None:
            self._timer.cancel()
        self._due.clear()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            seconds = max(0.0, min(self._due.values()) - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(seconds, self._retry)

    def _retry(self) -> None:
        self._timer = None
        time_now = time.monotonic()
        due = {path for path, at in self._due.items() if at <= time_now}
        if WHOLE_HOST in due:
            self._pending.request(Scan.RESCAN)
        self._pending.touch(due - {WHOLE_HOST})
        self._pending.tolerate(path for path in due if self._retries[path] >= TOLERATED_AFTER)
