"""ReplyCache: replies to calls that many clients make, each kept for as long as it is right."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

KEPT_BYTES: Final = 16 << 20
"""Calls and their replies that are kept; beyond that they are made anew."""


class ReplyCache:
    """Replies by the bytes of the calls.

    `state` returns an object that is another one once replies may be different.
    """

    def __init__(self, state: Callable[[], object], most_bytes: int = KEPT_BYTES) -> None:
        self._state = state
        self._most_bytes = most_bytes
        self._of: object = None
        self._replies: dict[bytes, tuple[bytes, float]] = {}
        self._bytes = 0

    def get(self, call: bytes) -> bytes | None:
        """Return the reply to a call, if it is known and still the right one."""
        state = self._state()
        if state is not self._of:
            self._forget()
            self._of = state
        found = self._replies.get(call)
        if found is None:
            return None
        reply, until = found
        return reply if until == math.inf or time.monotonic() < until else None

    def keep(self, call: bytes, reply: bytes, until: float = math.inf) -> None:
        """Keep the reply to a call, just made, until the state is another or until a time.

        That is of time.monotonic(); once it has come, nothing is kept.
        """
        if until <= time.monotonic():
            return
        before = self._replies.get(call)
        if before is None:
            self._bytes += len(call) + len(reply)
        else:
            self._bytes += len(reply) - len(before[0])
        if self._bytes > self._most_bytes:
            self._forget()
        else:
            self._replies[call] = reply, until

    def _forget(self) -> None:
        self._replies.clear()
        self._bytes = 0
