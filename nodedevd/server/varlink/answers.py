"""What a method answers: the parameters of one reply, or a stream of replies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from nodedevd.model.snapshot import Snapshot
from nodedevd.server.reply_cache import Cacheable

T = TypeVar("T")


class Chunk(NamedTuple):
    """One reply of a stream: its parameters, the text of a JSON object."""

    parameters: bytes
    last: bool
    """whether no other reply follows"""


class Stream(Protocol):
    """The replies to one call with `more`, each fetched when the client can take it.

    Attributes:
        snapshot: what `next` still reads, which stays in memory for that; None if nothing.
        own_bytes: memory that the stream keeps for its client alone.
    """

    snapshot: Snapshot | None
    own_bytes: int

    def start(self, wake: Callable[[], None]) -> None:
        """Begin; the stream calls `wake` on the event loop when `next` has a reply again."""

    def next(self) -> Chunk | None:
        """Return the next reply, or None if there is none now."""

    def close(self) -> None:
        """Release everything, started or not: all is sent, or the client has gone."""


class IterableStream(Generic[T]):
    """The stream of an iterable, at least one; `write` makes a reply of each.

    It stays one ahead of what is sent, to recognize the last one.
    """

    def __init__(
        self,
        replies: Iterable[T],
        write: Callable[[T], bytes],
        snapshot: Snapshot | None = None,
        own_bytes: int = 0,
    ) -> None:
        self.snapshot = snapshot
        self.own_bytes = own_bytes
        self._replies = iter(replies)
        self._write = write
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
        return Chunk(self._write(reply), last=self._ahead is None)

    def close(self) -> None:
        """Drop the replies that were not sent."""
        self._replies, self._ahead, self.snapshot = iter(()), None, None


class LongAnswer:
    """The parameters of one reply in parts, each made when the client can take it.

    Clients share what the parts are made of, so a client that does not read costs one part and
    the snapshot that the others are made from.
    """

    def __init__(self, parts: Iterable[bytes], snapshot: Snapshot, own_bytes: int = 0) -> None:
        self.parts = iter(parts)
        self.snapshot = snapshot
        self.own_bytes = own_bytes
        """memory that is kept for this client alone"""


Answer: TypeAlias = bytes | Cacheable[bytes] | LongAnswer | Stream
"""The parameters of the one reply, the text of a JSON object, or a stream of replies."""
