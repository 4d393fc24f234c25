"""What a method answers: the parameters of one reply, or a way to make one reply or several.

No answer keeps other clients waiting: what takes more than a fraction of a millisecond is made
in steps, between which others have their turns.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol, TypeAlias

from nodedevd.model.snapshot import Snapshot
from nodedevd.server.reply_cache import Cacheable, Shared
from nodedevd.steps import Steps

PIECES_AT_ONCE = 16
"""Devices that are encoded in a step; the text of a device may have to be written for it."""
CHUNK_BYTES = 64 << 10
"""A reply with others to follow ends with the piece that takes it past this size."""


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
        """Return the next reply, or None if there is none now.

        `NO_REPLY` is none either, but something was done: there may be one at once.
        """

    def close(self) -> None:
        """Release everything, started or not: all is sent, or the client has gone."""


NO_REPLY = Chunk(b"", last=False)
"""A step of a stream without a reply."""


class Text:
    """Replies whose text is made while it is sent, so that no more of it is kept than is unsent.

    The parameters are `head`, the pieces with `separator` between them, and `tail`. With `more`
    they are split into replies of about `CHUNK_BYTES`, each with head and tail. A piece may be
    empty: nothing is sent for it, but others have their turn. Pieces raise no errors.

    Attributes:
        snapshot: what the pieces are made of, which stays in memory for that; None if nothing.
        own_bytes: memory that is kept for this client alone until all is sent.
    """

    def __init__(
        self,
        head: bytes,
        pieces: Iterable[bytes],
        tail: bytes,
        *,
        separator: bytes = b"",
        more: bool = False,
        snapshot: Snapshot | None = None,
        own_bytes: int = 0,
    ) -> None:
        self.snapshot = snapshot
        self.own_bytes = own_bytes
        self._head = b'{"parameters":' + head
        self._pieces = pieces
        self._tail = tail
        self._separator = separator
        self._more = more

    def messages(self) -> Iterator[bytes]:
        """Yield the bytes of all replies, NULs included, some of them empty."""
        before, size = self._head, 0
        for piece in self._pieces:
            if piece and size >= CHUNK_BYTES and self._more:
                yield self._tail + b',"continues":true}\0'
                before, size = self._head, 0
            yield before + piece if piece else b""
            if piece:
                before = self._separator
                size += len(piece)
        yield (b"" if size else before) + self._tail + b"}\0"


class Later(NamedTuple):
    """An answer that has to wait.

    A coroutine is this call's own. A future may be shared with others, and is never cancelled.
    """

    awaited: Awaitable[Any]
    answer: Callable[[Any], Answer]
    """makes the answer of the result"""


AnswerSteps: TypeAlias = Steps["Answer"]
"""Makes an answer in steps."""

Answer: TypeAlias = bytes | Cacheable[Shared] | Stream | Text | Later | AnswerSteps
"""The parameters of the one reply, the text of a JSON object, or what makes replies."""
