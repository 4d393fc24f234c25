"""A client's conversation in Varlink, over a small store."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Awaitable
from functools import cache
from typing import Any

import msgspec

from nodedevd import errors
from nodedevd.model.status import ScanTimes, build_status, now
from nodedevd.server.conversation import Peer
from nodedevd.server.encodings import Encodings
from nodedevd.server.varlink.conversation import VarlinkConversation, VarlinkConversations
from nodedevd.server.varlink.methods import DevicesInterface
from nodedevd.server.varlink.service import Service
from nodedevd.socket_paths import INTERFACE
from nodedevd.varlink import SERVICE, Call, CallDecoder, encode_call
from tests.fuzz.target import Cutter, Target
from tests.fuzz.targets.served import CARD, MDEV, Fresh, give_result, new_store, publish_change

LIMIT = 1024
_ERRORS = {f"{INTERFACE}.{kind.__name__}" for kind in errors.REPLIED if kind.interface is None}
_ERRORS |= {f"{kind.interface}.{kind.__name__}" for kind in errors.REPLIED if kind.interface}
_ERRORS |= {f"{INTERFACE}.{name}" for name in ("MalformedMessage", "MessageTooLarge")}
_ERRORS |= {
    f"{SERVICE}.{name}"
    for name in ("InterfaceNotFound", "MethodNotFound", "MethodNotImplemented", "InvalidParameter")
}
_METHODS = [
    "GetStatus",
    "List",
    "Describe",
    "DumpXML",
    "HostDev",
    "Snapshot",
    "Types",
    "Fits",
    "Resolve",
    "InUse",
    "Watch",
]
_PING = encode_call(f"{SERVICE}.GetInfo")


def _protocol() -> VarlinkConversations:
    times = ScanTimes(finished=now(), seconds=0.25)
    status = build_status(_STORE.snapshot, sysroot="/", started=now(), last_scan=times)
    served = DevicesInterface(Encodings(_STORE), lambda _: status, Fresh()).interface()
    service = Service("nodedevd", "nodedevd", "0", "https://nodedevd.org", [served], INTERFACE)
    return VarlinkConversations(service, lambda: _STORE.snapshot.generation, message_bytes=LIMIT)


_STORE = new_store()
_PROTOCOL = _protocol()
_TURNS = 6
"""of the loop, in which what only runs is done"""
_EVERYTHING = 64 * 1024
"""More than any reply about the whole host."""


def check(data: bytes) -> None:
    """Every call gets its replies, with declared errors only, and the next one is answered.

    The first byte decides: whether the rest is a stream of bytes or calls in short; in which
    pieces it arrives; and whether the host changes in between.
    """
    cutter = Cutter(data)
    mode = cutter.byte()
    stream = _calls(cutter) if mode & 1 else cutter.rest()
    size = (7, 64, 400, 1 << 20)[mode >> 1 & 3]
    conversation = _PROTOCOL.begin(Peer(pid=1, uid=mode & 8), lambda: None)
    try:
        _loop().run_until_complete(_converse(conversation, stream, size, changes=bool(mode & 16)))
    finally:
        conversation.close()
    assert _STORE.subscriptions == 0


def _calls(cutter: Cutter) -> bytes:
    """Return calls: of each a byte for method and flags, one for the length, and parameters."""
    calls = b""
    while cutter.left and len(calls) < 4 * LIMIT:
        head, length = cutter.byte(), cutter.byte()
        method = f"{INTERFACE}.{_METHODS[head % len(_METHODS)]}".encode()
        more = b',"more":true' if head & 64 else b""
        oneway = b',"oneway":true' if head & 128 else b""
        parameters = cutter.piece(length)
        calls += b'{"method":"%b"%b%b,"parameters":{%b}}\0' % (method, more, oneway, parameters)
    return calls


async def _converse(
    conversation: VarlinkConversation, stream: bytes, size: int, changes: bool
) -> None:
    expected = _Expected(stream)
    for piece in Cutter(stream).pieces(size):
        conversation.receive(piece)
        await _drain(conversation, expected)
        if conversation.answering:  # only a watch goes on; what follows it is not read
            if changes:
                publish_change(_STORE)
                await _drain(conversation, expected)
            expected.check_watch()
            return
        if conversation.ended:
            return
    conversation.receive(b"\0")
    await _drain(conversation, expected)
    if conversation.answering:
        expected.check_watch()
    elif not conversation.ended:
        expected.add(_PING)
        conversation.receive(_PING)
        await _drain(conversation, expected)
        assert not expected.open


async def _drain(conversation: VarlinkConversation, expected: _Expected) -> None:
    """Take all output; answers of others' awaitables come after some turns of the loop."""
    idle = 0
    while idle < _TURNS:
        output = conversation.next()
        if output is None:
            if not conversation.answering:
                return
            idle += 1
            await asyncio.sleep(0)
            continue
        idle = 0
        if isinstance(output, Awaitable):
            give_result(output, conversation)
        elif conversation.ended:
            assert output[:3] == b"\0\0\0"  # in the protocol of libvirt
        else:
            expected.take(output)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop


class _Expected:
    """The calls of a stream that have no last reply yet."""

    def __init__(self, stream: bytes) -> None:
        self.open: list[Call | None] = []
        self._begun = b""
        self.add(stream + b"\0")

    def add(self, stream: bytes) -> None:
        decoder = CallDecoder(LIMIT)
        decoder.feed(stream)
        while (message := decoder.next()) is not None:
            if not isinstance(message, Call):
                self.open.append(None)
            elif not message.oneway:
                self.open.append(message)

    def take(self, output: bytes) -> None:
        """Take replies, the last one possibly cut off: a long one comes in parts."""
        *replies, self._begun = (self._begun + output).split(b"\0")
        assert len(self._begun) <= _EVERYTHING
        for reply in replies:
            self._check(reply)

    def _check(self, output: bytes) -> None:
        """Check a reply, which is to the first of these calls."""
        reply: dict[str, Any] = msgspec.json.decode(output)
        assert reply.keys() <= {"parameters", "continues", "error"}
        call = self.open[0]
        if call is None:
            assert reply["error"] in _ERRORS
            assert len(output) <= 6 * LIMIT
        elif "error" in reply:
            assert reply["error"] in _ERRORS, output
            assert len(output) <= 12 * LIMIT
        else:
            assert isinstance(reply["parameters"], dict)
            assert len(output) <= _EVERYTHING
        if not reply.get("continues"):
            del self.open[0]
        else:
            assert call is not None
            assert call.more

    def check_watch(self) -> None:
        """Check that the first of these calls is a watch, which alone does not end."""
        assert not self._begun
        call = self.open[0]
        assert call is not None
        assert call.method == f"{INTERFACE}.Watch"
        assert call.more


TARGET = Target(
    "varlink",
    check,
    reads=(
        "nodedevd/server/varlink/conversation.py",
        "nodedevd/server/varlink/service.py",
        "nodedevd/server/varlink/methods.py",
        "nodedevd/server/varlink/watch.py",
        "nodedevd/server/varlink/misdirected.py",
        "nodedevd/questions/resolve.py",
        "nodedevd/questions/fits.py",
        "nodedevd/questions/hostdev/request.py",
        "nodedevd/model/snapshot.py",
    ),
    words=(
        *(f'{{"method":"{INTERFACE}.{name}","parameters":{{'.encode() for name in _METHODS),
        b'"name":"',
        b'"names":["',
        b'"capabilities":["',
        b'"text":"',
        b'"format":"libvirt"',
        b'"type":"nvidia-',
        b'"count":',
        b'"since":1',
        b'"instance":"',
        b'"content":"json"',
        b'"content":"xml"',
        b'"snapshot":false',
        b'"not_created":true',
        b'"address":"pci:0000:05:00.0"',
        b'"managed":false',
        b'"boot_order":1',
        CARD.encode(),
        MDEV.encode(),
        b"0000:02:00.0",
        b"computer",
        b"mdev",
        b"/dev/",
        b"/sys/class/",
        b"\\u0000",
        b"\\udc80",
        b"\\u2028",
    ),
    most_bytes=1500,
    steps=(30_000, 400),
    share=0.3,
)
