"""What clients hold in memory: counted for their user, refused beyond the budget, given back."""

from __future__ import annotations

import gc
import sys
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from nodedevd.model.store import Store
from nodedevd.server.account import AccountLimits, Accounts, Holding
from nodedevd.server.conversation import Peer
from nodedevd.server.encodings import Encodings
from nodedevd.server.libvirt import protocol as remote
from nodedevd.server.libvirt import session, xdr
from nodedevd.server.libvirt.conversation import LibvirtConversation, LibvirtConversations
from nodedevd.server.libvirt.devices import NodeDevices
from nodedevd.server.libvirt.protocol import Header, MessageType, PacketDecoder, Procedure
from nodedevd.server.varlink.conversation import VarlinkConversation, VarlinkConversations
from nodedevd.server.varlink.methods import DevicesInterface
from nodedevd.server.varlink.service import Service
from nodedevd.socket_paths import INTERFACE
from nodedevd.varlink import encode_call
from tests.support.freshness import FakeFreshness
from tests.support.hosts import snapshot_of

BUDGET = 1 << 20
ALICE = 1000


@pytest.fixture
def accounts() -> Accounts:
    """Return accounts with a small budget for a user."""
    return Accounts(AccountLimits(user_bytes=BUDGET), favoured=[])


@pytest.fixture
def store() -> Store:
    """Return the store of a host."""
    return Store(snapshot_of("vgpu-sriov"))


class Varlink:
    """Conversations with clients of one user."""

    def __init__(self, store: Store, accounts: Accounts) -> None:
        status: Any = None  # nobody asks
        devices = DevicesInterface(Encodings(store), status, FakeFreshness())
        service = Service("V", "P", "1", "", [devices.interface()], INTERFACE)
        self.protocol = VarlinkConversations(service, lambda: store.snapshot.generation)
        self.account = accounts.enter(ALICE)

    def begin(self) -> tuple[VarlinkConversation, Holding]:
        """Begin a conversation."""
        holding = Holding(self.account)
        return self.protocol.begin(Peer(1, ALICE), lambda: None, holding), holding


def output(conversation: Any, times: int = 100) -> bytes:
    """Return what a conversation has to send, so far."""
    found = b""
    for _ in range(times):
        part = conversation.next()
        if part is None:
            break
        found += part
    return found


def test_half_messages_are_counted_and_refused(store: Store, accounts: Accounts) -> None:
    """A client beyond the budget gets an error, what it sends until the NUL is dropped."""
    bench = Varlink(store, accounts)
    for _ in range(5):
        one, _ = bench.begin()
        one.receive(b"{" + b" " * 200_000)
        assert one.next() is None
    assert bench.account.held_bytes == 5 * 200_001
    last, _ = bench.begin()
    last.receive(b"{" + b" " * 200_000)
    assert b'.BudgetExceeded","parameters":{"limit":1048576,"user":1000}}' in output(last)
    last.receive(b" " * 50_000)
    assert last.next() is None
    last.receive(b"}\0" + encode_call(f"{INTERFACE}.List"))
    assert output(last).startswith(b'{"parameters":{"generation":1,')
    assert bench.account.held_bytes == 5 * 200_001


def test_complete_message_is_no_longer_counted(store: Store, accounts: Accounts) -> None:
    """When it is answered, nothing of it is held."""
    bench = Varlink(store, accounts)
    one, _ = bench.begin()
    call = encode_call(f"{INTERFACE}.Describe", {"name": "x" * 100_000})
    one.receive(call[:90_000])
    assert one.next() is None
    assert bench.account.held_bytes == 90_000
    one.receive(call[90_000:])
    # Decoded, it would take more than the budget, in the worst case.
    assert b".BudgetExceeded" in output(one)
    assert bench.account.held_bytes == 0


def test_names_of_watches_are_counted(store: Store, accounts: Accounts) -> None:
    """As long as the watch lasts; a watch that exceeds the budget is an error."""
    bench = Varlink(store, accounts)
    names = [f"{number:04}" for number in range(2500)]
    call = encode_call(f"{INTERFACE}.Watch", {"names": names, "snapshot": False}, more=True)
    watching = []
    for _ in range(3):
        one, holding = bench.begin()
        one.receive(call)
        assert b'"ready"' in output(one)
        watching.append((one, holding))
    # A string of four letters takes 53 bytes, and 8 less since Python 3.12.
    assert bench.account.held_bytes == 3 * 2500 * (79 + sys.getsizeof("0000"))
    other, _ = bench.begin()
    other.receive(call)
    assert b".BudgetExceeded" in output(other)
    one, holding = watching[0]
    one.close()
    holding.close()
    other.receive(call)
    assert b'"ready"' in output(other)


def test_snapshot_is_counted_once_as_long_as_it_is_sent(store: Store, accounts: Accounts) -> None:
    """For all clients of the user that are sent something of it."""
    bench = Varlink(store, accounts)
    size = 256 * len(store.snapshot)
    begun = [bench.begin()[0] for _ in range(3)]
    for one in begun:
        one.receive(encode_call(f"{INTERFACE}.List"))
        while not one.next():
            pass
    assert bench.account.held_bytes == size
    for one in begun:
        assert output(one).endswith(b"}\0")
    assert bench.account.held_bytes == 0


def packet(procedure: Procedure[Any, Any], arguments: object) -> bytes:
    """Return a call of libvirt's protocol."""
    header = Header(remote.REMOTE, remote.VERSION, procedure.number, MessageType.CALL, 0, 0)
    return remote.encode_packet(header, xdr.encode(procedure.arguments, arguments))


class Libvirt:
    """Conversations with clients of one user that have opened."""

    def __init__(self, store: Store, accounts: Accounts) -> None:
        devices = NodeDevices(Encodings(store))
        self.protocol = LibvirtConversations(devices, FakeFreshness())
        self.account = accounts.enter(ALICE)

    def begin(self) -> tuple[LibvirtConversation, Holding]:
        """Begin a conversation."""
        holding = Holding(self.account)
        one = self.protocol.begin(Peer(1, ALICE), lambda: None, holding)
        one.receive(packet(remote.OPEN, remote.Open("nodedev:///system", 0)))
        assert refused(output(one)) == 0
        return one, holding


def test_wide_names_of_watches_are_counted(store: Store, accounts: Accounts) -> None:
    """One wide character has a long name take four times the memory of its text."""
    one, holding = Varlink(store, accounts).begin()
    names = ["\U0001f600" + "x" * 50_000]
    one.receive(encode_call(f"{INTERFACE}.Watch", {"names": names}, more=True))
    assert b'"present"' not in output(one)
    assert holding._account.held_bytes > 4 * 50_000


@pytest.mark.slow
def test_answered_call_leaves_nothing(store: Store, accounts: Accounts) -> None:
    """An idle client keeps neither the text of its last call nor its method or packet."""
    keeping = 0
    tracemalloc.start()
    try:
        varlink, _ = Varlink(store, accounts).begin()
        libvirt, _ = Libvirt(store, accounts).begin()
        wide = "\U0001f600" + "x" * 50_000
        uri = remote.Open(f"nodedev:///system?{wide}", 0)
        for client, call in (
            (varlink, encode_call(f"{INTERFACE}.GetStatus", {"unknown": wide})),
            (varlink, encode_call(f"{INTERFACE}.{wide}")),
            (libvirt, packet(remote.OPEN, uri)),
            (libvirt, packet(remote.LOOKUP_BY_NAME, wide)),
        ):
            before, _ = tracemalloc.get_traced_memory()
            client.receive(call)
            output(client)
            gc.collect()
            keeping = max(keeping, tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
    assert keeping < 20_000


def refused(replies: bytes) -> int:
    """Return how many of the replies are errors."""
    decoder = PacketDecoder(1 << 25)
    decoder.feed(replies)
    return sum(one.header.status for one in iter(decoder.next, None))


def register(conversation: LibvirtConversation, name: str) -> bytes:
    """Register for events of a device; return the reply."""
    conversation.receive(packet(remote.REGISTER_EVENT, remote.Registration(0, name)))
    return output(conversation)


def test_names_in_registrations_are_bounded(store: Store, accounts: Accounts) -> None:
    """Each name, and all of a client together."""
    one, _ = Libvirt(store, accounts).begin()
    assert b"name too long: 257 bytes" in register(one, "x" * 257)
    for number in range(256):
        assert refused(register(one, f"{number:0256}")) == 0
    assert b"too many names" in register(one, "y")
    one.receive(packet(remote.DEREGISTER_EVENT, 7))
    output(one)
    assert refused(register(one, "y")) == 0


@pytest.mark.slow
def test_registrations_are_counted(store: Store, accounts: Accounts) -> None:
    """The one that exceeds the budget is refused; a client that goes gives everything back."""
    bench = Libvirt(store, accounts)
    clients = [bench.begin() for _ in range(3)]
    one = BUDGET // (session._REGISTRATION_BYTES + 4)
    done = 0
    for conversation, _ in clients:
        for number in range(1024):
            done += not refused(register(conversation, f"{number:04}"))
    assert done == one
    for conversation, holding in clients:
        conversation.close()
        holding.close()
    assert bench.account.held_bytes == 0


def test_half_packets_are_counted_and_refused(store: Store, accounts: Accounts) -> None:
    """The call gets an error, and the next packet is answered."""
    bench = Libvirt(store, accounts)
    call = packet(remote.LOOKUP_BY_NAME, "x" * 200_000)
    for _ in range(5):
        one, _ = bench.begin()
        one.receive(call[:200_000])
        assert one.next() is None
    last, _ = bench.begin()
    last.receive(call[:200_000])
    assert b"read replies, end watches, or close connections" in output(last)
    last.receive(call[200_000:] + packet(remote.GET_TYPE, None))
    reply = output(last)
    assert refused(reply) == 0
    assert b"nodedev" in reply


@contextmanager
def no_collections() -> Iterator[None]:
    """Free objects by their reference counts alone."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("protocol", [Varlink, Libvirt])
def test_closed_conversation_is_freed_at_once(
    store: Store, accounts: Accounts, protocol: Callable[[Store, Accounts], Any]
) -> None:
    """Garbage collections are rare in a large process: what it holds must not wait for one."""
    bench = protocol(store, accounts)

    class Connection:
        def __init__(self) -> None:
            self.conversation = bench.protocol.begin(Peer(1, ALICE), self.wake, Holding())

        def wake(self) -> None:
            pass

    with no_collections():
        connection = Connection()
        seen = weakref.ref(connection.conversation)
        connection.conversation.close()
        del connection
        assert seen() is None
