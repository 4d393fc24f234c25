"""Tidying: drops what caches have that nobody has asked for lately, and frees the memory.

A client that asks for everything once, in every format, does not make the daemon larger for good.
While there are no clients and the caches are empty, nothing is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

INTERVAL_SECONDS: Final = 15.0
"""An entry is dropped when it was not asked for between two of these times."""


class Aging(Protocol):
    """A cache."""

    def age(self) -> bool:
        """Drop the entries not used since the last call; return whether there are others."""


class Tidying:
    """Ages caches as long as one has entries, then frees memory; made on a running event loop."""

    def __init__(self, caches: Sequence[Aging], free: Callable[[], None]) -> None:
        self._caches = caches
        self._free = free
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def later(self) -> None:
        """Tidy after the interval: a client has come or gone."""
        if self._timer is None:
            self._timer = self._loop.call_later(INTERVAL_SECONDS, self._tidy)

    def close(self) -> None:
        """Do nothing any longer."""
        if self._timer is not None:
            self._timer.cancel()

    def _tidy(self) -> None:
        self._timer = None
        entries_left = [cache.age() for cache in self._caches]
        if any(entries_left):
            self.later()
        self._free()
