"""LibvirtConversation: one client's packets, its calls under way, events, and keepalive.

As the remote protocol allows, calls are answered in the order in which their answers are
ready. Events come between the replies.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from typing import Final

import msgspec

from nodedevd.errors import BudgetExceeded, TooManyClients
from nodedevd.model.freshness import Freshness
from nodedevd.server.account import Holding
from nodedevd.server.conversation import ConnectedPeer, Conversation, ConversationFactory, Peer
from nodedevd.server.libvirt import protocol as remote
from nodedevd.server.libvirt.devices import NodeDevices
from nodedevd.server.libvirt.protocol import (
    BadLength,
    ErrorCode,
    ErrorDomain,
    MessageType,
    Packet,
    PacketDecoder,
    RpcError,
)
from nodedevd.server.libvirt.session import LibvirtSession, Writer, budget_error
from nodedevd.server.reply_cache import ReplyCache
from nodedevd.steps import Steps

_log: Final = logging.getLogger(__name__)

_BEHIND: Final = "it does not read its events"

UNCOUNTED_BYTES: Final = 4096
"""A half packet up to this size is not counted."""
UNCOUNTED_REPLY_BYTES: Final = 16 * 1024
"""Nor is a reply up to this size."""


def _nobody() -> None:
    """Wake nobody: the connection is closed."""


class LibvirtLimits(msgspec.Struct, frozen=True):
    """Limits on each client.

    A conversation holds at most one packet and what one read received, and one reply for each
    call under way. Its events cost a position in the store's history: a client that is further
    behind than the history reaches is dropped.
    """

    packet_bytes: int = remote.PACKET_LIMIT_BYTES
    calls_under_way: int = 5
    """As in libvirt's own daemons (max_client_requests); more are not read."""
    keepalive_seconds: float = 5.0
    """A client that takes part in keepalive is sent a ping after each such silence; 0 is never.
    As in libvirt's own daemons, with the next one (keepalive_interval, keepalive_count)."""
    keepalive_count: int = 5
    """A client that leaves so many pings unanswered is dropped."""


class LibvirtConversations(ConversationFactory):
    """libvirt's remote protocol over the devices of a host."""

    def __init__(
        self,
        devices: NodeDevices,
        freshness: Freshness,
        limits: LibvirtLimits | None = None,
        writes: Writer | None = None,
    ) -> None:
        """Prepare.

        Args:
            devices: The devices of the host.
            freshness: Reads again what changes without an event.
            limits: Those on each client.
            writes: Answers calls that change the host, of clients that are a ConnectedPeer; by
                default they are refused.
        """
        super().__init__()
        self.devices = devices
        self.freshness = freshness
        self.limits = limits or LibvirtLimits()
        self.writes = writes
        self.read_only = False
        # By number: a snapshot as token would stay in memory.
        self.replies = ReplyCache(lambda: devices.store.snapshot.generation)

    def for_readers(self) -> LibvirtConversations:
        """Return the same protocol for clients that may only read."""
        readers = LibvirtConversations(self.devices, self.freshness, self.limits, self.writes)
        readers.replies, readers.read_only = self.replies, True
        return readers

    def begin(
        self, peer: Peer, wake: Callable[[], None], holding: Holding | None = None
    ) -> LibvirtConversation:
        """Return the conversation with a new client."""
        return LibvirtConversation(self, peer, wake, holding or Holding())

    def refusal(self, error: TooManyClients, received: bytes) -> bytes | None:
        """Return the reply to the first call, None as long as its header is not complete."""
        decoder = PacketDecoder(limit=0)
        decoder.feed(received)
        try:
            packet = decoder.next()
        except BadLength:
            return b""
        if packet is None:
            return None
        reason = RpcError(ErrorCode.RPC, ErrorDomain.RPC, str(error))
        return remote.encode_error(packet.header, reason)


class LibvirtConversation(Conversation[bytes]):
    """The packets of one client."""

    def __init__(
        self,
        shared: LibvirtConversations,
        peer: Peer,
        wake: Callable[[], None],
        holding: Holding,
    ) -> None:
        self._shared = shared
        self._holding = holding
        self._limits = shared.limits
        self._peer = peer
        self._wake = wake
        self._decoder = PacketDecoder(shared.limits.packet_bytes)
        self._session = LibvirtSession(
            shared.devices,
            shared.freshness,
            shared.replies,
            self._on_change,
            holding,
            writes=shared.writes,
            client=None if shared.read_only or not isinstance(peer, ConnectedPeer) else peer,
        )
        self._steps: Steps[bytes | Awaitable[bytes]] | None = None
        self._packet: Packet | None = None  # the call that is answered in steps
        self._awaited = 0
        self._ready: deque[bytes] = deque()
        self._heard = False
        self._unanswered_pings = 0

    @property
    def answering(self) -> bool:
        """Whether a call is under way."""
        return bool(self._awaited or self._ready or self._steps is not None)

    @property
    def unfinished(self) -> bool:
        """Whether a call is answered in steps."""
        return self._steps is not None

    @property
    def full(self) -> bool:
        """Whether as many calls as allowed are under way."""
        under_way = self._awaited + len(self._ready)
        return under_way >= self._limits.calls_under_way or self._steps is not None

    def receive(self, data: bytes) -> None:
        """Take bytes of packets."""
        self._heard = True
        if not self.ended:
            self._decoder.feed(data)

    def next(self) -> bytes | Awaitable[bytes] | None:
        """Return the next reply or event."""
        self._holding.drop("reply")
        if self._ready:
            return self._ready.popleft()
        try:
            event = self._session.next_event()
        except KeyError:
            # The history has moved on by changes that are no events of this client.
            self.failure = _BEHIND
            return None
        if event is not None:
            return event
        if self._steps is not None:
            return self._step(self._steps)
        if self.ended or self.full:
            return None
        try:
            packet = self._decoder.next()
        except BadLength as error:
            pid, user = self._peer.pid, {"user": self._peer.uid}
            _log.info("closing the connection of process %d: it sent %s", pid, error, extra=user)
            self.ended = True
            return None
        if packet is None:
            return self._wait_for_rest()
        self._holding.drop("input")
        self._shared.calls += packet.header.type == MessageType.CALL
        answer = self._session.answer(packet)
        self.ended = self._session.ended
        if self._session.keepalive and not self.tick_seconds:
            self.tick_seconds = self._limits.keepalive_seconds
            self._heard = False
        if isinstance(answer, Generator):
            self._steps, self._packet = answer, packet
            return b""
        return self._begin(packet, answer)

    def _begin(self, packet: Packet, answer: bytes | Awaitable[bytes]) -> bytes | Awaitable[bytes]:
        if isinstance(answer, bytes):
            return answer if len(answer) <= UNCOUNTED_REPLY_BYTES else self._bounded(packet, answer)
        self._awaited += 1
        return answer

    def _step(self, steps: Steps[bytes | Awaitable[bytes]]) -> bytes | Awaitable[bytes]:
        try:
            next(steps)
        except StopIteration as end:
            packet, self._steps, self._packet = self._packet, None, None
            assert packet is not None
            return self._begin(packet, end.value)
        return b""

    def _bounded(self, packet: Packet, reply: bytes) -> bytes:
        """Return a reply, or the error that the client may not hold one of this size."""
        try:
            self._holding.set("reply", len(reply))
        except BudgetExceeded as error:
            return remote.encode_error(packet.header, budget_error(error))
        return reply

    def _wait_for_rest(self) -> bytes | None:
        """Hold the part of a packet that has arrived, or drop it and return the error."""
        buffered = self._decoder.buffered
        try:
            self._holding.set("input", buffered if buffered > UNCOUNTED_BYTES else 0)
        except BudgetExceeded as error:
            header = self._decoder.drop()
            assert header is not None  # it is much smaller
            return remote.encode_error(header, budget_error(error))
        return None

    def answered(self, answer: bytes) -> None:
        """Make the reply ready."""
        self._awaited -= 1
        self._ready.append(answer)

    def failed(self, error: BaseException) -> None:
        """Do without the reply: only a call that is cancelled fails, when the daemon stops."""
        self._awaited -= 1

    def close(self) -> None:
        """Unsubscribe from events."""
        self._session.close()
        self._steps = None
        self._wake = _nobody  # It refers to the connection, which refers to this object.

    def tick(self) -> None:
        """Count the silence; after a silent interval there is a ping to send."""
        self._unanswered_pings = 0 if self._heard else self._unanswered_pings + 1
        self._heard = False
        if self._unanswered_pings > self._limits.keepalive_count:
            self.failure = "it does not answer pings"
        elif self._unanswered_pings:
            self._ready.append(remote.encode_keepalive(remote.PING))

    def _on_change(self) -> None:
        if self._session.behind:
            self.failure = _BEHIND
        self._wake()
