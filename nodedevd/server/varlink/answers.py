"""What a method answers: the parameters of one reply, or a stream of replies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol, TypeAlias

from nodedevd.server.reply_cache import Cacheable


class Chunk(NamedTuple):
    """One reply of a stream: its parameters, the text of a JSON object."""

    parameters: bytes
    last: bool
    """whether no other reply follows"""


class Stream(Protocol):
    """The replies to one call with `more`, each fetched when the client can take it."""

    def start(self, wake: Callable[[], None]) -> None:
        """Begin; the stream calls `wake` on the event loop when `next` has a reply again."""

    def next(self) -> Chunk | None:
        """Return the next reply, or None if there is none now."""

    def close(self) -> None:
        """Release everything, started or not: all is sent, or the client has gone."""


class IterableStream:
    """The stream of an iterable of replies, at least one.

    It stays one reply ahead of what is sent, to recognize the last one.
    """

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


Answer: TypeAlias = bytes | Cacheable[bytes] | Stream
"""The parameters of the one reply, the text of a JSON object, or a stream of replies."""
