"""LibvirtConversation without I/O: calls under way, keepalive, and when it ends."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from nodedevd.model.changes import Changed, Update
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.store import Store
from nodedevd.server.conversation import Peer
from nodedevd.server.encodings import Encodings
from nodedevd.server.libvirt import protocol as remote
from nodedevd.server.libvirt import xdr
from nodedevd.server.libvirt.conversation import (
    LibvirtConversation,
    LibvirtConversations,
    LibvirtLimits,
)
from nodedevd.server.libvirt.devices import EVENT_UPDATE, NodeDevices
from nodedevd.server.libvirt.protocol import Header, PacketDecoder, Procedure
from nodedevd.server.libvirt.session import KEEPALIVE_FEATURE
from tests.support.freshness import FakeFreshness, GatedFreshness
from tests.support.hosts import snapshot_of

CARD = "pci_0000_02_00_0"
XML_OF_CARD = remote.NameAndFlags(CARD, 0)
PING = remote.encode_keepalive(remote.PING)
LIMITS = LibvirtLimits(keepalive_seconds=5.0, keepalive_count=2, calls_under_way=3)


def call(procedure: Procedure[Any, Any], arguments: Any, serial: int = 0) -> bytes:
    """Return the packet of a call."""
    header = Header(remote.REMOTE, remote.VERSION, procedure.number, 0, serial, 0)
    return remote.encode_packet(header, xdr.encode(procedure.arguments, arguments))


OPEN = call(remote.OPEN, remote.Open(None, 0))


class Bench:
    """A conversation over a sample host, which is open already.

    Attributes:
        wakes: how often the conversation asked for a turn.
    """

    def __init__(self, freshness: FakeFreshness | None = None, history: int = 16) -> None:
        snapshot = Snapshot(snapshot_of("vgpu-pf"), generation=1)
        self.store = Store(snapshot, history=history)
        self.wakes = 0
        self.protocol = LibvirtConversations(
            NodeDevices(Encodings(self.store)), freshness or FakeFreshness(), LIMITS
        )
        self.conversation: LibvirtConversation = self.protocol.begin(Peer(1, 2), self.wake)
        assert self.output(OPEN) == [0]

    def wake(self) -> None:
        """Count."""
        self.wakes += 1

    def output(self, data: bytes = b"") -> list[int]:
        """Return the serials of all output there is now, 0 for events."""
        self.conversation.receive(data)
        decoder = PacketDecoder()
        while (one := self.conversation.next()) is not None:
            assert isinstance(one, bytes)
            decoder.feed(one)
        serials = []
        while (packet := decoder.next()) is not None:
            serials.append(packet.header.serial)
        return serials

    def change(self, driver: str) -> None:
        """Publish that a device has another driver."""
        self.publish(CARD, driver)

    def change_other(self) -> None:
        """Publish that another device has another driver."""
        self.publish(next(one.name for one in self.store.snapshot if one.name != CARD), "other")

    def publish(self, name: str, driver: str) -> None:
        """Publish that a device has a driver."""
        before = self.store.snapshot.lookup(name)
        after = replace(before, driver=driver)
        devices = [after if one is before else one for one in self.store.snapshot]
        snapshot = Snapshot(devices, generation=self.store.snapshot.generation + 1)
        self.store.publish(Update(snapshot, (Changed(before, after),)))


def test_calls_are_answered_and_counted() -> None:
    """Several in one piece; a ping is answered and is not a call."""
    bench = Bench()
    serials = bench.output(
        call(remote.GET_TYPE, None, 1) + PING + call(remote.LOOKUP_BY_NAME, CARD, 2)
    )
    assert serials == [1, 0, 2]
    assert bench.protocol.calls == 3
    assert bench.conversation.tick_seconds == 0


async def test_calls_under_way_are_bounded_and_answered_as_they_are_ready() -> None:
    """Others overtake them until the limit is reached; then nothing is received."""
    freshness = GatedFreshness()
    freshness.gate.set()
    bench = Bench(freshness)
    waiting: list[Awaitable[bytes]] = []
    for serial in (1, 2, 3):
        bench.conversation.receive(call(remote.GET_XML_DESC, XML_OF_CARD, serial))
        answer = bench.conversation.next()
        assert isinstance(answer, Awaitable)
        waiting.append(answer)
        assert bench.conversation.full == (serial == 3)
    assert bench.output(call(remote.GET_TYPE, None, 4)) == []
    bench.conversation.answered(await waiting[1])
    assert bench.conversation.full
    assert bench.output() == [2, 4]
    for one in (waiting[2], waiting[0]):
        bench.conversation.answered(await one)
    assert bench.output() == [3, 1]
    assert not bench.conversation.answering


def test_silent_client_is_pinged_and_then_dropped() -> None:
    """Only one that takes part in keepalive; whatever it sends counts as an answer."""
    bench = Bench()
    bench.output(call(remote.SUPPORTS_FEATURE, KEEPALIVE_FEATURE, 1))
    conversation = bench.conversation
    assert conversation.tick_seconds == 5.0

    def tick() -> object:
        conversation.tick()
        return conversation.next()

    assert tick() == PING
    bench.output(remote.encode_keepalive(remote.PONG))
    assert tick() is None
    assert [tick(), tick()] == [PING, PING]
    assert conversation.failure is None
    assert tick() is None
    assert conversation.failure == "it does not answer pings"


def test_client_behind_the_history_is_dropped() -> None:
    """It is found when the change is published, without its reading anything."""
    bench = Bench(history=4)
    register = remote.Registration(EVENT_UPDATE, None)
    assert bench.output(call(remote.REGISTER_EVENT, register, 1)) == [1]
    for number in range(4):
        bench.change(str(number))
        assert bench.conversation.failure is None
    assert bench.wakes == 4
    bench.change("one more")
    assert bench.conversation.failure == "it does not read its events"
    assert bench.wakes == 5
    bench.conversation.close()
    assert bench.store.subscriptions == 0


def test_client_behind_by_changes_of_others_is_dropped() -> None:
    """No event wakes it meanwhile, so it is found when it reads again."""
    bench = Bench(history=4)
    register = remote.Registration(EVENT_UPDATE, CARD)
    assert bench.output(call(remote.REGISTER_EVENT, register, 1)) == [1]
    bench.change("one")
    for _ in range(5):
        bench.change_other()
    assert bench.wakes == 1
    assert bench.conversation.next() is None
    assert bench.conversation.failure == "it does not read its events"


def test_events_are_produced_when_they_are_read() -> None:
    """One that keeps up is never behind."""
    bench = Bench(history=4)
    bench.output(call(remote.REGISTER_EVENT, remote.Registration(EVENT_UPDATE, None), 1))
    for number in range(20):
        bench.change(str(number))
        assert bench.output() == [0]
    assert bench.conversation.failure is None


@pytest.mark.parametrize("last", [call(remote.CLOSE, None, 7), b"\0\0\0\1"])
def test_nothing_after_the_end_is_a_call(last: bytes) -> None:
    """After CLOSE, or a length that no packet has, the connection may be closed."""
    bench = Bench()
    serials = bench.output(call(remote.GET_TYPE, None, 6) + last + call(remote.GET_TYPE, None, 8))
    assert serials == ([6, 7] if len(last) > 4 else [6])
    assert (bench.conversation.ended, bench.conversation.answering) == (True, False)
    assert bench.output(call(remote.GET_TYPE, None, 9)) == []


@pytest.mark.exhaustive
def test_event_costs_the_same_whatever_others_are_registered_for() -> None:
    """A change wakes those that it concerns alone, and its packet is encoded once for all."""
    bench = Bench()
    wakes: list[int] = []
    others = []
    registrations = b"".join(
        call(remote.REGISTER_EVENT, remote.Registration(EVENT_UPDATE, f"device_{device}"), 1)
        for device in range(1024)
    )
    for number in range(50):
        other = bench.protocol.begin(Peer(1, 2), partial(wakes.append, number))
        other.receive(OPEN + registrations)
        while other.next() is not None:
            pass
        others.append(other)
    bench.output(call(remote.REGISTER_EVENT, remote.Registration(EVENT_UPDATE, None), 1))
    bench.change("another")
    assert (bench.wakes, wakes) == (1, [])
    assert bench.output() == [0]
    assert bench.store.subscriptions == 51
    encoded = []
    for other in others:
        register = remote.Registration(EVENT_UPDATE, CARD)
        other.receive(
            call(remote.DEREGISTER_EVENT, 0, 1) + call(remote.REGISTER_EVENT, register, 1)
        )
        while other.next() is not None:
            pass
    bench.change("a third")
    assert sorted(wakes) == list(range(50))
    for other in others:
        packet = other.next()
        assert isinstance(packet, bytes)
        encoded.append(packet)
        other.close()
    assert len(bench.protocol.devices._packets) == 1
    assert len(set(encoded)) == 1
    assert not bench.store.subscriptions - 1
