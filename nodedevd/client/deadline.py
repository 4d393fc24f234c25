"""Deadline: the moment at which a call or a wait times out."""

from __future__ import annotations

import time


class Deadline:
    """A moment so many seconds from now; None is never."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._at = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float | None:
        """The seconds until then, never below 0; None if it never comes."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())
