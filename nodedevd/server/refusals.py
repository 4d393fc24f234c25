"""Refusals: tells clients without a place why they have none, in their protocol.

Some protocols can only reply to a call: such a client is waited for until it has sent one.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Final

from nodedevd.errors import TooManyClients
from nodedevd.server.conversation import ConversationFactory

WAITING_MAX: Final = 32
"""Refused clients that are waited for at once; others are disconnected without a reply."""
_WAIT_SECONDS: Final = 1.0
_FIRST_CALL_BYTES: Final = 4096


class Refusals:
    """Sends refused clients the reason, and closes their sockets."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[socket.socket, asyncio.TimerHandle] = {}

    def refuse(
        self, sock: socket.socket, factory: ConversationFactory, error: TooManyClients
    ) -> None:
        """Refuse the client of a non-blocking socket, which this object closes."""
        received = bytearray()
        if self._send(sock, factory, error, received):
            return
        if len(self._waiting) >= WAITING_MAX:
            sock.close()
            return
        self._waiting[sock] = self._loop.call_later(_WAIT_SECONDS, self._close, sock)
        self._loop.add_reader(sock, self._send, sock, factory, error, received)

    def close(self) -> None:
        """Wait for no client any longer."""
        for sock in tuple(self._waiting):
            self._close(sock)

    def _send(
        self,
        sock: socket.socket,
        factory: ConversationFactory,
        error: TooManyClients,
        received: bytearray,
    ) -> bool:
        """Send the refusal if enough was received, and close; return whether that is done."""
        try:
            data = sock.recv(_FIRST_CALL_BYTES)
            received += data
            ended = not data
        except (BlockingIOError, InterruptedError):
            ended = False
        except OSError:
            ended = True
        refusal = factory.refusal(error, bytes(received))
        if refusal is None and not ended and len(received) < _FIRST_CALL_BYTES:
            return False
        with suppress(OSError):
            sock.send(refusal or b"")
        self._close(sock)
        return True

    def _close(self, sock: socket.socket) -> None:
        timer = self._waiting.pop(sock, None)
        if timer is not None:
            timer.cancel()
            self._loop.remove_reader(sock)
        sock.close()
