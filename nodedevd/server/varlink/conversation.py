"""VarlinkConversation: a client's calls to a service, answered one after another."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from nodedevd import errors
from nodedevd.server.account import Holding
from nodedevd.server.conversation import Conversation, ConversationFactory, Peer
from nodedevd.server.reply_cache import Cacheable, ReplyCache
from nodedevd.server.varlink.answers import Answer, Stream
from nodedevd.server.varlink.misdirected import refuse_libvirt
from nodedevd.server.varlink.service import Service
from nodedevd.varlink import (
    MESSAGE_LIMIT_BYTES,
    Call,
    CallDecoder,
    Malformed,
    VarlinkError,
    encode_error,
    encode_reply,
)

_log: Final = logging.getLogger(__name__)
_NO_CALL: Final = Call("")


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

    It holds at most one message and what one read received, and one reply.
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

    @property
    def answering(self) -> bool:
        """Whether a call is being answered."""
        return self._awaiting or self._stream is not None or self._ready is not None

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
        text = self._decoder.take()
        if text is None:
            return None
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
        self._awaiting = True
        return answer

    def answered(self, answer: Answer) -> None:
        """Make the reply ready, or begin the stream."""
        self._awaiting = False
        if not self._closed:
            self._ready = self._begin(answer)
        elif not isinstance(answer, (bytes, Cacheable)):
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

    def _cache(self, call: bytes, cacheable: Cacheable[bytes]) -> bytes:
        if self._call.oneway:
            return b""
        reply = encode_reply(cacheable.answer)
        self._shared.replies.keep(call, reply, cacheable.until)
        return reply

    def _begin(self, answer: Answer) -> bytes | None:
        """Return the reply of an answer, or the first reply of a stream."""
        found = answer.answer if isinstance(answer, Cacheable) else answer
        if isinstance(found, bytes):
            return b"" if self._call.oneway else encode_reply(found)
        try:
            if self._call.oneway or not self._call.more:
                found.close()
                raise errors.ExpectedMore
            self._stream = found
            found.start(self._wake)
        except Exception as error:
            return self._fail(error)
        return self._next_chunk(found)

    def _next_chunk(self, stream: Stream) -> bytes | None:
        try:
            chunk = stream.next()
        except Exception as error:
            return self._fail(error)
        if chunk is None:
            return None
        if chunk.last:
            self._end_stream()
        return encode_reply(chunk.parameters, continues=not chunk.last)

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


def _close(stream: Stream) -> None:
    try:
        stream.close()
    except Exception:
        _log.exception("cannot close a stream")
