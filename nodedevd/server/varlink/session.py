"""Serves a Varlink service on a Unix stream socket.

Every client has a session. It answers its calls one after the other, and its memory is
bounded: while an answer is awaited, or replies are left unread, nothing more is read.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Final

from nodedevd import varlink
from nodedevd.server import acceptor
from nodedevd.server.connection import TURN_BYTES as TURN_BYTES
from nodedevd.server.connection import Session
from nodedevd.server.varlink.service import Answer, Lasting, Peer, Service, Stream
from nodedevd.varlink import Call, CallDecoder, Malformed, VarlinkError, encode_error, encode_reply

_log: Final = logging.getLogger(__name__)
_NO_CALL: Final = Call("")


class Limits(acceptor.Limits, frozen=True):
    """What clients may take of the daemon.

    A session holds, of input, at most one message and what is received at once (64 KiB);
    of output, at most `high_water_bytes`, TURN_BYTES and one reply.
    """

    message_bytes: int = varlink.MESSAGE_LIMIT_BYTES


class Server(acceptor.Acceptor):
    """Accepts clients on a listening socket, each into a session."""

    def __init__(self, service: Service, *, limits: Limits | None = None) -> None:
        self.service = service
        self.limits = limits or Limits()
        super().__init__(self.limits)

    def _session(self, peer: Peer, loop: asyncio.AbstractEventLoop) -> Session:
        return VarlinkSession(self, peer, loop)

    def _refusal(self, limit: int) -> bytes:
        error = self.service.too_many_clients(limit)
        return encode_error(error.name, error.parameters)


class VarlinkSession(Session):
    """One client: its calls are answered in order."""

    def __init__(self, server: Server, peer: Peer, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, loop)
        self._server = server
        self._peer = peer
        self._decoder = CallDecoder(server.limits.message_bytes)
        # At most one call is being answered: by an awaited answer, or by a stream.
        self._call = _NO_CALL
        self._task: asyncio.Future[Answer] | None = None
        self._stream: Stream | None = None

    @property
    def _answering(self) -> bool:
        return self._task is not None or self._stream is not None

    @property
    def _ends_with_client(self) -> bool:
        # The client of a oneway call may well be gone already.
        return not self._call.oneway

    def _feed(self, data: bytes) -> None:
        self._decoder.feed(data)

    def _end_answers(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._end_stream()

    def _next_reply(self) -> bytes | None:
        """Return the next reply, empty to a oneway call, or None if there is none now."""
        if self._stream is not None:
            return self._next_chunk(self._stream)
        if self._task is not None:
            if not self._task.done():
                return None
            task, self._task = self._task, None
            return self._end_task(task)
        text = self._decoder.take()
        if text is None:
            return None
        service = self._server.service
        message: Call | Malformed = text if isinstance(text, Malformed) else _NO_CALL
        if isinstance(text, bytes):
            kept = service.kept.get(text)
            if kept is not None:
                self._server.calls += 1
                return kept
            message = self._decoder.decode(text)
        if isinstance(message, Malformed):
            self._call = _NO_CALL
            return self._error(service.refusal(message))
        self._call = message
        self._server.calls += 1
        try:
            answer = service.call(message, self._peer)
        except VarlinkError as error:
            return self._error(error)
        if isinstance(answer, Lasting) and isinstance(text, bytes) and not message.oneway:
            reply = encode_reply(answer)
            service.kept.keep(text, reply, answer.until)
            return reply
        if not isinstance(answer, bytes) and inspect.isawaitable(answer):
            self._task = self._server.run(answer)
            self._task.add_done_callback(self._on_answered)
            return None
        return self._begin(answer)

    def _begin(self, answer: Answer) -> bytes | None:
        if isinstance(answer, bytes):
            return b"" if self._call.oneway else encode_reply(answer)
        try:
            if self._call.oneway or not self._call.more:
                answer.close()
                raise varlink.ExpectedMore
            self._stream = answer
            answer.start(self._wake)
        except Exception as error:
            return self._fail(error)
        return self._next_chunk(answer)

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

    def _wake(self) -> None:
        if self._stream is not None:
            super()._wake()

    def _end_task(self, task: asyncio.Future[Answer]) -> bytes | None:
        try:
            answer = task.result()
        except (Exception, asyncio.CancelledError) as error:
            return self._fail(error)
        return self._begin(answer)

    def _on_answered(self, task: asyncio.Future[Answer]) -> None:
        if task is self._task:
            self._turn()
        elif not task.cancelled() and task.exception() is None:
            # It came when nobody was there any more.
            answer = task.result()
            if not isinstance(answer, bytes):
                _close(answer)

    def _fail(self, error: BaseException) -> bytes:
        self._end_stream()
        return self._error(self._server.service.translate(error))

    def _error(self, error: VarlinkError) -> bytes:
        if self._call.oneway:
            return b""
        try:
            return encode_error(error.name, error.parameters)
        except Exception as defect:
            # Parameters that are not JSON.
            error = self._server.service.translate(defect)
            return encode_error(error.name, error.parameters)


def _close(stream: Stream) -> None:
    try:
        stream.close()
    except Exception:
        _log.exception("a stream could not be closed")
