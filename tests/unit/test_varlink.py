"""The codec: which messages are valid, and that memory stays bounded."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.varlink import (
    Call,
    CallDecoder,
    Malformed,
    ReplyDecoder,
    VarlinkError,
    encode_call,
    encode_error,
    encode_reply,
    service_error,
)

LIMIT = 200
PING = encode_call("org.example.Ping", {"text": "hé"})
LIST = encode_call("org.example.List", more=True)
STOP = encode_call("org.example.Stop", oneway=True)


def drain(decoder: CallDecoder) -> Iterable[Call | Malformed]:
    """Yield all messages there are."""
    while (message := decoder.next()) is not None:
        yield message


def decode(data: bytes, *, piece: int | None = None, limit: int = LIMIT) -> list[Call | Malformed]:
    """Feed `data` whole or in pieces, and return all messages."""
    decoder = CallDecoder(limit)
    messages: list[Call | Malformed] = []
    size = piece or len(data)
    for start in range(0, len(data), size):
        decoder.feed(data[start : start + size])
        messages.extend(drain(decoder))
        assert decoder.buffered <= limit
    return messages


def names(messages: Iterable[Call | Malformed]) -> list[str]:
    """Return the methods called, and the errors in between."""
    return [m.method.rpartition(".")[2] if isinstance(m, Call) else m.error_name for m in messages]


def only(data: bytes) -> Call | Malformed:
    """Return the one message in `data`."""
    (message,) = decode(data)
    return message


def test_call_fed_whole_is_decoded() -> None:
    """Method, parameters and flags arrive as sent."""
    (call,) = decode(PING)
    assert isinstance(call, Call)
    assert call.method == "org.example.Ping"
    assert json.loads(bytes(call.parameters)) == {"text": "hé"}
    assert (call.oneway, call.more, call.upgrade) == (False, False, False)


@pytest.mark.parametrize("piece", [1, 2, 7, 64, None])
def test_calls_in_pieces_are_the_same_calls(piece: int | None) -> None:
    """Where the packets were cut makes no difference."""
    data = PING + b"garbage\0" + LIST + b"x" * (LIMIT + 1) + b"\0" + STOP
    assert names(decode(data, piece=piece)) == [
        "Ping",
        "MalformedMessage",
        "List",
        "MessageTooLarge",
        "Stop",
    ]


def test_flags_are_decoded() -> None:
    """`more` and `oneway` are those of the encoder."""
    more, oneway = decode(LIST + STOP)
    assert isinstance(more, Call)
    assert isinstance(oneway, Call)
    assert (more.more, more.oneway) == (True, False)
    assert (oneway.more, oneway.oneway) == (False, True)


def test_trailing_data_waits_for_its_nul() -> None:
    """The start of a second call is kept until the rest has come."""
    decoder = CallDecoder(LIMIT)
    decoder.feed(PING + LIST[:10])
    assert names(drain(decoder)) == ["Ping"]
    assert decoder.buffered == 10
    decoder.feed(LIST[10:])
    assert names(drain(decoder)) == ["List"]
    assert decoder.buffered == 0


@pytest.mark.parametrize("parameters", ["", ',"parameters":null', ',"parameters":{}'])
def test_no_parameters_are_an_empty_object(parameters: str) -> None:
    """Absent and null parameters are an empty object."""
    call = only(b'{"method":"org.example.Ping"%b}\0' % parameters.encode())
    assert isinstance(call, Call)
    assert bytes(call.parameters) == b"{}"


def test_unknown_members_are_ignored() -> None:
    """A later version of the protocol may add members."""
    call = only(b'{"method":"org.example.Ping","fds":[{"a":[1,2]}],"more":true}\0')
    assert isinstance(call, Call)
    assert call.more


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b" ",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'"org.example.Ping"',
        b'{"method":1}',
        b'{"method":null}',
        b'{"method":"a","more":1}',
        b'{"method":"a","oneway":"true"}',
        b'{"method":"a","upgrade":null}',
        b'{"method":"a","parameters":[]}',
        b'{"method":"a","parameters":"{}"}',
        b'{"method":"a","parameters":1}',
        b'{"method":"a"} {}',
        b'{"method":"\xff"}',
        b'{"method":"a","parameters":{"b":"\xff"}}',
        b'{"method":"a","parameters":{"\xff":1}}',
        b'{"method":"\\ud800"}',
        b'\xef\xbb\xbf{"method":"a"}',
    ],
)
def test_no_call_is_malformed_and_the_next_is_decoded(message: bytes) -> None:
    """A malformed message does not affect the next one."""
    bad, good = decode(message + b"\0" + PING)
    assert isinstance(bad, Malformed)
    assert bad.error_name == "MalformedMessage"
    assert bad.parameters == {"reason": bad.reason}
    assert bad.reason
    assert names([good]) == ["Ping"]


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("member", [b"parameters", b"unknown", b"method"])
def test_nesting_bomb_is_malformed(opening: bytes, member: bytes) -> None:
    """Deep nesting is malformed, not a RecursionError."""
    bomb = b'{"method":"a","%b":' % member + opening * 30_000 + b"\0"
    bad, good = decode(bomb + PING, limit=256 * 1024)
    assert isinstance(bad, Malformed)
    assert names([good]) == ["Ping"]


def test_message_of_the_limit_is_decoded_and_one_over_is_not() -> None:
    """The limit counts the bytes before the NUL."""
    text = b'{"method":"a"}'
    assert names(decode(text.ljust(LIMIT) + b"\0")) == ["a"]
    too_large = only(text.ljust(LIMIT + 1) + b"\0")
    assert isinstance(too_large, Malformed)
    assert too_large.error_name == "MessageTooLarge"
    assert too_large.parameters == {"limit": LIMIT}


def test_endless_message_is_reported_once_and_not_kept() -> None:
    """None of it is buffered, and the call after its NUL is decoded."""
    decoder = CallDecoder(LIMIT)
    messages: list[Call | Malformed] = []
    for _ in range(1000):
        decoder.feed(b"x" * 1000)
        messages.extend(drain(decoder))
        assert decoder.buffered == 0
    decoder.feed(b"x\0" + PING)
    messages.extend(drain(decoder))
    assert names(messages) == ["MessageTooLarge", "Ping"]


def test_call_byte_by_byte_is_searched_once() -> None:
    """Each byte is searched once, however small the pieces: no quadratic work."""
    searched = 0

    class Counted(bytes):
        def find(self, byte: Any, start: Any = 0, end: Any = None, /) -> int:
            nonlocal searched
            searched += len(self) - start
            return super().find(byte, start)

    decoder = CallDecoder()
    call = encode_call("org.example.Ping", {"text": "x" * 10_000})
    for byte in call:
        assert decoder.next() is None
        decoder.feed(Counted([byte]))
    assert [decoder.next()] == decode(call, limit=len(call))
    assert searched == len(call)


def test_what_was_returned_is_not_kept() -> None:
    """An idle client keeps nothing of its last call."""
    decoder = CallDecoder()
    decoder.feed(PING + LIST)
    assert names(drain(decoder)) == ["Ping", "List"]
    assert decoder._fed == b""


@given(st.lists(st.binary(max_size=60) | st.sampled_from([PING, LIST, STOP, b"\0"]), max_size=20))
def test_any_bytes_give_messages_within_bounds(pieces: list[bytes]) -> None:
    """Any input gives calls, malformed messages, or waits; as many as there are NULs."""
    decoder = CallDecoder(80)
    count = 0
    for piece in pieces:
        decoder.feed(piece)
        messages = list(drain(decoder))
        assert all(isinstance(message, Call | Malformed) for message in messages)
        count += len(messages)
        assert decoder.buffered <= 80
    # A message over the limit is reported before its NUL.
    assert count - b"".join(pieces).count(0) in {0, 1}


@given(
    st.sampled_from([PING, LIST, STOP]),
    st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=3)), max_size=4),
    st.integers(1, 64),
)
def test_mutated_call_leaves_the_next_alone(
    call: bytes, mutations: list[tuple[int, bytes]], piece: int
) -> None:
    """However a call is damaged or cut, the next one is decoded."""
    data = bytearray(call)
    for position, replacement in mutations:
        data[position : position + len(replacement)] = replacement
    messages = decode(bytes(data) + b"\0" + PING, piece=piece)
    assert all(isinstance(message, Call | Malformed) for message in messages)
    assert names(messages)[-1] == "Ping"


def test_reply_is_encoded_around_its_parameters() -> None:
    """Encoded parameters are sent unchanged."""
    assert encode_reply(b'{"a": 1}') == b'{"parameters":{"a": 1}}\0'
    assert encode_reply(b"{}", continues=True) == b'{"parameters":{},"continues":true}\0'


def test_replies_are_decoded_as_encoded() -> None:
    """Replies, continued or not, and errors arrive as sent; garbage is malformed."""
    decoder = ReplyDecoder(LIMIT)
    decoder.feed(encode_reply(b'{"a":1}', continues=True) + encode_reply(b"{}"))
    decoder.feed(encode_error("org.example.Gone", {"name": ("a", "b")}) + b"{}\0[]\0")
    replies: list[Any] = [decoder.next() for _ in range(5)]
    assert [(bytes(r.parameters), r.continues, r.error) for r in replies[:4]] == [
        (b'{"a":1}', True, None),
        (b"{}", False, None),
        (b'{"name":["a","b"]}', False, "org.example.Gone"),
        (b"{}", False, None),
    ]
    assert isinstance(replies[4], Malformed)
    assert decoder.next() is None


def test_error_tells_its_name_and_parameters() -> None:
    """An error prints its name and parameters."""
    error = service_error("InvalidParameter", parameter="name")
    assert str(error) == "org.varlink.service.InvalidParameter(parameter='name')"
    assert VarlinkError("org.example.Gone").parameters == {}
