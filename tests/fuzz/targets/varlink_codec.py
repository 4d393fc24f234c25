"""The codec of Varlink: any bytes, in any pieces."""

from __future__ import annotations

from nodedevd.varlink import (
    Call,
    CallDecoder,
    Malformed,
    Reply,
    ReplyDecoder,
    encode_call,
    encode_reply,
)
from tests.fuzz.target import Cutter, Target

LIMIT = 100
PING = encode_call("org.example.Ping")


def check(data: bytes) -> None:
    """Messages do not depend on where the bytes were cut, and are encoded as they were decoded."""
    cutter = Cutter(data)
    size = cutter.byte()
    stream = cutter.rest()
    whole = _messages(stream, [stream])
    pieces = list(Cutter(stream).pieces(size))
    assert [_shape(one) for one in _messages(stream, pieces)] == [_shape(one) for one in whole]
    for one in whole:
        if isinstance(one, Call):
            _check_call(one)
    decoder = ReplyDecoder(LIMIT)
    decoder.feed(stream + b"\0")
    while (reply := decoder.next()) is not None:
        if isinstance(reply, Reply) and reply.error is None:
            _check_reply(reply)


def _messages(stream: bytes, pieces: list[bytes]) -> list[Call | Malformed]:
    decoder = CallDecoder(LIMIT)
    messages: list[Call | Malformed] = []
    for piece in [*pieces, b"\0", PING]:
        decoder.feed(piece)
        while (message := decoder.next()) is not None:
            messages.append(message)
        assert decoder.buffered <= LIMIT
    last = messages.pop()
    assert isinstance(last, Call)
    assert last.method == "org.example.Ping"
    # The NUL behind an input ends a message of its own, unless one too large was reported before.
    assert len(messages) - stream.count(0) in {0, 1}
    return messages


def _shape(message: Call | Malformed) -> object:
    if isinstance(message, Malformed):
        assert message.limit in (None, LIMIT)
        assert len(message.reason) <= 2 * LIMIT + 200
        message.reason.encode()
        return message.reason
    return message.method, bytes(message.parameters), message.oneway, message.more, message.upgrade


def _check_call(call: Call) -> None:
    decoder = CallDecoder(10 * LIMIT)
    decoder.feed(encode_call(call.method, call.parameters, more=call.more, oneway=call.oneway))
    again = decoder.next()
    assert isinstance(again, Call)
    assert _shape(again)[:4] == _shape(call)[:4]  # type: ignore[index]


def _check_reply(reply: Reply) -> None:
    decoder = ReplyDecoder(10 * LIMIT)
    decoder.feed(encode_reply(bytes(reply.parameters), continues=reply.continues))
    again = decoder.next()
    assert isinstance(again, Reply)
    assert bytes(again.parameters) == bytes(reply.parameters)
    assert again.continues == reply.continues


TARGET = Target(
    "varlink-codec",
    check,
    reads=("nodedevd/varlink.py",),
    words=(
        b'{"method":"a"}\0',
        b'"parameters":{',
        b'"more":true',
        b'"oneway":true',
        b'"upgrade":true',
        b'"error":"',
        b'"continues":true',
        b"\\ud800",
        b"\\u0000",
        b"null",
        b"\xef\xbb\xbf",
    ),
    most_bytes=1024,
    share=1.0,
)
