"""A Varlink client for tests: speaks in sentences, and can misbehave."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from nodedevd.varlink import Malformed, Reply, ReplyDecoder, VarlinkError, encode_call

REPLY_LIMIT_BYTES = 64 << 20


class Peer:
    """One connection; use `connected`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = ReplyDecoder(REPLY_LIMIT_BYTES)

    async def call(self, method: str, /, **parameters: Any) -> dict[str, Any]:
        """Call and return the parameters of the one reply; an error reply raises."""
        await self.send(method, **parameters)
        return await self.receive()

    async def call_more(self, method: str, /, **parameters: Any) -> list[dict[str, Any]]:
        """Call with `more` and return the parameters of all replies."""
        await self.send_raw(encode_call(method, parameters, more=True))
        replies = []
        while True:
            reply = await self.receive_reply()
            replies.append(parameters_of(reply))
            if not reply.continues:
                return replies

    async def call_oneway(self, method: str, /, **parameters: Any) -> None:
        """Call and want no reply."""
        await self.send_raw(encode_call(method, parameters, oneway=True))

    async def send(self, method: str, /, **parameters: Any) -> None:
        """Call and leave the reply for `receive`."""
        await self.send_raw(encode_call(method, parameters))

    async def send_raw(self, data: bytes) -> None:
        """Send bytes."""
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> dict[str, Any]:
        """Return the parameters of the next reply; an error reply raises."""
        return parameters_of(await self.receive_reply())

    async def receive_error(self) -> tuple[str, dict[str, Any]]:
        """Return name and parameters of the error that is the next reply."""
        reply = await self.receive_reply()
        assert reply.error is not None, f"expected an error, got {bytes(reply.parameters)!r}"
        return reply.error, msgspec.json.decode(reply.parameters)

    async def receive_reply(self) -> Reply:
        """Return the next reply; EOFError if there will be none."""
        while (reply := self._decoder.next()) is None:
            data = await self._reader.read(1 << 16)
            if not data:
                raise EOFError("the server closed the connection")
            self._decoder.feed(data)
        assert not isinstance(reply, Malformed), reply
        return reply

    async def receive_end(self) -> None:
        """Wait for the server to close; anything but silence before that fails."""
        try:
            reply = await self.receive_reply()
        except (EOFError, ConnectionResetError):
            return
        raise AssertionError(f"expected the end, got {reply}")

    def end_sending(self) -> None:
        """Close the sending half."""
        self._writer.write_eof()

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        with suppress(BrokenPipeError, ConnectionResetError):  # the server was first
            await self._writer.wait_closed()


def parameters_of(reply: Reply) -> dict[str, Any]:
    """Return the decoded parameters of a reply, or raise the error it is."""
    parameters: dict[str, Any] = msgspec.json.decode(reply.parameters)
    if reply.error is not None:
        raise VarlinkError(reply.error, parameters)
    return parameters


@asynccontextmanager
async def connected(to: Path | socket.socket) -> AsyncIterator[Peer]:
    """Connect to the socket at a path, or take a connected one, and close in the end."""
    if isinstance(to, socket.socket):
        streams = await asyncio.open_unix_connection(sock=to)
    else:
        streams = await asyncio.open_unix_connection(to)
    peer = Peer(*streams)
    try:
        yield peer
    finally:
        await peer.close()
