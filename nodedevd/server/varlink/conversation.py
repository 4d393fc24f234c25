"""VarlinkConversation: a client's calls to a service, answered one after another."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from nodedevd import errors
from nodedevd.model.snapshot import Snapshot
from nodedevd.server.account import Holding
from nodedevd.server.conversation import Conversation, ConversationFactory, Peer
from nodedevd.server.reply_cache import CACHED_CALL_BYTES, Cacheable, ReplyCache, Shared, SharedJson
from nodedevd.server.varlink.answers import NO_REPLY, Answer, AnswerSteps, Later, Stream, Text
from nodedevd.server.varlink.misdirected import refuse_libvirt
from nodedevd.server.varlink.service import Service
from nodedevd.varlink import (
    MESSAGE_LIMIT_BYTES,
    CallDecoder,
    Malformed,
    VarlinkError,
    encode_error,
    encode_reply,
    encode_shared_reply,
)

_log: Final = logging.getLogger(__name__)
_CALL_HOLDS: Final = ("input", "call", "answer", "reply", "snapshot")

UNCOUNTED_BYTES: Final = 4096
"""A half message, or the text of a call, up to this size is not counted."""
UNCOUNTED_REPLY_BYTES: Final = 64 * 1024
"""Nor is a reply up to this size."""
DECODED_FACTOR: Final = 20
"""Memory that a decoded call may take, as a multiple of its text: short strings in a set."""
SNAPSHOT_DEVICE_BYTES: Final = 256
"""Memory that a snapshot takes for each device when it is no longer the current one, so that its
maps are kept for it alone."""


class _Awaited(NamedTuple):
    """An awaitable that the connection runs."""

    answer: Callable[[Any], Answer] | None
    """makes the answer of its result; None: the result is the answer"""


class _Pieces(NamedTuple):
    """The rest of a text."""

    pieces: Iterator[bytes]


_Making: TypeAlias = _Awaited | Later | AnswerSteps | _Pieces | Stream | bytes
"""What the rest of an answer is made of; bytes: it is ready."""


class VarlinkConversations(ConversationFactory):
    """The Varlink protocol over a service.

    Replies with cacheable answers are shared by all clients; they are stale when `state`
    returns another token.
    """

    def __init__(
        self,
        service: Service,
        state: Callable[[], object],
        *,
        message_bytes: int = MESSAGE_LIMIT_BYTES,
    ) -> None:
        super().__init__()
        self.service = service
        self.replies = ReplyCache(state)
        self.message_bytes = message_bytes

    def begin(
        self, peer: Peer, wake: Callable[[], None], holding: Holding | None = None
    ) -> VarlinkConversation:
        """Return the conversation with a new client."""
        return VarlinkConversation(self, peer, wake, holding or Holding())

    def refusal(self, error: errors.TooManyClients, received: bytes) -> bytes:
        """Return the error, which needs no call."""
        translated = self.service.translate(error)
        return encode_error(translated.name, translated.parameters)


class VarlinkConversation(Conversation[Answer]):
    """The calls of one client.

    It holds at most one message and what one read received, and one reply. What is large of that,
    and what long answers keep, counts as held by its user: what exceeds the budget is refused.
    """

    def __init__(
        self,
        shared: VarlinkConversations,
        peer: Peer,
        wake: Callable[[], None],
        holding: Holding,
    ) -> None:
        self._shared = shared
        self._holding = holding
        self._service = shared.service
        self._peer = peer
        self._wake = wake
        self._decoder = CallDecoder(shared.message_bytes)
        self._closed = False
        # Of the call, no more is kept: its text may be large, and an idle client would keep it.
        self._more = False
        self._oneway = False
        self._text_of_call: bytes | None = None
        # One call is answered at a time; None: none is.
        self._making: _Making | None = None
        self._kept: Snapshot | None = None  # what the text or the stream keeps in memory
        self._holds = False  # anything for the call, or for a half message

    @property
    def answering(self) -> bool:
        """Whether a call is being answered."""
        return self._making is not None

    full = answering

    @property
    def unfinished(self) -> bool:
        """Whether an answer is made in steps."""
        return isinstance(self._making, (Generator, _Pieces))

    @property
    def outlives_client(self) -> bool:
        """Whether the call is oneway: its client may close without waiting for the end."""
        return self._oneway

    def receive(self, data: bytes) -> None:
        """Take bytes of calls."""
        self._decoder.feed(data)

    def next(self) -> bytes | Awaitable[Answer] | None:
        """Return the next reply, empty to a oneway call."""
        if self._making is not None:
            return self._go_on(self._making)
        if self._holds:
            self._release()
        text = self._decoder.take()
        if text is None:
            return self._wait_for_rest() if self._decoder.buffered > UNCOUNTED_BYTES else None
        if isinstance(text, Malformed):
            return self._refuse(text)
        cached = self._shared.replies.get(text)
        if cached is not None:
            self._shared.calls += 1
            return cached
        call = self._decoder.decode(text)
        if isinstance(call, Malformed):
            # A packet of libvirt begins with a NUL: its length is below 2 ** 24.
            return (None if text else self._refuse_libvirt()) or self._refuse(call)
        self._shared.calls += 1
        self._more, self._oneway = call.more, call.oneway
        try:
            if len(text) > UNCOUNTED_BYTES:
                self._hold("call", len(text) * DECODED_FACTOR)
            answer = self._service.call(call, self._peer)
        except errors.BudgetExceeded as error:
            return self._fail(error)
        except VarlinkError as error:
            return self._error(error)
        self._text_of_call = text if len(text) <= CACHED_CALL_BYTES else None
        if isinstance(answer, Awaitable):
            self._making = _Awaited(None)
            return answer
        return self._begin(answer)

    def _go_on(self, making: _Making) -> bytes | Awaitable[Answer] | None:
        """Return the next bytes of the answer that is being made, or what is to be awaited."""
        if isinstance(making, _Awaited):
            return None
        if isinstance(making, bytes):
            self._making = None
            return making
        if isinstance(making, Later):
            self._making = _Awaited(making.answer)
            return making.awaited
        if isinstance(making, _Pieces):
            return self._next_piece(making)
        if isinstance(making, Generator):
            return self._step(making)
        return self._next_chunk(making)

    def answered(self, answer: Any) -> None:
        """Make the reply ready, or begin what makes it."""
        awaited, self._making = self._making, None
        if self._closed:
            if not isinstance(answer, (bytes, Cacheable, Later)):
                _close(answer)
            return
        try:
            if isinstance(awaited, _Awaited) and awaited.answer is not None:
                answer = awaited.answer(answer)
            reply = self._begin(answer)
        except Exception as error:
            reply = self._fail(error)
        if self._making is None:
            self._making = reply  # also an empty one: until it is taken, nothing is received

    def failed(self, error: BaseException) -> None:
        """Make the error reply ready."""
        self._making = None
        if not self._closed:
            self._making = self._fail(error)

    def close(self) -> None:
        """Give up the answer that is being made."""
        self._closed = True
        self._end_answer()
        self._wake = _nobody  # It refers to the connection, which refers to this object.

    def _begin(self, answer: Answer) -> bytes:
        """Return the reply of an answer, empty if it is still to be made."""
        oneway = self._oneway
        if isinstance(answer, bytes):
            return b"" if oneway else self._bounded(encode_reply(answer))
        if isinstance(answer, Cacheable):
            return b"" if oneway else self._cache(answer)
        try:
            if isinstance(answer, (Later, Generator)):
                self._making = answer
            elif oneway:
                _close(answer)
            elif isinstance(answer, Text):
                self._keep(answer)
                self._making = _Pieces(answer.messages())
            else:
                if not self._more:
                    answer.close()
                    raise errors.ExpectedMore
                self._making = answer
                self._keep(answer)
                answer.start(self._wake)
        except Exception as error:
            return self._fail(error)
        return b""

    def _bounded(self, reply: bytes) -> bytes:
        """Return a reply, or the error that the client may not hold one of this size."""
        if len(reply) > UNCOUNTED_REPLY_BYTES:
            try:
                self._hold("reply", len(reply))
            except errors.BudgetExceeded as error:
                return self._fail(error)
        return reply

    def _wait_for_rest(self) -> bytes | None:
        """Hold the part of a message that has arrived, or drop it and return the error."""
        try:
            self._hold("input", self._decoder.buffered)
        except errors.BudgetExceeded as error:
            self._decoder.drop()
            self._oneway = False
            return self._fail(error)
        return None

    def _keep(self, answer: Text | Stream) -> None:
        """Count what an answer keeps in memory; the decoded call is part of that."""
        self._holding.drop("call")
        self._hold("answer", answer.own_bytes)
        self._keep_snapshot(answer.snapshot)

    def _keep_snapshot(self, snapshot: Snapshot | None) -> None:
        """Count a snapshot that is kept for this client, perhaps among others."""
        if snapshot is None:
            self._holding.drop("snapshot")
        else:
            self._holding.share("snapshot", snapshot, SNAPSHOT_DEVICE_BYTES * len(snapshot))
            self._holds = True
        self._kept = snapshot

    def _hold(self, what: str, size: int) -> None:
        if size:
            self._holding.set(what, size)
            self._holds = True

    def _release(self) -> None:
        """Hold nothing any longer: the reply to the last call is sent, or all but sent."""
        for what in _CALL_HOLDS:
            self._holding.drop(what)
        self._holds = False
        self._kept = None

    def _cache(self, cacheable: Cacheable[Shared]) -> bytes:
        reply = SharedJson(*encode_shared_reply(*cacheable.answer))
        if self._text_of_call is not None:
            self._shared.replies.keep(self._text_of_call, reply, cacheable.until)
        return reply.joined()

    def _step(self, steps: AnswerSteps) -> bytes:
        try:
            next(steps)
        except StopIteration as end:
            self._making = None
            return self._begin(end.value)
        except Exception as error:
            self._making = None
            return self._fail(error)
        return b""

    def _next_piece(self, text: _Pieces) -> bytes:
        try:
            piece = next(text.pieces, None)
        except Exception as error:
            # A part of the reply may be sent already, so there is no place for an error.
            _log.error("cannot send an answer", exc_info=error)
            self.failure = "a part of a reply could not be made"
            piece = None
        if piece is None:
            self._making = None
        return piece or b""

    def _next_chunk(self, stream: Stream) -> bytes | None:
        try:
            chunk = stream.next()
            if stream.snapshot is not self._kept:
                self._keep_snapshot(stream.snapshot)
        except Exception as error:
            return self._fail(error)
        if chunk is None or chunk is NO_REPLY:
            return None if chunk is None else b""
        if chunk.last:
            self._end_answer()
        return encode_reply(chunk.parameters, continues=not chunk.last)

    def _end_answer(self) -> None:
        making, self._making = self._making, None
        if isinstance(making, _Pieces):
            _close(making.pieces)
        elif making is not None and not isinstance(making, (bytes, Later, _Awaited)):
            _close(making)

    def _refuse(self, malformed: Malformed) -> bytes:
        self._oneway = False
        return self._error(self._service.refusal(malformed))

    def _refuse_libvirt(self) -> bytes | None:
        """Return the reply to a client of libvirt, which is the last; None for other clients."""
        refusal = refuse_libvirt(b"\0" + self._decoder.peek())
        if refusal is not None:
            self.ended = True
            self._decoder = CallDecoder(self._shared.message_bytes)
        return refusal

    def _fail(self, error: BaseException) -> bytes:
        self._end_answer()
        return self._error(self._service.translate(error))

    def _error(self, error: VarlinkError) -> bytes:
        if self._oneway:
            return b""
        try:
            return encode_error(error.name, error.parameters)
        except Exception as defect:
            # The parameters cannot be encoded as JSON.
            error = self._service.translate(defect)
            return encode_error(error.name, error.parameters)


def _nobody() -> None:
    """Wake nobody: the connection is closed."""


def _close(maker: Stream | AnswerSteps | Text | Iterator[bytes]) -> None:
    if isinstance(maker, Text):
        return
    close = getattr(maker, "close", None)
    try:
        if close is not None:
            close()
    except Exception:
        _log.exception("cannot close an answer")
