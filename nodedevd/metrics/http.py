"""http: the conversation with a Prometheus server, one request on a connection.

h11 parses and writes HTTP/1.1 without I/O. A request has no body and a head of a few kilobytes.
The connection is closed after the answer, and in any case when its time is over: a client that
sends or reads slowly takes a place for no longer than that.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import h11

from nodedevd.errors import NodedevError, TooManyClients
from nodedevd.metrics.text import OPENMETRICS_TYPE, PROMETHEUS_TYPE, Format
from nodedevd.server.account import Account, Holding
from nodedevd.server.connection import ClientConnection, Owner
from nodedevd.server.conversation import Conversation, ConversationFactory, Peer

HEAD_BYTES: Final = 8192
"""A request line with its headers is no longer."""
REQUEST_SECONDS: Final = 3.0
"""How long a client may take to send its request."""
LIFE_SECONDS: Final = 15.0
"""How long a connection lasts; Prometheus waits 10 s for an answer, by its default."""
PATH: Final = b"/metrics"
_TEXT: Final = "text/plain; charset=utf-8"
_OPENMETRICS: Final = b"application/openmetrics-text"
_ABOUT: Final = b"nodedevd's metrics are at /metrics.\n"


class HttpConversations(ConversationFactory):
    """Answers requests for metrics."""

    def __init__(self, text: Callable[[Format], Awaitable[bytes]]) -> None:
        """Prepare.

        Args:
            text: Returns the metrics of this time, in a format. Raises NodedevError, OSError.
        """
        super().__init__()
        self.text = text

    def begin(
        self, peer: Peer, wake: Callable[[], None], holding: Holding | None = None
    ) -> HttpConversation:
        """Return the conversation with a new client."""
        return HttpConversation(self)

    def refusal(self, error: TooManyClients, received: bytes) -> bytes:
        """Return the answer to a client without a place."""
        return HttpConversation(self).refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(error))


class HttpConversation(Conversation[bytes]):
    """One request and its answer."""

    def __init__(self, shared: HttpConversations) -> None:
        self._shared = shared
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._received = 0
        self._request: h11.Request | None = None
        self._format: Format = "prometheus"
        self._awaiting = False
        self._unsent: list[bytes] = []

    @property
    def answering(self) -> bool:
        """Whether there will be output without further input."""
        return self._awaiting or bool(self._unsent)

    def receive(self, data: bytes) -> None:
        """Take bytes of the request."""
        # h11 limits what is incomplete; one byte more than that is enough for its error.
        data = data[: HEAD_BYTES + 1 - self._received]
        if data:  # no bytes are the end, which the connection sees for itself
            self._received += len(data)
            self._http.receive_data(data)

    def next(self) -> bytes | Awaitable[bytes] | None:
        """Return the next part of the answer."""
        if self._unsent:
            return self._unsent.pop(0)
        if self.ended or self._awaiting:
            return None
        try:
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            self.ended = True
            return self.refuse(HTTPStatus(error.error_status_hint), str(error))
        if not isinstance(event, h11.Request):
            return None  # NEED_DATA: nothing else comes before a request
        self.ended = True
        self._shared.calls += 1
        self._request = event
        return self._answer(event)

    def answered(self, answer: bytes) -> None:
        """Send the metrics."""
        self._awaiting = False
        content = OPENMETRICS_TYPE if self._format == "openmetrics" else PROMETHEUS_TYPE
        self._unsent = self._written(HTTPStatus.OK, content, answer)

    def failed(self, error: BaseException) -> None:
        """Write why there are no metrics."""
        self._awaiting = False
        known = isinstance(error, (NodedevError, OSError))
        reason = str(error) if known else "a defect of nodedevd-metrics; see its log"
        self._unsent = [self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, reason)]

    def close(self) -> None:
        """Give up."""
        self._awaiting = False
        self._unsent.clear()

    def refuse(self, status: HTTPStatus, reason: str, *headers: tuple[str, str]) -> bytes:
        """Return an answer that says why there is no other."""
        return b"".join(self._written(status, _TEXT, f"{reason}\n".encode(), *headers))

    def _answer(self, request: h11.Request) -> bytes | Awaitable[bytes]:
        sized = {b"content-length", b"transfer-encoding"}
        if any(name in sized and value != b"0" for name, value in request.headers):
            return self.refuse(HTTPStatus.BAD_REQUEST, "a request for metrics has no body")
        if request.method not in (b"GET", b"HEAD"):
            return self.refuse(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "only GET and HEAD are served",
                ("Allow", "GET, HEAD"),
            )
        path = request.target.partition(b"?")[0]
        if path == PATH:
            self._awaiting = True
            self._format = _wanted_format(request)
            return self._shared.text(self._format)
        if path == b"/":
            return b"".join(self._written(HTTPStatus.OK, _TEXT, _ABOUT))
        return self.refuse(HTTPStatus.NOT_FOUND, "metrics are at /metrics")

    def _written(
        self, status: HTTPStatus, content: str, body: bytes, *headers: tuple[str, str]
    ) -> list[bytes]:
        """Return an answer in parts, so that its body is not copied."""
        response = h11.Response(
            status_code=status,
            reason=status.phrase,
            headers=[
                *headers,
                ("Content-Type", content),
                ("Content-Length", str(len(body))),
                ("Cache-Control", "no-store"),
                ("Connection", "close"),
            ],
        )
        http = self._http
        if http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return []
        parts = [http.send(response)]
        if self._request is None or self._request.method != b"HEAD":
            parts.append(body)
        return [part for part in parts if part]


def _wanted_format(request: h11.Request) -> Format:
    """Return the format that a client asks for; what it prefers if it takes both is ignored."""
    accept = b",".join(value for name, value in request.headers if name == b"accept")
    wanted = [one.partition(b";")[0].strip().lower() for one in accept.split(b",")]
    return "openmetrics" if _OPENMETRICS in wanted else "prometheus"


class BriefConnection(ClientConnection):
    """A connection that is closed when its time is over, whatever its client does."""

    request_seconds = REQUEST_SECONDS
    seconds = LIFE_SECONDS

    def __init__(
        self,
        owner: Owner,
        factory: ConversationFactory,
        peer: Peer,
        account: Account,
        sock: socket.socket,
    ) -> None:
        super().__init__(owner, factory, peer, account, sock)
        loop = asyncio.get_running_loop()
        self._limits = (
            loop.call_later(self.request_seconds, self._abort_without_request),
            loop.call_later(self.seconds, self.abort),
        )

    def _abort_without_request(self) -> None:
        if not self._conversation.ended:
            self.abort()

    def _disconnect(self) -> None:
        for limit in self._limits:
            limit.cancel()
        super()._disconnect()
