"""ReplyCache: replies to calls that many clients make, each for as long as it is right."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

CACHE_BYTES: Final = 16 << 20
"""Capacity for calls and their replies."""
CACHED_CALL_BYTES: Final = 1024
"""Longer calls are not kept: they are no client's usual ones, and would take the place of many."""

T = TypeVar("T")


class Cacheable(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """An answer that every client may get that makes the same call, until a time."""

    answer: T
    until: float
    """as time.monotonic()"""


class ReplyCache:
    """Replies by the bytes of the calls.

    `state` returns a token; when it is another object or number, every cached reply is stale.
    """

    def __init__(self, state: Callable[[], object], capacity_bytes: int = CACHE_BYTES) -> None:
        self._state = state
        self._capacity_bytes = capacity_bytes
        self._of: object = None
        self._replies: dict[bytes, tuple[bytes, float]] = {}
        self._bytes = 0

    def get(self, call: bytes) -> bytes | None:
        """Return the reply to a call, None if it is not cached or is stale."""
        state = self._state()
        if state is not self._of:
            self._clear()
            self._of = state
        found = self._replies.get(call)
        if found is None:
            return None
        reply, until = found
        return reply if until == math.inf or time.monotonic() < until else None

    def keep(self, call: bytes, reply: bytes, until: float = math.inf) -> None:
        """Cache the reply to a call until the state changes, or until a time.

        The time is that of time.monotonic(); once it has come, this is a no-op. A reply that
        exceeds the capacity empties the cache.
        """
        if until <= time.monotonic():
            return
        before = self._replies.get(call)
        if before is None:
            self._bytes += len(call) + len(reply)
        else:
            self._bytes += len(reply) - len(before[0])
        if self._bytes > self._capacity_bytes:
            self._clear()
        else:
            self._replies[call] = reply, until

    def _clear(self) -> None:
        self._replies.clear()
        self._bytes = 0
