"""A client of libvirt's remote protocol for tests: calls procedures, and can misbehave."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from nodedevd.server.libvirt import protocol as remote
from nodedevd.server.libvirt import xdr
from nodedevd.server.libvirt.protocol import Header, MessageType, Packet, PacketDecoder, Procedure
from nodedevd.server.libvirt.xdr import INT, Option, String, Structure

A = TypeVar("A")
R = TypeVar("R")

_TEXT = Option(String(1 << 22))
_EVENTS: dict[int, Procedure[Any, None]] = {
    one.number: one for one in (remote.EVENT_LIFECYCLE, remote.EVENT_UPDATE)
}


class Failure(NamedTuple):
    """remote_error, as a client of libvirt reads it."""

    code: int
    domain: int
    message: str | None
    level: int
    dom: int | None
    str1: str | None
    str2: str | None
    str3: str | None
    int1: int
    int2: int
    net: int | None

    @property
    def known_by(self) -> tuple[int, int]:
        """The code and the domain."""
        return self.code, self.domain


_FAILURE = Structure(
    Failure, INT, INT, _TEXT, INT, Option(INT), _TEXT, _TEXT, _TEXT, INT, INT, Option(INT)
)


class CallFailed(Exception):
    """The reply was an error."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(*failure[:3])
        self.failure = failure


class LibvirtPeer:
    """One connection; use `dialled` or `opened`.

    Attributes:
        messages: events and pings that came while something else was waited for.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = PacketDecoder(remote.PACKET_MAX_BYTES)
        self._serial = 0
        self.messages: deque[Packet] = deque()

    async def call(self, procedure: Procedure[A, R], arguments: A) -> R:
        """Call, and return the result. Raises CallFailed."""
        serial = await self.send(procedure.number, xdr.encode(procedure.arguments, arguments))
        return result(procedure, await self.reply(serial))

    async def send(self, number: int, payload: bytes = b"", **words: int) -> int:
        """Send a call, or with `words` something like one, and return its serial."""
        serial, self._serial = self._serial, self._serial + 1
        header = Header(remote.REMOTE, 1, number, MessageType.CALL, serial, 0)._replace(**words)
        await self.send_raw(remote.encode_packet(header, payload))
        return header.serial

    async def send_raw(self, data: bytes) -> None:
        """Send bytes."""
        self._writer.write(data)
        await self._writer.drain()

    async def reply(self, serial: int) -> Packet:
        """Return the next reply, which is to this call; what is none is kept."""
        while (packet := await self.receive()).header.type != MessageType.REPLY:
            self.messages.append(packet)
        assert packet.header.serial == serial
        return packet

    async def refusal(self, serial: int) -> tuple[int, int]:
        """Return code and domain of the error that the next reply is."""
        return failure(await self.reply(serial)).known_by

    async def event(self) -> Any:
        """Return the arguments of the next event."""
        packet = self.messages.popleft() if self.messages else await self.receive()
        assert packet.header[:1] + packet.header[3:] == (remote.REMOTE, MessageType.MESSAGE, 0, 0)
        assert packet.payload is not None
        return xdr.decode(_EVENTS[packet.header.procedure].arguments, packet.payload)

    async def receive(self) -> Packet:
        """Return the next packet; EOFError if there will be none."""
        while (packet := self._decoder.next()) is None:
            data = await self._reader.read(1 << 16)
            if not data:
                raise EOFError("the server closed the connection")
            self._decoder.feed(data)
        return packet

    async def receive_end(self) -> None:
        """Wait for the server to close; anything but silence before that fails."""
        try:
            packet = await self.receive()
        except (EOFError, ConnectionResetError):
            return
        raise AssertionError(f"expected the end, got {packet}")

    def end_sending(self) -> None:
        """Close the sending half."""
        self._writer.write_eof()

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        with suppress(BrokenPipeError, ConnectionResetError):  # the server was first
            await self._writer.wait_closed()


def result(procedure: Procedure[Any, R], reply: Packet) -> R:
    """Return what a reply says. Raises CallFailed."""
    if reply.header.status:
        raise CallFailed(failure(reply))
    assert reply.payload is not None
    assert reply.header.procedure == procedure.number
    return xdr.decode(procedure.result, reply.payload)


def failure(reply: Packet) -> Failure:
    """Return the error that a reply is."""
    assert reply.header.status == 1, reply
    assert reply.payload is not None
    return xdr.decode(_FAILURE, reply.payload)


@asynccontextmanager
async def dialled(path: Path) -> AsyncIterator[LibvirtPeer]:
    """Connect to a socket without calling anything, and close in the end."""
    peer = LibvirtPeer(*await asyncio.open_unix_connection(path))
    try:
        yield peer
    finally:
        await peer.close()


@asynccontextmanager
async def opened(path: Path, uri: str = "nodedev:///system") -> AsyncIterator[LibvirtPeer]:
    """Connect and open."""
    async with dialled(path) as peer:
        await peer.call(remote.OPEN, remote.Open(uri, 0))
        yield peer
