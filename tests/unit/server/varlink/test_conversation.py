"""VarlinkConversation without I/O: what comes out for what goes in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from nodedevd.errors import NoSuchDevice, TooManyClients
from nodedevd.model.snapshot import Snapshot
from nodedevd.server.conversation import Peer
from nodedevd.server.libvirt.protocol import (
    AUTH_LIST,
    KEEPALIVE,
    REMOTE,
    VERSION,
    Header,
    MessageType,
    PacketDecoder,
    encode_packet,
)
from nodedevd.server.reply_cache import Cacheable, Shared
from nodedevd.server.varlink.answers import Answer, Chunk
from nodedevd.server.varlink.conversation import VarlinkConversation, VarlinkConversations
from nodedevd.server.varlink.service import Interface, MethodTable, Request, Service
from nodedevd.varlink import encode_call, encode_error, encode_reply
from tests.support.streams import IterableStream

NAME = "org.example.Test"
PEER = Peer(pid=1, uid=2)

methods = MethodTable()


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text."""

    text: str


class Silent:
    """A stream without replies, which counts how often it is closed."""

    closings = 0
    snapshot: Snapshot | None = None
    own_bytes = 0

    def start(self, wake: Callable[[], None]) -> None:
        """Wake at once."""
        wake()

    def next(self) -> Chunk | None:
        """Return None."""

    def close(self) -> None:
        """Count."""
        self.closings += 1


class Handlers:
    """Each method answers in another way."""

    def __init__(self) -> None:
        self.answered = 0
        self.stream = Silent()

    @methods.add("Echo", Text)
    def echo(self, parameters: Text, request: Request) -> Answer:
        """Answer at once."""
        self.answered += 1
        return Cacheable(Shared(b"", msgspec.json.encode(parameters), b""), float("inf"))

    @methods.add("Later", Text)
    async def later(self, parameters: Text, request: Request) -> Answer:
        """Answer when awaited; the test awaits."""
        return b"{}"

    @methods.add("Letters", Text)
    def letters(self, parameters: Text, request: Request) -> Answer:
        """Stream."""
        return IterableStream(b'"%b"' % letter.encode() for letter in parameters.text)

    @methods.add("Silent", Text)
    def silent(self, parameters: Text, request: Request) -> Answer:
        """Stream nothing."""
        return self.stream


class Bench:
    """A conversation, and what it is over.

    Attributes:
        state: the token of the reply cache.
        wakes: how often the conversation asked for a turn.
    """

    def __init__(self) -> None:
        self.handlers = Handlers()
        self.state: object = 1
        self.wakes = 0
        interface = Interface(NAME, "", methods.bind(self.handlers))
        service = Service("V", "P", "1", "", [interface], NAME)
        self.protocol = VarlinkConversations(service, lambda: self.state, message_bytes=1000)

    def begin(self) -> VarlinkConversation:
        """Return the conversation with a new client."""
        return self.protocol.begin(PEER, self.wake)

    def wake(self) -> None:
        """Count."""
        self.wakes += 1


@pytest.fixture
def bench() -> Bench:
    """Return a protocol over handlers."""
    return Bench()


def call(method: str, text: str = "a", **flags: bool) -> bytes:
    """Return a call."""
    return encode_call(f"{NAME}.{method}", {"text": text}, **flags)


def output(conversation: VarlinkConversation) -> list[bytes]:
    """Return all output that there is now."""
    found = []
    while (one := conversation.next()) is not None:
        assert isinstance(one, bytes)
        found.append(one)
    return found


def test_calls_are_answered_in_order_however_they_are_cut(bench: Bench) -> None:
    """Byte by byte, and an error in its place."""
    conversation = bench.begin()
    replies = []
    for byte in call("Echo", "a") + b"nonsense\0" + call("Echo", "b") + call("Nothing"):
        conversation.receive(bytes([byte]))
        replies += output(conversation)
    first, malformed, second, missing = replies
    assert [first, second] == [encode_reply(b'{"text":"a"}'), encode_reply(b'{"text":"b"}')]
    assert b"MalformedMessage" in malformed
    assert b"MethodNotFound" in missing
    assert (bench.protocol.calls, conversation.answering) == (3, False)


def test_client_of_libvirt_is_refused_in_its_own_protocol(bench: Bench) -> None:
    """It gets one error reply, which has the serial of its call, and the connection ends."""
    conversation = bench.begin()
    header = Header(REMOTE, VERSION, AUTH_LIST.number, MessageType.CALL, serial=7, status=0)
    conversation.receive(encode_packet(header) + encode_packet(header))
    (reply,) = output(conversation)
    assert conversation.ended
    decoder = PacketDecoder()
    decoder.feed(reply)
    packet = decoder.next()
    assert packet is not None
    assert (packet.header.serial, packet.header.status) == (7, 1)
    assert b"give virsh the path of nodedevd --libvirt-socket" in (packet.payload or b"")


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"\0" * 100,
        b"\0\0\0\x1c",
        encode_packet(Header(REMOTE, VERSION, 66, 0, 0, 0))[:-1],
        encode_packet(Header(KEEPALIVE, VERSION, 1, 2, 0, 0)),
        b"\0\0\0\x01" + b"a" * 40,
    ],
)
def test_nul_alone_is_a_malformed_message(bench: Bench, data: bytes) -> None:
    """Only a whole call of libvirt is taken for one."""
    conversation = bench.begin()
    conversation.receive(data)
    replies = output(conversation)
    assert len(replies) == data.count(b"\0")
    assert all(b"MalformedMessage" in reply for reply in replies)
    assert not conversation.ended


def test_cached_reply_is_shared_until_the_state_changes(bench: Bench) -> None:
    """The handler runs once for all clients, and each call counts."""
    conversations = [bench.begin(), bench.begin()]
    for state, answered in ((1, 1), (2, 2)):
        bench.state = state
        for conversation in conversations:
            conversation.receive(call("Echo"))
            assert output(conversation) == [encode_reply(b'{"text":"a"}')]
        assert bench.handlers.answered == answered
    assert bench.protocol.calls == 4


def awaited(conversation: VarlinkConversation) -> Awaitable[Any]:
    """Return the awaitable that is the next output."""
    answer = conversation.next()
    assert isinstance(answer, Awaitable)
    return answer


async def test_next_call_waits_for_an_awaited_answer(bench: Bench) -> None:
    """There is no output, and nothing may be received, until the answer is given back."""
    conversation = bench.begin()
    conversation.receive(call("Later") + call("Echo"))
    answer = awaited(conversation)
    assert (conversation.full, output(conversation)) == (True, [])
    conversation.answered(await answer)
    assert output(conversation) == [encode_reply(b"{}"), encode_reply(b'{"text":"a"}')]
    assert not conversation.full


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (NoSuchDevice("a"), encode_error(f"{NAME}.NoSuchDevice", {"name": "a", "nearest": []})),
        (asyncio.CancelledError(), encode_error(f"{NAME}.InternalError", {})),
    ],
)
async def test_awaited_answer_that_fails_is_an_error(
    bench: Bench, error: BaseException, reply: bytes
) -> None:
    """Also if it was cancelled by what it waits for; the next call is answered."""
    conversation = bench.begin()
    conversation.receive(call("Later") + call("Echo"))
    await awaited(conversation)
    conversation.failed(error)
    assert output(conversation) == [reply, encode_reply(b'{"text":"a"}')]


def test_stream_is_produced_one_reply_at_a_time(bench: Bench) -> None:
    """The next call waits for its end."""
    conversation = bench.begin()
    conversation.receive(call("Letters", "ab", more=True) + call("Echo"))
    assert conversation.next() == b""
    assert conversation.next() == encode_reply(b'"a"', continues=True)
    assert conversation.answering
    assert output(conversation) == [encode_reply(b'"b"'), encode_reply(b'{"text":"a"}')]


def test_stream_without_replies_waits_and_is_closed_once(bench: Bench) -> None:
    """It asked for a turn when it began."""
    conversation = bench.begin()
    conversation.receive(call("Silent", more=True))
    assert (output(conversation), bench.wakes, conversation.full) == ([b""], 1, True)
    conversation.close()
    conversation.close()
    assert bench.handlers.stream.closings == 1


async def test_stream_that_comes_after_the_end_is_closed(bench: Bench) -> None:
    """Nobody is there to read it."""
    conversation = bench.begin()
    conversation.receive(call("Later", more=True))
    await awaited(conversation)
    conversation.close()
    conversation.answered(bench.handlers.stream)
    assert bench.handlers.stream.closings == 1
    assert conversation.next() is None


async def test_oneway_call_outlives_its_client(bench: Bench) -> None:
    """It gets no reply, and is not given up when the client closes."""
    conversation = bench.begin()
    conversation.receive(call("Later", oneway=True))
    await awaited(conversation)
    assert conversation.outlives_client
    conversation.answered(b"{}")
    assert conversation.full
    assert output(conversation) == [b""]
    assert not conversation.answering


def test_refusal_names_the_limit(bench: Bench) -> None:
    """A client that is one too many gets it as a reply to nothing."""
    refusal = bench.protocol.refusal(TooManyClients(7, 1000), b"")
    assert refusal == encode_error(f"{NAME}.TooManyClients", {"limit": 7, "user": 1000})
