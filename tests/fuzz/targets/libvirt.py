"""A client's conversation in libvirt's remote protocol, over a small store."""

from __future__ import annotations

import socket
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Self

import msgspec

from nodedevd.actions.answers import Outcome
from nodedevd.actions.requests import REQUESTS, Request
from nodedevd.errors import InvalidParameter, NoRoom
from nodedevd.server.conversation import ConnectedPeer, Peer
from nodedevd.server.encodings import Encodings
from nodedevd.server.libvirt import protocol as remote
from nodedevd.server.libvirt import xdr
from nodedevd.server.libvirt.conversation import (
    LibvirtConversation,
    LibvirtConversations,
    LibvirtLimits,
)
from nodedevd.server.libvirt.devices import NodeDevices
from nodedevd.server.libvirt.protocol import (
    BadLength,
    ErrorCode,
    ErrorDomain,
    Header,
    MessageType,
    Packet,
    PacketDecoder,
    Procedure,
)
from nodedevd.server.libvirt.waiting import Places
from nodedevd.server.libvirt.writes import Writes
from tests.fuzz.target import Cutter, Target
from tests.fuzz.targets.libvirt_codec import PROCEDURES
from tests.fuzz.targets.served import CARD, MDEV, Fresh, give_result, new_store, publish_change
from tests.support.libvirt_peer import failure

LIMIT = 1024
_NUMBERS = [one.number for one in PROCEDURES] + [1, 1, 374, 374, *remote.REFUSED, *remote.WRITES]
_BY_NUMBER: dict[int, Procedure[Any, Any]] = {one.number: one for one in PROCEDURES}
_CODES = set(ErrorCode)
_DOMAINS = set(ErrorDomain)
_EVERYTHING = 64 * 1024
"""More than any reply about the whole host."""
_STORE = new_store()
_LIMITS = LibvirtLimits(packet_bytes=LIMIT)


class _Full:
    """A control service that lets everybody ask, and has no room for anything."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def authorise(self, method: str) -> None:
        """Return."""
        assert method in REQUESTS

    async def act(self, request: Request) -> Outcome:
        """Refuse a request, which is one that could be sent."""
        encoded = msgspec.json.encode(request)
        with suppress(ValueError, InvalidParameter):
            assert msgspec.json.decode(encoded, type=type(request)) == request
        raise NoRoom("x", "no card has room")


_DEVICES = NodeDevices(Encodings(_STORE))
_WRITES = Writes(_DEVICES, lambda client: _Full(), Places())
_PROTOCOL = LibvirtConversations(_DEVICES, Fresh(), _LIMITS, writes=_WRITES)
_WRITER = ConnectedPeer(1, 1, socket.socket(socket.AF_UNIX))
_OPEN = xdr.encode(remote.OPEN.arguments, remote.Open("nodedev:///system", 0))
_LAST = 0x7FFFFFFF
"""the serial of the last call"""


def check(data: bytes) -> None:
    """Every call gets one reply, with declared errors only, and the next one is answered.

    The first byte decides: whether the rest is a stream of bytes or calls in short; in which
    pieces it arrives; whether the client has opened; whether the host changes in between; and
    whether the client may have it changed.
    """
    cutter = Cutter(data)
    mode = cutter.byte()
    stream = _calls(cutter) if mode & 1 else cutter.rest()
    if mode & 8:
        stream = remote.encode_packet(_call(remote.OPEN.number, 0), _OPEN) + stream
    size = (7, 64, 400, 1 << 20)[mode >> 1 & 3]
    peer = _WRITER if mode & 32 else Peer(pid=1, uid=1)
    conversation = _PROTOCOL.begin(peer, lambda: None)
    try:
        _converse(conversation, stream, size, changes=bool(mode & 16))
    finally:
        conversation.close()
    assert _STORE.subscriptions == 0


def _calls(cutter: Cutter) -> bytes:
    """Return calls: of each a byte for the procedure, one for the length, and arguments."""
    calls = b""
    serial = 1
    while cutter.left and len(calls) < 8 * LIMIT:
        number = _NUMBERS[cutter.byte() % len(_NUMBERS)]
        payload = cutter.piece(cutter.byte())
        calls += remote.encode_packet(_call(number, serial), payload)
        serial += 1
    return calls


def _call(number: int, serial: int) -> Header:
    return Header(remote.REMOTE, remote.VERSION, number, MessageType.CALL, serial, 0)


def _converse(conversation: LibvirtConversation, stream: bytes, size: int, changes: bool) -> None:
    decoder = PacketDecoder(1 << 24)
    replies: list[Packet] = []
    for piece in Cutter(stream).pieces(size):
        conversation.receive(piece)
        _drain(conversation, decoder, replies)
        if changes:
            publish_change(_STORE)
            _drain(conversation, decoder, replies)
    calls, whole = _packets(stream)
    if whole and not conversation.ended:
        last = _call(remote.GET_TYPE.number, _LAST)
        conversation.receive(remote.encode_packet(last))
        _drain(conversation, decoder, replies)
        calls.append(Packet(last, b""))
    elif conversation.ended:
        calls = calls[: len(replies)]  # what follows CLOSE is not read
    assert len(replies) == len(calls)
    for call, reply in zip(calls, replies, strict=True):
        _check_reply(call.header, reply)


def _packets(stream: bytes) -> tuple[list[Packet], bool]:
    """Return the packets of a stream that are answered, and whether it ends with a whole one."""
    decoder = PacketDecoder(LIMIT)
    decoder.feed(stream)
    found = []
    try:
        while (packet := decoder.next()) is not None:
            is_ping = packet.header[:3] == (remote.KEEPALIVE, remote.VERSION, remote.PING)
            if packet.header[:2] != (remote.KEEPALIVE, remote.VERSION) or is_ping:
                found.append(packet)
    except BadLength:
        return found, False
    return found, not decoder.buffered and not decoder._dropping


def _drain(
    conversation: LibvirtConversation, decoder: PacketDecoder, replies: list[Packet]
) -> None:
    while (output := conversation.next()) is not None:
        if isinstance(output, Awaitable):
            give_result(output, conversation)
            continue
        assert len(output) <= _EVERYTHING
        decoder.feed(output)
        while (packet := decoder.next()) is not None:
            header = packet.header
            if header.type == MessageType.MESSAGE and header.program == remote.REMOTE:
                _check_event(packet)
            else:
                replies.append(packet)
    assert not decoder.buffered


def _check_event(packet: Packet) -> None:
    procedure = _BY_NUMBER[packet.header.procedure]
    assert procedure in (remote.EVENT_LIFECYCLE, remote.EVENT_UPDATE)
    assert packet.payload is not None
    assert xdr.decode(procedure.arguments, packet.payload).device


def _check_reply(call: Header, reply: Packet) -> None:
    if call.program == remote.KEEPALIVE and call.version == remote.VERSION:
        assert reply.header[:3] == (remote.KEEPALIVE, remote.VERSION, remote.PONG)
        return
    assert reply.header[:3] == call[:3]
    assert (reply.header.type, reply.header.serial) == (MessageType.REPLY, call.serial)
    assert reply.payload is not None
    if reply.header.status:
        error = failure(reply)
        assert error.code in _CODES
        assert error.domain in _DOMAINS
        assert error.message != "internal error: see the log"
        assert len(error.message or "") <= 4 * LIMIT
        return
    result = _BY_NUMBER[call.procedure].result
    assert xdr.encode(result, xdr.decode(result, reply.payload)) == reply.payload


def _text(text: str) -> bytes:
    return xdr.encode(xdr.String(1000), text)


TARGET = Target(
    "libvirt",
    check,
    reads=(
        "nodedevd/server/libvirt/conversation.py",
        "nodedevd/server/libvirt/session.py",
        "nodedevd/server/libvirt/devices.py",
        "nodedevd/server/libvirt/protocol.py",
        "nodedevd/server/libvirt/xdr.py",
        "nodedevd/server/libvirt/writes.py",
        "nodedevd/server/libvirt/write_errors.py",
    ),
    words=(
        *(remote.encode_packet(_call(number, 1)) for number in (66, 1, 2, 113, 114, 285, 374)),
        *(remote.encode_packet(_call(number, 1)) for number in remote.WRITES),
        _text(f"<device><name/><parent>{CARD}</parent><capability type='mdev'><type id='x'/>"),
        remote.encode_keepalive(remote.PING),
        _OPEN,
        _text(CARD),
        _text(MDEV),
        _text("computer"),
        _text("mdev"),
        _text("5001438022a7b0ff"),
        b"\0\0\0\0",
        b"\0\0\0\x01",
        b"\xff\xff\xff\xff",
        b"\x7f\xff\xff\xff",
        b"\0\0\0\x0a",
        b"\x70\0\0\0",
    ),
    most_bytes=1500,
    steps=(30_000, 400),
    share=0.3,
)
