"""Serves node devices to libvirt's own clients on a Unix stream socket.

As the remote protocol allows, calls are answered in the order in which their answers are
there; a client may have a few of them under way. Events come between the replies.
"""

from __future__ import annotations

import asyncio
from typing import Final

from nodedevd.model.freshness import Freshness
from nodedevd.server import acceptor
from nodedevd.server.connection import Session
from nodedevd.server.libvirt import protocol as remote
from nodedevd.server.libvirt.conversation import Behind, LibvirtSession
from nodedevd.server.libvirt.devices import NodeDevices
from nodedevd.server.libvirt.protocol import BadLength, PacketDecoder
from nodedevd.server.varlink.service import Peer

_CALL: Final = remote.MessageType.CALL
_BEHIND: Final = "it does not read its events"


class Limits(acceptor.Limits, frozen=True):
    """What clients may take of the daemon.

    A session holds, of input, at most one packet and what is received at once (64 KiB); of
    output, at most `high_water_bytes`, TURN_BYTES, and one reply for each call under way. Of
    events it holds a position in the store's history: a client that is further behind than
    that reaches is dropped.
    """

    packet_bytes: int = remote.PACKET_LIMIT_BYTES
    calls_under_way: int = 5
    """Of one client; more are not read. As in libvirt's own daemons (max_client_requests)."""
    keepalive_seconds: float = 5.0
    """After so long a silence a client that takes part in keepalive is sent a ping; 0: never.
    As in libvirt's own daemons, with the next one (keepalive_interval, keepalive_count)."""
    keepalive_count: int = 5
    """A client that leaves so many pings unanswered is dropped."""


class LibvirtServer(acceptor.Acceptor):
    """Accepts clients on a listening socket, each into a session."""

    def __init__(
        self,
        devices: NodeDevices,
        freshness: Freshness,
        *,
        limits: Limits | None = None,
    ) -> None:
        self.devices = devices
        self.freshness = freshness
        self.limits = limits or Limits()
        super().__init__(self.limits)

    def drop(self, session: Session, reason: str) -> None:
        """Close a connection at once that cannot go on."""
        self.note(reason)
        session.abort()

    def note(self, reason: str) -> None:
        """Log why a connection is closed."""
        self._log.info("a client is dropped: %s", reason)

    def _session(self, peer: Peer, loop: asyncio.AbstractEventLoop) -> Session:
        return Connection(self, loop)

    def _refusal(self, limit: int) -> bytes:
        return b""  # The protocol has no words before the first call.


class Connection(Session):
    """One client."""

    def __init__(self, server: LibvirtServer, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, loop)
        self._server = server
        self._decoder = PacketDecoder(server.limits.packet_bytes)
        self._client = LibvirtSession(server.devices, self._wake, server.freshness)
        self._under_way: set[asyncio.Future[bytes]] = set()
        self._answers: list[bytes] = []
        self._keepalive: asyncio.TimerHandle | None = None
        self._heard = False
        self._unanswered = 0

    @property
    def _answering(self) -> bool:
        return bool(self._under_way or self._answers)

    @property
    def _full(self) -> bool:
        return len(self._under_way) + len(self._answers) >= self._server.limits.calls_under_way

    def _feed(self, data: bytes) -> None:
        self._heard = True
        if not self._client.ended:
            self._decoder.feed(data)

    def _next_reply(self) -> bytes | None:
        if self._answers:
            return self._answers.pop()
        try:
            event = self._client.next_event()
            if event is not None:
                return event
            if self._full or self._client.ended:
                return None
            packet = self._decoder.next()
        except Behind:
            self._server.drop(self, _BEHIND)
            return None
        except BadLength as error:
            self._server.note(str(error))
            self._client.ended = self._eof = True
            return None
        if packet is None:
            return None
        self._server.calls += packet.header.type == _CALL
        answer = self._client.answer(packet)
        if self._client.pings and self._keepalive is None:
            self._listen_for()
        if self._client.ended:
            self._eof = True  # What is under way is answered, then the connection is closed.
        if isinstance(answer, bytes):
            return answer
        task = self._server.run(answer)
        self._under_way.add(task)
        task.add_done_callback(self._on_answered)
        return b""

    def _wake(self) -> None:
        # Without a turn, since it does not read, it would never be found to be behind.
        if not self._writable and self._client.behind:
            self._server.drop(self, _BEHIND)
        super()._wake()

    def _on_answered(self, task: asyncio.Future[bytes]) -> None:
        if task not in self._under_way:
            return
        self._under_way.discard(task)
        if not task.cancelled():
            self._answers.append(task.result())
        self._wake()

    def _end_answers(self) -> None:
        self._client.close()
        if self._keepalive is not None:
            self._keepalive.cancel()
        under_way, self._under_way = self._under_way, set()
        for task in under_way:
            task.cancel()
        self._answers.clear()

    def _listen_for(self) -> None:
        seconds = self._server.limits.keepalive_seconds
        if seconds > 0:
            self._heard = False
            self._keepalive = self._loop.call_later(seconds, self._on_silence)

    def _on_silence(self) -> None:
        self._unanswered = 0 if self._heard else self._unanswered + 1
        if self._unanswered > self._server.limits.keepalive_count:
            self._keepalive = None
            self._server.drop(self, "it does not answer pings")
            return
        if self._unanswered and self._transport is not None:
            self._transport.write(remote.encode_keepalive(remote.PING))
        self._listen_for()
