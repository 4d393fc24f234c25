"""A stream of replies that a test has all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nodedevd.model.snapshot import Snapshot
from nodedevd.server.varlink.answers import Chunk


class IterableStream:
    """The stream of an iterable of replies, at least one.

    It stays one reply ahead of what is sent, to recognize the last one.
    """

    snapshot: Snapshot | None = None
    own_bytes = 0

    def __init__(self, replies: Iterable[bytes]) -> None:
        self._replies = iter(replies)
        self._ahead = next(self._replies, None)
        if self._ahead is None:
            raise ValueError("a stream has at least one reply")

    def start(self, wake: Callable[[], None]) -> None:
        """Do nothing: a reply is always available."""

    def next(self) -> Chunk | None:
        """Return the next reply, None after the last."""
        if self._ahead is None:
            return None
        reply, self._ahead = self._ahead, next(self._replies, None)
        return Chunk(reply, last=self._ahead is None)

    def close(self) -> None:
        """Drop the replies that were not sent."""
        self._replies, self._ahead = iter(()), None
