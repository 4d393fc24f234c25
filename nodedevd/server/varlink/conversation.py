"""VarlinkConversation: a client's calls to a service, answered one after another."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Final

from nodedevd import errors
from nodedevd.model.snapshot import Snapshot
from nodedevd.server.account import Holding
from nodedevd.server.conversation import Conversation, ConversationFactory, Peer
from nodedevd.server.reply_cache import Cacheable, ReplyCache
from nodedevd.server.varlink.answers import Answer, LongAnswer, Stream
from nodedevd.server.varlink.misdirected import refuse_libvirt
from nodedevd.server.varlink.service import Service
from nodedevd.varlink import (
    MESSAGE_LIMIT_BYTES,
    Call,
    CallDecoder,
    Malformed,
    VarlinkError,
    encode_error,
    encode_long_reply,
    encode_reply,
)

_log: Final = logging.getLogger(__name__)
_NO_CALL: Final = Call("")

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
    and what streams keep, counts as held by its user: what exceeds the budget is refused.
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
        # One call is answered at a time: by an answer that is awaited, then ready, or a stream.
        self._call = _NO_CALL
        self._awaiting = False
        self._ready: bytes | None = None
        self._stream: Stream | None = None
        self._parts: Iterator[bytes] | None = None  # of a long reply
        self._kept: Snapshot | None = None  # what the stream or the parts keep in memory
        self._holds = False  # anything for the call, or for a half message

    @property
    def answering(self) -> bool:
        """Whether a call is being answered."""
        return (
            self._awaiting
            or self._stream is not None
            or self._ready is not None
            or self._parts is not None
        )

    @property
    def outlives_client(self) -> bool:
        """Whether the call is oneway: its client may close without waiting for the end."""
        return self._call.oneway

    def receive(self, data: bytes) -> None:
        """Take bytes of calls."""
        self._decoder.feed(data)

    def next(self) -> bytes | Awaitable[Answer] | None:
        """Return the next reply, empty to a oneway call."""
        if self._awaiting:
            return None
        if self._ready is not None:
            reply, self._ready = self._ready, None
            return reply
        if self._stream is not None:
            return self._next_chunk(self._stream)
        if self._parts is not None:
            return self._next_part(self._parts)
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
        self._call = call
        try:
            answer = self._service.call(call, self._peer)
        except VarlinkError as error:
            return self._error(error)
        if isinstance(answer, Cacheable):
            return self._cache(text, answer)
        if isinstance(answer, bytes) or not isinstance(answer, Awaitable):
            return self._begin(answer)
        if len(text) > UNCOUNTED_BYTES:
            try:
                self._hold("call", len(text) * DECODED_FACTOR)
            except errors.BudgetExceeded as error:
                if isinstance(answer, Coroutine):
                    answer.close()
                return self._fail(error)
        self._awaiting = True
        return answer

    def answered(self, answer: Answer) -> None:
        """Make the reply ready, or begin the stream."""
        self._awaiting = False
        if not self._closed:
            self._ready = self._begin(answer)
        elif not isinstance(answer, (bytes, Cacheable, LongAnswer)):
            _close(answer)

    def failed(self, error: BaseException) -> None:
        """Make the error reply ready."""
        self._awaiting = False
        if not self._closed:
            self._ready = self._fail(error)

    def close(self) -> None:
        """Close the stream, if there is one."""
        self._closed = True
        self._end_stream()
        self._parts = None
        self._wake = _nobody  # It refers to the connection, which refers to this object.

    def _cache(self, call: bytes, cacheable: Cacheable[bytes]) -> bytes:
        if self._call.oneway:
            return b""
        reply = encode_reply(cacheable.answer)
        self._shared.replies.keep(call, reply, cacheable.until)
        return reply

    def _begin(self, answer: Answer) -> bytes | None:
        """Return the reply of an answer, or the first reply of a stream."""
        found = answer.answer if isinstance(answer, Cacheable) else answer
        if isinstance(found, (bytes, LongAnswer)) and self._call.oneway:
            return b""
        if isinstance(found, bytes):
            return self._bounded(encode_reply(found))
        try:
            if isinstance(found, LongAnswer):
                self._hold("answer", found.own_bytes)
                self._keep(found.snapshot)
                self._parts = encode_long_reply(found.parts)
                return self._next_part(self._parts)
            if self._call.oneway or not self._call.more:
                found.close()
                raise errors.ExpectedMore
            self._stream = found
            self._hold("answer", found.own_bytes)
            self._keep(found.snapshot)
            found.start(self._wake)
        except Exception as error:
            return self._fail(error)
        return self._next_chunk(found)

    def _bounded(self, reply: bytes) -> bytes:
        """Return a reply, or the error that the client may not hold one of this size."""
        if len(reply) > UNCOUNTED_REPLY_BYTES:
            try:
                self._hold("reply", len(reply))
            except errors.BudgetExceeded as error:
                return self._fail(error)
        return reply

    def _next_part(self, parts: Iterator[bytes]) -> bytes | None:
        """Return the next part of a long reply; the client is dropped if it cannot be made."""
        try:
            part = next(parts, None)
        except Exception:
            _log.exception("a call failed in the middle of its reply")
            self.failure = "its reply cannot be completed"
            part = None
        if part is None:
            self._parts = None
            return b""
        return part

    def _next_chunk(self, stream: Stream) -> bytes | None:
        try:
            chunk = stream.next()
            if stream.snapshot is not self._kept:
                self._keep(stream.snapshot)
        except Exception as error:
            return self._fail(error)
        if chunk is None:
            return None
        if chunk.last:
            self._end_stream()
        return encode_reply(chunk.parameters, continues=not chunk.last)

    def _wait_for_rest(self) -> bytes | None:
        """Hold the part of a message that has arrived, or drop it and return the error."""
        try:
            self._hold("input", self._decoder.buffered)
        except errors.BudgetExceeded as error:
            self._decoder.drop()
            self._call = _NO_CALL
            return self._fail(error)
        return None

    def _hold(self, what: str, size: int) -> None:
        if size:
            self._holding.set(what, size)
            self._holds = True

    def _keep(self, snapshot: Snapshot | None) -> None:
        """Note which snapshot is kept in memory for this client, perhaps among others."""
        if snapshot is None:
            self._holding.drop("snapshot")
        else:
            self._holding.share("snapshot", snapshot, SNAPSHOT_DEVICE_BYTES * len(snapshot))
            self._holds = True
        self._kept = snapshot

    def _release(self) -> None:
        """Hold nothing any longer: the reply to the last call is sent, or all but sent."""
        for what in _CALL_HOLDS:
            self._holding.drop(what)
        self._holds = False
        self._kept = None

    def _end_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            _close(stream)

    def _refuse(self, malformed: Malformed) -> bytes:
        self._call = _NO_CALL
        return self._error(self._service.refusal(malformed))

    def _refuse_libvirt(self) -> bytes | None:
        """Return the reply to a client of libvirt, which is the last; None for other clients."""
        refusal = refuse_libvirt(b"\0" + self._decoder.peek())
        if refusal is not None:
            self.ended = True
            self._decoder = CallDecoder(self._shared.message_bytes)
        return refusal

    def _fail(self, error: BaseException) -> bytes:
        self._end_stream()
        return self._error(self._service.translate(error))

    def _error(self, error: VarlinkError) -> bytes:
        if self._call.oneway:
            return b""
        try:
            return encode_error(error.name, error.parameters)
        except Exception as defect:
            # The parameters cannot be encoded as JSON.
            error = self._service.translate(defect)
            return encode_error(error.name, error.parameters)


def _nobody() -> None:
    """Wake nobody: the connection is closed."""


def _close(stream: Stream) -> None:
    try:
        stream.close()
    except Exception:
        _log.exception("cannot close a stream")
