"""Descriptors that clients pass: one belongs to SpeakFor, all others are closed."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nodedevd.actions.requests import Create
from nodedevd.control import caller as caller_module
from nodedevd.control.asker import Asker, asker_of, this_process
from nodedevd.control.authorise import AuthorisedService, Authoriser
from nodedevd.control.caller import Identity
from nodedevd.control.configuration import Configuration
from nodedevd.control.connection import ControlConnection
from nodedevd.control.methods import ControlInterface
from nodedevd.control.workers import Workers
from nodedevd.errors import CONTROL_INTERFACE
from nodedevd.server.acceptor import Server
from nodedevd.server.account import AccountLimits
from nodedevd.server.listener import refuse_descriptors
from nodedevd.server.varlink.conversation import VarlinkConversations
from nodedevd.varlink import Malformed, ReplyDecoder, encode_call
from tests.support.recorded_changes import RecordedChanges
from tests.support.serving import listening

USER = Asker(4711, os.geteuid() + 1000, 1000, frozenset(), "virsh", 5)
"""The client of libvirt's protocol."""
NOT_ALLOWED = f"{CONTROL_INTERFACE}.NotAllowed"
CREATE = encode_call(f"{CONTROL_INTERFACE}.Create", {"type": "mtty-1"})
SPEAK_FOR = encode_call(f"{CONTROL_INTERFACE}.SpeakFor")
GET_INFO = encode_call("org.varlink.service.GetInfo")


class Client:
    """A client of the control service, which sends what the test says."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.connect(str(path))
        self._decoder = ReplyDecoder(1 << 20)

    def send(self, data: bytes, *descriptors: int) -> None:
        """Send bytes along with descriptors, as one piece."""
        assert socket.send_fds(self.socket, [data], descriptors) == len(data)

    async def reply(self) -> tuple[str, dict[str, Any]]:
        """Return the error of the next reply, empty if there is none, and its parameters."""
        loop = asyncio.get_running_loop()
        while (reply := self._decoder.next()) is None:
            data = await loop.sock_recv(self.socket, 1 << 16)
            if not data:
                raise EOFError
            self._decoder.feed(data)
        assert not isinstance(reply, Malformed)
        return reply.error or "", msgspec.json.decode(reply.parameters)

    async def errors(self, number: int) -> list[str]:
        """Return the errors of the next replies, by their last name."""
        return [(await self.reply())[0].rpartition(".")[2] for _ in range(number)]

    async def end(self) -> None:
        """Wait for the service to close."""
        with pytest.raises((EOFError, ConnectionResetError)):
            await self.reply()


class Bench:
    """The control service in this process, and a server of libvirt's protocol.

    Attributes:
        changes: what was asked for.
        connected: who connects to the service; None: this process, which is the service's user.
        server: the service.
        all_gone: set when its last client has gone.
    """

    server: Server

    def __init__(self, directory: Path) -> None:
        self.changes = RecordedChanges()
        self.connected: Asker | None = None
        self.path = directory / "control.sock"
        self.libvirt = directory / "virtnodedevd-sock"
        self.all_gone = asyncio.Event()
        self._listening = listening(self.libvirt)
        self._sockets = [self._listening]
        self._clients: list[Client] = []

    def tidy(self) -> None:
        """Note that a client has come or gone."""
        if not self.server.clients:
            self.all_gone.set()

    def identify(self, sock: socket.socket) -> Asker:
        """Return who has connected."""
        return self.connected or asker_of(sock)

    def client(self) -> Client:
        """Return a new client of the service."""
        client = Client(self.path)
        self._clients.append(client)
        return client

    def keep(self, *sockets: socket.socket) -> socket.socket:
        """Have sockets closed at the end; return the first."""
        self._sockets += sockets
        return sockets[0]

    def accepted(self) -> socket.socket:
        """Return the server's end of a connection to libvirt's socket."""
        return self.accepted_at(self._listening)

    def accepted_at(self, server: socket.socket, name: str | None = None) -> socket.socket:
        """Return the server's end of a connection; the client may have bound its own to a name."""
        client = socket.socket(server.family, server.type)
        if name is not None:
            client.bind(name)
        client.connect(server.getsockname())
        return self.keep(server.accept()[0], client)

    def close(self) -> None:
        """Close what was opened."""
        for one in self._clients:
            one.socket.close()
        for sock in self._sockets:
            sock.close()


@asynccontextmanager
async def benched(
    directory: Path,
    accounts: AccountLimits | None = None,
    *,
    prepare: Callable[[socket.socket], None] = lambda sock: None,
) -> AsyncIterator[Bench]:
    """Serve, and check that no client is left at the end."""
    bench = Bench(directory)

    async def nobody(method: str, asker: Asker) -> None:
        raise AssertionError(method)

    authoriser = Authoriser(Configuration(groups=()), nobody)
    workers = Workers("test", 4, 4)
    interface = ControlInterface(
        bench.changes, workers, workers, authoriser, (str(bench.libvirt),)
    ).interface()
    service = AuthorisedService(
        authoriser,
        vendor="V",
        product="P",
        version="1",
        url="",
        interfaces=[interface],
        error_namespace=CONTROL_INTERFACE,
    )
    server = bench.server = Server(
        accounts=accounts, identify=bench.identify, connection=ControlConnection
    )
    server.tidy = bench.tidy
    sock = listening(bench.path)
    prepare(sock)
    server.listen(sock, VarlinkConversations(service, object))
    try:
        yield bench
    finally:
        bench.close()
        server.close()
        await server.wait_closed()
        await workers.close(1)
    assert server.clients == 0


@pytest.fixture(autouse=True)
def opened() -> Iterator[None]:
    """Check that a test leaves no descriptor open."""
    gc.collect()
    before = os.listdir("/proc/self/fd")
    yield
    gc.collect()
    assert os.listdir("/proc/self/fd") == before


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the clients of libvirt's protocol be of another user."""
    monkeypatch.setattr(caller_module, "spoken_for", _spoken_for)


def _spoken_for(descriptor: int, paths: object) -> Asker:
    os.close(descriptor)
    return USER


# -- SpeakFor ----------------------------------------------------------------------------------


async def test_calls_are_made_for_who_has_connected_to_libvirts_socket(tmp_path: Path) -> None:
    """The asker is that of the accepted socket, and knows who speaks for it."""
    async with benched(tmp_path) as bench:
        client = bench.client()
        client.send(SPEAK_FOR, bench.accepted().fileno())
        client.send(CREATE)
        assert await client.errors(2) == ["", ""]
    own = this_process()
    speaker = f"{own.command}[{own.pid}]"
    assert bench.changes.requests == [
        (Create(type="mtty-1"), msgspec.structs.replace(own, speaker=speaker))
    ]


@pytest.mark.usefixtures("user")
async def test_later_calls_have_the_rights_of_the_client_alone(tmp_path: Path) -> None:
    """The service's own user may do everything, and none of that is left; in the log is both."""
    async with benched(tmp_path) as bench:
        client = bench.client()
        client.send(SPEAK_FOR, bench.accepted().fileno())
        client.send(CREATE)
        client.send(encode_call(f"{CONTROL_INTERFACE}.GetStatus"))
        client.send(encode_call(f"{CONTROL_INTERFACE}.Authorise", {"method": "Create"}))
        assert await client.errors(4) == ["", "NotAllowed", "NotAllowed", "NotAllowed"]
        other = bench.client()
        other.send(CREATE)
        assert await other.errors(1) == [""]
    assert len(bench.changes.requests) == 1


async def test_introspection_may_come_first(tmp_path: Path) -> None:
    """A client waits by it until it is accepted; also in the same bytes."""
    async with benched(tmp_path) as bench:
        client = bench.client()
        client.send(GET_INFO)
        assert await client.errors(1) == [""]
        client.send(SPEAK_FOR, bench.accepted().fileno())
        assert await client.errors(1) == [""]
        other = bench.client()
        other.send(GET_INFO + SPEAK_FOR + CREATE, bench.accepted().fileno())
        assert await other.errors(3) == ["", "", ""]


async def test_speaking_is_for_the_first_call_and_once(tmp_path: Path) -> None:
    """What comes after the refusal is refused as well, as are calls that were sent along."""
    async with benched(tmp_path) as bench:
        late = bench.client()
        late.send(CREATE + SPEAK_FOR)
        late.send(CREATE)
        assert await late.errors(3) == ["", "NotAllowed", "NotAllowed"]
        twice = bench.client()
        twice.send(SPEAK_FOR, bench.accepted().fileno())
        assert await twice.errors(1) == [""]
        twice.send(SPEAK_FOR + CREATE)
        assert "has to be the first call" in (await twice.reply())[1]["reason"]
        assert await twice.errors(1) == ["NotAllowed"]
        again = bench.client()
        again.send(SPEAK_FOR)
        assert "no descriptor" in (await again.reply())[1]["reason"]
        again.send(SPEAK_FOR + CREATE)
        assert await again.errors(2) == ["NotAllowed", "NotAllowed"]
    assert len(bench.changes.requests) == 1


@pytest.mark.parametrize(
    "call",
    [
        encode_call(f"{CONTROL_INTERFACE}.SpeakFor", {"uid": 0}),
        b'{"method":"%b.SpeakFor","upgrade":true}\0' % CONTROL_INTERFACE.encode(),
        b'{"method":"%b.SpeakFor","parameters":[]}\0' % CONTROL_INTERFACE.encode(),
    ],
    ids=["unknown parameter", "upgrade", "no object"],
)
async def test_call_that_is_not_understood_speaks_for_nobody(tmp_path: Path, call: bytes) -> None:
    """And not for who has connected: what follows must not be done as that."""
    async with benched(tmp_path) as bench:
        client = bench.client()
        client.send(call + CREATE, bench.accepted().fileno())
        first, second = await client.errors(2)
        assert first
        assert second == "NotAllowed"
    assert bench.changes.requests == []


async def test_oneway_call_speaks_as_well(tmp_path: Path) -> None:
    """It has no reply, and is done before the next one."""
    async with benched(tmp_path) as bench:
        client = bench.client()
        message = encode_call(f"{CONTROL_INTERFACE}.SpeakFor", oneway=True)
        client.send(message + CREATE, bench.accepted().fileno())
        assert await client.errors(1) == [""]
    assert bench.changes.requests[0][1].speaker


async def test_others_than_the_services_user_may_not_speak(tmp_path: Path) -> None:
    """Whatever they pass, and also if they may call other methods."""
    async with benched(tmp_path) as bench:
        bench.connected = USER
        client = bench.client()
        client.send(SPEAK_FOR)
        name, parameters = await client.reply()
        assert name == NOT_ALLOWED
        assert "only root" in parameters["reason"]
        other = bench.client()
        other.send(SPEAK_FOR + CREATE, bench.accepted().fileno())
        assert await other.errors(2) == ["NotAllowed", "NotAllowed"]
        await other.end()
    assert bench.changes.requests == []


# -- the socket --------------------------------------------------------------------------------


def connecting(bench: Bench) -> int:
    """Connect to a server, which may be root's."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(str(bench.libvirt))
    return bench.keep(client).fileno()


def bound_connecting(bench: Bench) -> int:
    """Connect to a server with an end that has the name of libvirt's socket."""
    bench.libvirt.unlink()
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.bind(str(bench.libvirt))
    client.connect(str(bench.path))
    return bench.keep(client).fileno()


def bound_client(bench: Bench) -> int:
    """Be the server of a client whose end has a name."""
    server = bench._listening
    return bench.accepted_at(server, str(bench.path.with_name("named"))).fileno()


def pair(bench: Bench) -> int:
    """Make a pair, of which nobody was accepted."""
    return bench.keep(*socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)).fileno()


def other_path(bench: Bench) -> int:
    """Accept at another path."""
    server = listening(bench.path.with_name("other.sock"))
    bench.keep(server)
    return bench.accepted_at(server).fileno()


def abstract(bench: Bench) -> int:
    """Accept at the same name in the abstract namespace."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bench.keep(server).bind(b"\0" + os.fsencode(bench.libvirt))
    server.listen()
    return bench.accepted_at(server).fileno()


def listening_itself(bench: Bench) -> int:
    """Pass the listening socket."""
    return bench._listening.fileno()


def not_connected(bench: Bench) -> int:
    """Pass a socket without anybody."""
    return bench.keep(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)).fileno()


def bound_alone(bench: Bench) -> int:
    """Pass a socket with the right name, and without anybody."""
    bench.libvirt.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(bench.libvirt))
    return bench.keep(sock).fileno()


def packets(bench: Bench) -> int:
    """Accept on a socket of packets."""
    bench.libvirt.unlink()
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    bench.keep(server).bind(str(bench.libvirt))
    server.listen()
    return bench.accepted_at(server).fileno()


def datagrams(bench: Bench) -> int:
    """Pass a socket of datagrams with the right name."""
    bench.libvirt.unlink()
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bench.keep(server).bind(str(bench.libvirt))
    return server.fileno()


def network(bench: Bench) -> int:
    """Accept from the network."""
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bench.keep(server).bind(("127.0.0.1", 0))
    server.listen()
    return bench.accepted_at(server).fileno()


def file(bench: Bench) -> int:
    """Pass the standard input, which is no socket."""
    return 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (connecting, "has connected to '/"),
        (bound_connecting, "has connected to '/"),
        (bound_client, "has connected to '/"),
        (pair, "is of '', which is not in `libvirt_sockets`"),
        (other_path, "other.sock', which is not in"),
        (abstract, "which is not in"),
        (listening_itself, "listens"),
        (not_connected, "is not connected"),
        (bound_alone, "is not connected"),
        (packets, "no Unix stream socket"),
        (datagrams, "no Unix stream socket"),
        (network, "no Unix stream socket"),
        (file, "is no socket"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
async def test_descriptor_that_is_no_accepted_socket_is_refused(
    tmp_path: Path, make: Callable[[Bench], int], reason: str
) -> None:
    """Above all one that would give the credentials of a server, and no later call is made."""
    async with benched(tmp_path) as bench:
        descriptor = make(bench)
        client = bench.client()
        client.send(SPEAK_FOR, descriptor)
        name, parameters = await client.reply()
        assert name == NOT_ALLOWED
        assert reason in parameters["reason"]
        client.send(CREATE)
        assert await client.errors(1) == ["NotAllowed"]
    assert bench.changes.requests == []


async def test_client_that_has_gone_is_spoken_for_nevertheless(tmp_path: Path) -> None:
    """The kernel keeps who it was; what it asked for before is not done as somebody else."""
    async with benched(tmp_path) as bench:
        accepted = bench.accepted()
        bench._sockets.pop().close()
        client = bench.client()
        client.send(SPEAK_FOR + CREATE, accepted.fileno())
        assert await client.errors(2) == ["", ""]
    assert bench.changes.requests[0][1].uid == os.geteuid()


# -- descriptors where none belong -----------------------------------------------------------


@pytest.mark.parametrize("number", [2, 3, 200])
async def test_several_descriptors_are_refused(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them stays open, the kernel opens one of them at all, and the connection ends."""
    opened = []
    passed = Identity.passed

    def counted(identity: Identity, descriptors: Sequence[int], *, more: bool) -> bool:
        opened.append(len(descriptors))
        return passed(identity, descriptors, more=more)

    monkeypatch.setattr(Identity, "passed", counted)
    async with benched(tmp_path) as bench:
        accepted = bench.accepted().fileno()
        client = bench.client()
        client.send(SPEAK_FOR + CREATE, *[accepted] * number)
        assert await client.errors(2) == ["NotAllowed", "NotAllowed"]
        await client.end()
    assert opened == [1]
    assert bench.changes.requests == []


async def test_descriptor_of_another_call_is_refused(tmp_path: Path) -> None:
    """With the call, and those after it."""
    async with benched(tmp_path) as bench:
        client = bench.client()
        client.send(CREATE + CREATE, bench.accepted().fileno())
        name, parameters = await client.reply()
        assert name == NOT_ALLOWED
        assert "only SpeakFor takes" in parameters["reason"]
        assert await client.errors(1) == ["NotAllowed"]
    assert bench.changes.requests == []


@pytest.mark.parametrize("first", [SPEAK_FOR, CREATE], ids=["SpeakFor", "Create"])
async def test_descriptor_after_the_first_call_is_refused(tmp_path: Path, first: bytes) -> None:
    """Also where the client may have spoken for somebody: that ends, too."""
    async with benched(tmp_path) as bench:
        accepted = bench.accepted().fileno()
        client = bench.client()
        client.send(first, *[accepted] * (first is SPEAK_FOR))
        assert await client.errors(1) == [""]
        client.send(CREATE, accepted)
        assert await client.errors(1) == ["NotAllowed"]
        await client.end()
    assert len(bench.changes.requests) == (first is CREATE)


async def test_second_descriptor_before_the_call_is_refused(tmp_path: Path) -> None:
    """Descriptors cannot be collected, a byte for each."""
    async with benched(tmp_path) as bench:
        accepted = bench.accepted().fileno()
        client = bench.client()
        client.send(SPEAK_FOR[:1], accepted)
        client.send(SPEAK_FOR[1:] + CREATE, accepted)
        assert await client.errors(2) == ["NotAllowed", "NotAllowed"]
        await client.end()
    assert bench.changes.requests == []


async def test_descriptor_that_is_never_used_is_closed_with_the_connection(tmp_path: Path) -> None:
    """One for each connection is all that there can be."""
    async with benched(tmp_path) as bench:
        before = len(os.listdir("/proc/self/fd"))
        clients = [bench.client() for _ in range(8)]
        for client in clients:
            client.send(GET_INFO, 0)
            assert await client.errors(1) == [""]
        assert len(os.listdir("/proc/self/fd")) == before + 3 * len(clients)
        for client in clients:
            client.socket.close()
        await bench.all_gone.wait()
        assert len(os.listdir("/proc/self/fd")) == before


async def test_other_users_pass_no_descriptor(tmp_path: Path) -> None:
    """Whatever the call is: it is refused, and the connection ends."""
    async with benched(tmp_path) as bench:
        bench.connected = USER
        client = bench.client()
        client.send(CREATE, 0)
        assert await client.errors(1) == ["NotAllowed"]
        await client.end()
        half = bench.client()
        half.send(CREATE[:-1], 0)
        await half.end()


async def test_kernel_refuses_descriptors_of_other_users(tmp_path: Path) -> None:
    """Where it can, Linux 6.16: the service never gets to close what a client passes."""
    if not _kernel_refuses():
        pytest.skip("this kernel cannot refuse descriptors")
    async with benched(tmp_path, prepare=refuse_descriptors) as bench:
        client = bench.client()
        with pytest.raises(PermissionError):
            client.send(SPEAK_FOR, 0)  # it is not accepted yet
        client.send(GET_INFO)
        assert await client.errors(1) == [""]
        client.send(SPEAK_FOR, bench.accepted().fileno())
        assert await client.errors(1) == [""]
        bench.connected = USER
        other = bench.client()
        other.send(GET_INFO)
        assert await other.errors(1) == [""]
        with pytest.raises(PermissionError):
            other.send(SPEAK_FOR, 0)


def _kernel_refuses() -> bool:
    first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with first, second:
        refuse_descriptors(second)
        try:
            socket.send_fds(first, [b"x"], [0])
        except PermissionError:
            return True
    return False


async def test_connection_is_not_kept_alive(tmp_path: Path) -> None:
    """No reference leads back to it when it is closed."""
    async with benched(tmp_path) as bench:
        client = bench.client()
        client.send(SPEAK_FOR, bench.accepted().fileno())
        assert await client.errors(1) == [""]
        gc.collect()
        gc.disable()
        try:
            (connection,) = [weakref.ref(one) for one in bench.server._connections]
            client.socket.close()
            await bench.all_gone.wait()
            for _ in range(3):
                await asyncio.sleep(0)
            assert connection() is None
        finally:
            gc.enable()


# -- limits ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("user")
async def test_connection_counts_for_who_is_spoken_for(tmp_path: Path) -> None:
    """The clients of one user do not take the places of all, though root connects for them."""
    limits = AccountLimits(places=8, kept_places=2)
    async with benched(tmp_path, limits) as bench:
        accepted = bench.accepted().fileno()
        clients = []
        for _ in range(limits.user_places):
            client = bench.client()
            client.send(SPEAK_FOR, accepted)
            assert await client.errors(1) == [""]
            clients.append(client)
        [connection, *_] = bench.server._connections
        assert connection.account.uid == USER.uid
        assert connection.share is bench.server.turns.share(USER.uid)
        other = bench.client()
        other.send(SPEAK_FOR + CREATE, accepted)
        assert await other.errors(2) == ["TooManyClients", "NotAllowed"]
        assert bench.server.accounts.other_places == limits.user_places
        for client in (*clients, other):
            client.socket.close()
        await bench.all_gone.wait()
        assert bench.server.accounts.places == 0
        assert bench.server.accounts.other_places == 0
    assert bench.changes.requests == []


@pytest.mark.usefixtures("user")
async def test_last_place_is_enough(tmp_path: Path) -> None:
    """The connection gives its own place back before it takes that of the client's user."""
    async with benched(tmp_path, AccountLimits(places=1, kept_places=0)) as bench:
        client = bench.client()
        client.send(SPEAK_FOR, bench.accepted().fileno())
        assert await client.errors(1) == [""]
