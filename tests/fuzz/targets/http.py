"""A client's request to nodedevd-metrics over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Generator

from nodedevd.metrics.http import HEAD_BYTES, HttpConversations
from nodedevd.metrics.text import Format
from nodedevd.server.conversation import Peer
from tests.fuzz.target import Cutter, Target

_BODY = b"nodedev_reads_hanging 0.0\n"


class _Text(Awaitable[bytes]):
    """The metrics, which nobody awaits here."""

    def __await__(self) -> Generator[None, None, bytes]:
        yield
        return _BODY


def _text(form: Format) -> Awaitable[bytes]:
    return _Text()


_PROTOCOL = HttpConversations(_text)


def check(data: bytes) -> None:
    """One answer at the most, whatever comes in which pieces, and nothing is kept after it."""
    cutter = Cutter(data)
    size = (1, 7, 400, 1 << 16)[cutter.byte() & 3]
    stream = cutter.rest()
    answers = [_converse(stream, size), _converse(stream, 1 << 16)]
    # A message that is complete in one piece, and wrong further on, may be answered already.
    for answer in answers:
        if answer:
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 ")
            assert b"\r\nConnection: close" in head
            assert head.count(b"\r\n") <= 5
            assert len(body) <= 1024


def _converse(stream: bytes, size: int) -> bytes:
    conversation = _PROTOCOL.begin(Peer(0, 0), lambda: None)
    sent = []
    taken = 0
    for piece in Cutter(stream).pieces(size):
        if conversation.ended:
            break
        conversation.receive(piece)
        taken += len(piece)
        while (part := conversation.next()) is not None:
            if isinstance(part, bytes):
                sent.append(part)
            else:
                conversation.answered(_BODY)
        assert conversation.ended or taken <= HEAD_BYTES
    assert not conversation.answering
    conversation.close()
    return b"".join(sent)


TARGET = Target(
    "http",
    check,
    reads=("nodedevd/metrics/http.py",),
    words=(
        b"GET /metrics HTTP/1.1\r\n",
        b"HEAD / HTTP/1.0\r\n",
        b"Host: localhost\r\n",
        b"Accept: application/openmetrics-text;version=1.0.0\r\n",
        b"Content-Length: 0\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n\r\n",
    ),
    most_bytes=1024,
    steps=(4000, 200),
)
