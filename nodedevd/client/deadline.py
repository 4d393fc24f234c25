"""Deadline: when a call has taken too long."""

from __future__ import annotations

import time


class Deadline:
    """A moment so many seconds from now; None is never."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._at = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float | None:
        """The seconds that are left, never below 0; None for ever."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())
