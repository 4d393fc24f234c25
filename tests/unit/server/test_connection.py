"""The server over real Unix sockets: order, back-pressure, disconnects, limits."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import varlink as reference

from nodedevd.errors import ExpectedMore, NoSuchDevice
from nodedevd.model.snapshot import Snapshot
from nodedevd.server.acceptor import Server, ServerLimits
from nodedevd.server.account import AccountLimits
from nodedevd.server.connection import RECEIVE_BYTES, TURN_BYTES
from nodedevd.server.varlink.answers import Answer, Chunk
from nodedevd.server.varlink.conversation import VarlinkConversations
from nodedevd.server.varlink.service import Interface, Method, Request, Service
from nodedevd.varlink import MESSAGE_LIMIT_BYTES, encode_call
from tests.support.peer import connected
from tests.support.serving import listening, served
from tests.support.streams import IterableStream

NAME = "org.example.Test"
DESCRIPTION = """\
interface org.example.Test
method Echo(text: string) -> (text: string)
method Count(to: int) -> (number: int)
"""


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text."""

    text: str


class Size(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number."""

    to: int


class Ticker:
    """A stream whose replies the test provides."""

    snapshot: Snapshot | None = None
    own_bytes = 0

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.started = asyncio.Event()
        self.closed = asyncio.Event()
        self.closings = 0
        self.failure: Exception | None = None

    def start(self, wake: Callable[[], None]) -> None:
        """Keep `wake` for the test."""
        self.wake = wake
        self.started.set()

    def next(self) -> Chunk | None:
        """Return the next reply that the test provided."""
        if self.failure is not None:
            raise self.failure
        return self.chunks.pop(0) if self.chunks else None

    def close(self) -> None:
        """Count."""
        self.closings += 1
        self.closed.set()

    def tick(self, parameters: bytes, *, last: bool = False) -> None:
        """Provide one more reply."""
        self.chunks.append(Chunk(parameters, last))
        self.wake()


class Bench:
    """A protocol over an interface whose answers the test controls, and its server."""

    server: Server

    def __init__(self, path: Path, message_bytes: int) -> None:
        self.path = path
        self.ticker = Ticker()
        self.gate = asyncio.Event()
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.echoed = asyncio.Event()
        self.texts: list[str] = []
        self.generated = 0
        interface = Interface(
            NAME,
            DESCRIPTION,
            {
                "Echo": Method(Text, self.echo),
                "Count": Method(Size, self.count),
                "Blob": Method(Size, self.blob),
                "Blobs": Method(Size, self.blobs),
                "Wait": Method(Text, self.wait),
                "WaitAndCount": Method(Size, self.wait_and_count),
                "Tick": Method(Nothing, self.tick),
                "Fail": Method(Nothing, self.fail),
                "FailLater": Method(Nothing, self.fail_later),
                "Cancel": Method(Nothing, self.cancel),
                "Lost": Method(Nothing, self.lost),
                "Surrogate": Method(Nothing, self.surrogate),
            },
        )
        self.protocol = protocol_of(interface, message_bytes)

    def echo(self, parameters: Text, request: Request) -> Answer:
        """Answer at once."""
        self.texts.append(parameters.text)
        self.echoed.set()
        return msgspec.json.encode(parameters)

    def count(self, parameters: Size, request: Request) -> Answer:
        """Stream numbers."""
        if not request.more:
            raise ExpectedMore
        return IterableStream(b'{"number":%d}' % number for number in range(parameters.to))

    def blob(self, parameters: Size, request: Request) -> Answer:
        """Answer something large."""
        self.generated += 1
        return b'{"blob":"%b"}' % (b"x" * parameters.to)

    def blobs(self, parameters: Size, request: Request) -> Answer:
        """Stream something large."""

        def generate() -> Iterator[bytes]:
            for _ in range(1000):
                self.generated += 1
                yield b'{"blob":"%b"}' % (b"x" * parameters.to)

        return IterableStream(generate())

    async def wait(self, parameters: Text, request: Request) -> Answer:
        """Answer when the gate opens."""
        self.waiting.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return self.echo(parameters, request)

    async def wait_and_count(self, parameters: Size, request: Request) -> Answer:
        """Stream when the gate opens."""
        await self.gate.wait()
        return self.count(parameters, request)

    def tick(self, parameters: Nothing, request: Request) -> Answer:
        """Stream what the test provides."""
        return self.ticker

    def fail(self, parameters: Nothing, request: Request) -> Answer:
        """Raise an unexpected exception."""
        raise ZeroDivisionError("internal detail")

    async def fail_later(self, parameters: Nothing, request: Request) -> Answer:
        """Raise a deliberate error."""
        raise NoSuchDevice("mdev_1")

    async def cancel(self, parameters: Nothing, request: Request) -> Answer:
        """Raise CancelledError."""
        raise asyncio.CancelledError

    def lost(self, parameters: Nothing, request: Request) -> Any:
        """Return no answer."""
        return None

    def surrogate(self, parameters: Nothing, request: Request) -> Answer:
        """Raise an error that cannot be encoded as JSON."""
        raise NoSuchDevice("\udcff")


def protocol_of(
    interface: Interface, message_bytes: int = MESSAGE_LIMIT_BYTES
) -> VarlinkConversations:
    """Return the protocol over a service of one interface."""
    service = Service("V", "P", "1", "https://example.org", [interface], NAME)
    return VarlinkConversations(service, lambda: None, message_bytes=message_bytes)


@asynccontextmanager
async def serving(
    path: Path,
    limits: ServerLimits | None = None,
    *,
    accounts: AccountLimits | None = None,
    message_bytes: int = MESSAGE_LIMIT_BYTES,
) -> AsyncIterator[Bench]:
    """Serve on a socket below `path`, and check that no client is left at the end."""
    bench = Bench(path / "socket", message_bytes)
    async with served(bench.path, bench.protocol, limits, accounts) as bench.server:
        yield bench


async def until(condition: Callable[[], bool]) -> None:
    """Run the loop until `condition` holds, or the test times out."""
    while not condition():  # noqa: ASYNC110 -- the server tells nobody when it is idle
        await asyncio.sleep(0.001)


def connection_of(bench: Bench) -> Any:
    """Return the one connection, to inspect it."""
    (connection,) = bench.server._connections
    return connection


@contextmanager
def silent_client(path: Path) -> Iterator[socket.socket]:
    """Connect a client that does not read."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.setblocking(False)
        yield client


async def flood(client: socket.socket, data: bytes, *, until: Callable[[], bool]) -> int:
    """Send `data` until the socket takes no more and `until` holds; return the bytes sent."""
    sent = 0
    while sent < len(data):
        try:
            sent += client.send(memoryview(data)[sent:])
        except BlockingIOError:
            if until():
                return sent
            await asyncio.sleep(0)
    raise AssertionError("the server took everything")


async def test_call_is_answered(tmp_path: Path) -> None:
    """A call gets its reply, and is counted."""
    async with serving(tmp_path) as bench, connected(bench.path) as peer:
        assert await peer.call(f"{NAME}.Echo", text="a") == {"text": "a"}
        assert (bench.server.clients, bench.protocol.calls) == (1, 1)


async def test_peer_credentials_reach_the_service(tmp_path: Path) -> None:
    """The handler gets the process at the other end."""
    peers: list[Any] = []

    def who(parameters: Nothing, request: Request) -> Answer:
        peers.append(request.peer)
        return b"{}"

    interface = Interface(NAME, "", {"Who": Method(Nothing, who)})
    path = tmp_path / "socket"
    async with served(path, protocol_of(interface)), connected(path) as peer:
        assert await peer.call(f"{NAME}.Who") == {}
    assert [(p.pid, p.uid) for p in peers] == [(os.getpid(), os.getuid())]


async def test_pipelined_calls_are_answered_in_order(tmp_path: Path) -> None:
    """Many calls of all kinds in few writes, more than one turn answers."""
    async with serving(tmp_path) as bench, connected(bench.path) as peer:
        bench.gate.set()
        kinds = ["Echo", "Wait"]
        texts = [str(number) for number in range(500)]
        calls = [encode_call(f"{NAME}.{kinds[int(t) % 7 == 0]}", {"text": t}) for t in texts]
        await peer.send_raw(b"".join(calls))
        assert [(await peer.receive())["text"] for _ in texts] == texts


async def test_awaited_answer_holds_its_connection_and_no_other(tmp_path: Path) -> None:
    """Later calls on the connection wait; another client is served."""
    async with (
        serving(tmp_path) as bench,
        connected(bench.path) as one,
        connected(bench.path) as two,
    ):
        await one.send(f"{NAME}.Wait", text="first")
        await one.send(f"{NAME}.Echo", text="second")
        await bench.waiting.wait()
        assert await two.call(f"{NAME}.Echo", text="other") == {"text": "other"}
        assert bench.texts == ["other"]
        bench.gate.set()
        assert [await one.receive(), await one.receive()] == [{"text": "first"}, {"text": "second"}]


async def test_busy_connection_leaves_turns_to_others(tmp_path: Path) -> None:
    """Another client does not have to wait until thousands of calls are answered."""
    async with (
        serving(tmp_path) as bench,
        connected(bench.path) as busy,
        connected(bench.path) as other,
    ):
        await other.call(f"{NAME}.Echo", text="here")
        bench.echoed.clear()
        calls = encode_call(f"{NAME}.Echo", {"text": "busy"}, oneway=True) * 10_000
        sending = asyncio.create_task(busy.send_raw(calls))
        await bench.echoed.wait()  # no poll: a fast machine has answered all by then
        await other.call(f"{NAME}.Echo", text="other")
        assert bench.texts.count("busy") < 10_000
        await sending
        await until(lambda: bench.texts.count("busy") == 10_000)


async def test_stream_sends_all_replies(tmp_path: Path) -> None:
    """All but the last reply say that it continues; the next call is answered after it."""
    async with serving(tmp_path) as bench, connected(bench.path) as peer:
        replies = await peer.call_more(f"{NAME}.Count", to=200)
        assert [reply["number"] for reply in replies] == list(range(200))
        assert await peer.call(f"{NAME}.Echo", text="a") == {"text": "a"}


async def test_awaited_stream_sends_all_replies(tmp_path: Path) -> None:
    """The result of an awaitable may be a stream."""
    async with serving(tmp_path) as bench, connected(bench.path) as peer:
        bench.gate.set()
        assert len(await peer.call_more(f"{NAME}.WaitAndCount", to=3)) == 3


async def test_stream_sends_when_it_wakes(tmp_path: Path) -> None:
    """Replies arrive when the stream has them, and it is closed after the last."""
    async with serving(tmp_path) as bench, connected(bench.path) as peer:
        ticker = bench.ticker
        await peer.send_raw(encode_call(f"{NAME}.Tick", more=True))
        await peer.send(f"{NAME}.Echo", text="after")
        await ticker.started.wait()
        ticker.tick(b'{"n":1}')
        assert (await peer.receive_reply()).continues
        ticker.tick(b'{"n":2}', last=True)
        assert await peer.receive() == {"n": 2}
        assert await peer.receive() == {"text": "after"}
        ticker.wake()
        assert await peer.call(f"{NAME}.Echo", text="b") == {"text": "b"}
        assert ticker.closings == 1


@pytest.mark.parametrize("method", ["Count", "Blobs"])
async def test_stream_without_more_is_refused(tmp_path: Path, method: str) -> None:
    """Only a call with `more` gets several replies."""
    async with serving(tmp_path) as bench, connected(bench.path) as peer:
        await peer.send(f"{NAME}.{method}", to=1)
        assert await peer.receive_error() == ("org.varlink.service.ExpectedMore", {})


async def test_failing_stream_ends_with_an_error(tmp_path: Path) -> None:
    """The error is the last reply, the stream is closed, the connection stays open."""
    async with serving(tmp_path) as bench, connected(bench.path) as peer:
        await peer.send_raw(encode_call(f"{NAME}.Tick", more=True))
        await bench.ticker.started.wait()
        bench.ticker.failure = NoSuchDevice("a")
        bench.ticker.wake()
        assert (await peer.receive_error())[0] == f"{NAME}.NoSuchDevice"
        assert bench.ticker.closings == 1
        assert await peer.call(f"{NAME}.Echo", text="a") == {"text": "a"}


async def test_disconnect_closes_an_idle_stream(tmp_path: Path) -> None:
    """The stream ends although nothing is sent on it any more."""
    async with serving(tmp_path) as bench:
        async with connected(bench.path) as peer:
            await peer.send_raw(encode_call(f"{NAME}.Tick", more=True))
            await bench.ticker.started.wait()
        await bench.ticker.closed.wait()
        await until(lambda: bench.server.clients == 0)
        assert bench.ticker.closings == 1


async def test_disconnect_behind_a_full_pipe_closes_an_idle_stream(tmp_path: Path) -> None:
    """Calls queued behind a stream do not hide that the client has closed."""
    async with serving(tmp_path) as bench:
        with silent_client(bench.path) as client:
            client.send(encode_call(f"{NAME}.Tick", more=True))
            await bench.ticker.started.wait()
            calls = encode_call(f"{NAME}.Echo", {"text": "a"}) * 100_000
            await flood(client, calls, until=lambda: connection_of(bench)._conversation.full)
        await bench.ticker.closed.wait()
        assert bench.texts == []


async def test_half_closed_client_keeps_its_stream_until_it_leaves(tmp_path: Path) -> None:
    """A client that shut down its sending half gets replies; when it closes, the stream ends."""
    async with serving(tmp_path) as bench:
        async with connected(bench.path) as peer:
            await peer.send_raw(encode_call(f"{NAME}.Tick", more=True))
            peer.end_sending()
            await bench.ticker.started.wait()
            bench.ticker.tick(b'{"n":1}')
            assert await peer.receive() == {"n": 1}
            assert not bench.ticker.closed.is_set()
        await bench.ticker.closed.wait()


async def test_half_closed_client_gets_its_replies(tmp_path: Path) -> None:
    """All calls sent before the end are answered, then the server closes."""
    async with serving(tmp_path) as bench, connected(bench.path) as peer:
        await peer.send(f"{NAME}.Wait", text="a")
        await peer.send_raw(encode_call(f"{NAME}.Echo", {"text": "b"}) * 200)
        await peer.send_raw(b'{"method":"unfinished')
        peer.end_sending()
        await bench.waiting.wait()
        bench.gate.set()
        assert await peer.receive() == {"text": "a"}
        for _ in range(200):
            assert await peer.receive() == {"text": "b"}
        await peer.receive_end()


async def test_disconnect_cancels_an_awaited_answer(tmp_path: Path) -> None:
    """An answer without a client is cancelled."""
    async with serving(tmp_path) as bench:
        async with connected(bench.path) as peer:
            await peer.send(f"{NAME}.Wait", text="a")
            await bench.waiting.wait()
        await bench.cancelled.wait()
        await until(lambda: bench.server.clients == 0)
        assert bench.texts == []


async def test_oneway_calls_get_no_reply(tmp_path: Path) -> None:
    """They get neither answers nor errors nor streams."""
    async with serving(tmp_path) as bench, connected(bench.path) as peer:
        bench.gate.set()
        await peer.call_oneway(f"{NAME}.Echo", text="a")
        await peer.call_oneway(f"{NAME}.Wait", text="b")
        await peer.call_oneway(f"{NAME}.Fail")
        await peer.call_oneway(f"{NAME}.FailLater")
        await peer.call_oneway(f"{NAME}.None")
        await peer.call_oneway(f"{NAME}.Tick")
        assert await peer.call(f"{NAME}.Echo", text="c") == {"text": "c"}
        assert bench.texts == ["a", "b", "c"]
        assert bench.ticker.closings == 1


async def test_oneway_call_of_a_client_that_left_is_carried_out(tmp_path: Path) -> None:
    """A client that wants no reply need not wait until the call is done."""
    async with serving(tmp_path) as bench:
        async with connected(bench.path) as peer:
            await peer.call_oneway(f"{NAME}.Wait", text="a")
            await peer.call_oneway(f"{NAME}.Echo", text="b")
        await bench.waiting.wait()
        bench.gate.set()
        await until(lambda: bench.server.clients == 0)
        assert bench.texts == ["a", "b"]


async def test_failures_leave_the_connection_alive(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Defects of all kinds are logged, and answered without details."""
    async with serving(tmp_path) as bench, connected(bench.path) as peer:
        for method in ("Fail", "Cancel", "Lost", "Surrogate"):
            await peer.send(f"{NAME}.{method}")
            assert await peer.receive_error() == (f"{NAME}.InternalError", {})
        await peer.send(f"{NAME}.FailLater")
        assert await peer.receive_error() == (
            f"{NAME}.NoSuchDevice",
            {"name": "mdev_1", "nearest": []},
        )
        assert await peer.call(f"{NAME}.Echo", text="a") == {"text": "a"}
    assert len([record for record in caplog.records if record.exc_info]) == 4


async def test_defect_in_a_turn_costs_its_connection_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the other clients of the same user go on having turns."""

    def broken() -> Any:
        raise ZeroDivisionError

    async with serving(tmp_path) as bench, connected(bench.path) as bad:
        assert await bad.call(f"{NAME}.Echo", text="a") == {"text": "a"}
        connection_of(bench)._conversation.next = broken
        async with connected(bench.path) as good:
            await bad.send_raw(b"x\0")
            await until(lambda: bench.server.clients == 1)
            assert await good.call(f"{NAME}.Echo", text="b") == {"text": "b"}
    assert "a defect" in caplog.text
    assert "ZeroDivisionError" in caplog.text


async def test_garbage_leaves_connections_unharmed(tmp_path: Path) -> None:
    """Its sender gets errors; all connections stay open."""
    async with (
        serving(tmp_path, message_bytes=1000) as bench,
        connected(bench.path) as bad,
        connected(bench.path) as good,
    ):
        await bad.send_raw(b"\xff\0" + b"[" * 900 + b"\0" + b"x" * 5000)
        assert await good.call(f"{NAME}.Echo", text="a") == {"text": "a"}
        assert (await bad.receive_error())[0] == f"{NAME}.MalformedMessage"
        assert (await bad.receive_error())[0] == f"{NAME}.MalformedMessage"
        assert await bad.receive_error() == (f"{NAME}.MessageTooLarge", {"limit": 1000})
        await bad.send_raw(b"\0")
        assert await bad.call(f"{NAME}.Echo", text="b") == {"text": "b"}


def padded(call: bytes, size: int) -> bytes:
    """Return the call, padded with blanks."""
    return call[:-1].ljust(size - 1) + b"\0"


async def test_oneway_calls_that_wait_bound_what_is_received(tmp_path: Path) -> None:
    """Each is awaited, and none has a reply: no more is received before the next is taken."""
    async with serving(tmp_path) as bench:
        bench.gate.set()
        with silent_client(bench.path) as client:
            await until(lambda: bench.server.clients == 1)
            decoder = connection_of(bench)._conversation._decoder
            call = encode_call(f"{NAME}.Wait", {"text": ""}, oneway=True)
            buffered = 0

            def has_answered() -> bool:
                nonlocal buffered
                buffered = max(buffered, decoder.buffered)
                return len(bench.texts) > 5000

            await flood(client, call * 100_000, until=has_answered)
            assert 0 < buffered <= RECEIVE_BYTES


async def test_client_that_does_not_read_bounds_calls_and_replies(tmp_path: Path) -> None:
    """Answering and reading stop within the stated bounds, and continue when the client reads."""
    size = 10_000
    async with serving(tmp_path, message_bytes=4096) as bench:
        with silent_client(bench.path) as client:
            call = padded(encode_call(f"{NAME}.Blob", {"to": size}), 2000)
            await until(lambda: bench.server.clients == 1)
            connection = connection_of(bench)
            sent = await flood(client, call * 2000, until=lambda: connection.unsent_bytes > 0)
            assert connection.unsent_bytes <= TURN_BYTES + size + 100
            assert connection._conversation._decoder.buffered <= 4096 + 256 * 1024
            assert bench.generated < sent // 2000
            async with connected(client) as peer:
                for _ in range(sent // 2000):
                    assert len((await peer.receive())["blob"]) == size


async def test_client_that_does_not_read_stops_its_stream(tmp_path: Path) -> None:
    """A stream is produced only as far as it fits, and continues when the client reads."""
    size = 10_000
    async with serving(tmp_path) as bench:
        with silent_client(bench.path) as client:
            client.send(encode_call(f"{NAME}.Blobs", {"to": size}, more=True))
            await until(lambda: bench.generated > 0)
            connection = connection_of(bench)
            await until(lambda: connection.unsent_bytes > 0)
            assert bench.generated < 1000
            assert connection.unsent_bytes <= TURN_BYTES + size + 100
            async with connected(client) as peer:
                for _ in range(1000):
                    assert len((await peer.receive())["blob"]) == size


async def test_stream_that_wakes_for_a_client_that_does_not_read_waits(tmp_path: Path) -> None:
    """No reply is taken from the stream until the client has read."""
    async with serving(tmp_path) as bench:
        with silent_client(bench.path) as client:
            client.send(encode_call(f"{NAME}.Tick", more=True))
            await bench.ticker.started.wait()
            connection = connection_of(bench)
            bench.ticker.tick(b'{"blob":"%b"}' % (b"x" * 1_000_000))
            await until(lambda: connection.unsent_bytes > 0)
            bench.ticker.tick(b'{"n":1}', last=True)
            await until(lambda: not connection.queued)
            assert len(bench.ticker.chunks) == 1
            async with connected(client) as peer:
                assert len((await peer.receive())["blob"]) == 1_000_000
                assert await peer.receive() == {"n": 1}


async def test_client_that_leaves_without_reading_frees_its_stream(tmp_path: Path) -> None:
    """Unsent output does not keep the connection."""
    async with serving(tmp_path) as bench:
        with silent_client(bench.path) as client:
            client.send(encode_call(f"{NAME}.Blobs", {"to": 10_000}, more=True))
            await until(lambda: bench.generated > 0)
            connection = connection_of(bench)
            await until(lambda: connection.unsent_bytes > 0)
        await until(lambda: bench.server.clients == 0)
        assert connection._conversation._making is None


async def test_one_client_too_many_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It gets an error, which is logged; a free place is used again."""
    async with serving(tmp_path, accounts=AccountLimits(places=2)) as bench:
        async with connected(bench.path) as one, connected(bench.path) as two:
            await one.call(f"{NAME}.Echo", text="a")
            await two.call(f"{NAME}.Echo", text="a")
            for _ in range(3):
                async with connected(bench.path) as three:
                    refusal = {"limit": 2, "user": None}
                    assert await three.receive_error() == (f"{NAME}.TooManyClients", refusal)
                    await three.receive_end()
            assert bench.server.clients == 2
            assert await one.call(f"{NAME}.Echo", text="b") == {"text": "b"}
        await until(lambda: bench.server.clients == 0)
        async with connected(bench.path) as three:
            assert await three.call(f"{NAME}.Echo", text="c") == {"text": "c"}
    assert {record.__dict__["user"] for record in caplog.records} == {os.geteuid()}


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Prevent this process from opening files."""
    gc.collect()  # later it would close what earlier tests have left, and there were some again
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_no_descriptors_left_pauses_accepting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Connected clients are served; waiting ones are when descriptors are available again."""
    limits = ServerLimits(accept_retry_seconds=0.01)
    loop = asyncio.get_running_loop()
    async with serving(tmp_path, limits) as bench, connected(bench.path) as peer:
        assert await peer.call(f"{NAME}.Echo", text="a") == {"text": "a"}
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        with no_descriptors_left():
            for client in waiting:
                client.setblocking(False)
                client.connect(str(bench.path))
                client.send(encode_call(f"{NAME}.Echo", {"text": "waited"}))
            await until(lambda: "cannot accept" in caplog.text)
            assert bench.server.clients == 1
            assert await peer.call(f"{NAME}.Echo", text="b") == {"text": "b"}
            # Seen again after the rest, not in every turn of the loop.
            await until(lambda: len(caplog.records) > 1)
        for client in waiting:
            assert await loop.sock_recv(client, 100) == b'{"parameters":{"text":"waited"}}\0'
            client.close()
    assert {(r.name, r.levelno) for r in caplog.records} == {
        ("nodedevd.server.acceptor", logging.ERROR)
    }


async def test_accepting_rests_after_a_failure(tmp_path: Path) -> None:
    """The listening socket is not polled, so the loop does not spin; closing ends the pause."""
    async with serving(tmp_path, ServerLimits(accept_retry_seconds=3600)) as bench:
        client = socket.socket(socket.AF_UNIX)
        with no_descriptors_left():
            client.connect(str(bench.path))
            (acceptor,) = bench.server._acceptors
            await until(lambda: acceptor._retry is not None)
        listener = acceptor._socket
        assert not asyncio.get_running_loop().remove_reader(listener)
        client.close()


async def test_closing_server_gives_up_calls_and_streams(tmp_path: Path) -> None:
    """Connections end; pending answers are cancelled, streams are closed."""
    async with (
        serving(tmp_path) as bench,
        connected(bench.path) as one,
        connected(bench.path) as two,
    ):
        await one.send(f"{NAME}.Wait", text="a")
        await two.send_raw(encode_call(f"{NAME}.Tick", more=True))
        await bench.waiting.wait()
        await bench.ticker.started.wait()
        bench.server.close()
        bench.server.close()
        await bench.server.wait_closed()
        await one.receive_end()
        await two.receive_end()
        assert bench.cancelled.is_set()
        assert bench.ticker.closings == 1
        assert bench.texts == []
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_unix_connection(bench.path)


async def test_closing_server_sends_what_was_answered(tmp_path: Path) -> None:
    """A client that reads gets the replies that were written before the close."""
    async with (
        serving(tmp_path, ServerLimits(close_seconds=3600)) as bench,
        connected(bench.path) as peer,
    ):
        await peer.send(f"{NAME}.Blob", to=10_000_000)
        await until(lambda: bench.generated == 1)
        bench.server.close()
        assert len((await peer.receive())["blob"]) == 10_000_000
        await bench.server.wait_closed()


async def test_closing_server_does_not_wait_for_a_client_that_never_reads(tmp_path: Path) -> None:
    """The wait has a limit."""
    async with (
        serving(tmp_path, ServerLimits(close_seconds=0.05)) as bench,
        connected(bench.path) as peer,
    ):
        await peer.send(f"{NAME}.Blob", to=10_000_000)
        await until(lambda: bench.generated == 1)
        bench.server.close()
        await bench.server.wait_closed()
        assert bench.server.clients == 0


async def test_closing_server_drops_a_client_that_was_just_accepted(tmp_path: Path) -> None:
    """A connection that closes before it has its transport ends, too."""
    async with serving(tmp_path) as bench:
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(bench.path))
        (acceptor,) = bench.server._acceptors
        acceptor._accept()
        assert bench.server.clients == 1
        bench.server.close()
        await bench.server.wait_closed()
        assert await asyncio.get_running_loop().run_in_executor(None, client.recv, 1) == b""
        client.close()


async def test_stream_that_comes_too_late_is_closed(tmp_path: Path) -> None:
    """The stream of an answer that ignores its cancellation is closed."""
    ticker = Ticker()

    async def stubborn(parameters: Nothing, request: Request) -> Answer:
        waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return ticker
        raise AssertionError

    waiting = asyncio.Event()
    interface = Interface(NAME, "", {"Stubborn": Method(Nothing, stubborn)})
    path = tmp_path / "socket"
    async with served(path, protocol_of(interface)):
        async with connected(path) as peer:
            await peer.send_raw(encode_call(f"{NAME}.Stubborn", more=True))
            await waiting.wait()
        await ticker.closed.wait()


async def test_sockets_of_one_server_have_protocols_of_their_own_and_share_places(
    tmp_path: Path,
) -> None:
    """The limit is that of all sockets together; the server closes them all."""
    accounts = AccountLimits(places=2)
    async with serving(tmp_path, accounts=accounts) as bench, connected(bench.path) as one:
        other = protocol_of(Interface("org.example.Other", "", {}))
        bench.server.listen(listening(tmp_path / "other"), other)
        async with connected(tmp_path / "other") as two:
            assert await one.call(f"{NAME}.Echo", text="a") == {"text": "a"}
            await two.send(f"{NAME}.Echo", text="a")
            assert (await two.receive_error())[0] == "org.varlink.service.InterfaceNotFound"
            async with connected(tmp_path / "other") as three:
                assert (await three.receive_error())[0] == f"{NAME}.TooManyClients"
            assert bench.server.clients == 2
            assert (bench.protocol.calls, other.calls) == (1, 1)
            bench.server.close()
            await one.receive_end()
            await two.receive_end()


async def test_many_clients_come_and_go(tmp_path: Path) -> None:
    """No connection is left, whatever its client was doing when it closed."""
    async with serving(tmp_path) as bench:

        async def visit(number: int) -> None:
            async with connected(bench.path) as peer:
                await peer.call(f"{NAME}.Echo", text="a")
                if number % 3 == 1:
                    await peer.send_raw(b'{"method":')
                elif number % 3 == 2:
                    await peer.send(f"{NAME}.Wait", text="b")

        await asyncio.gather(*(visit(number) for number in range(200)))
        await until(lambda: bench.server.clients == 0)
        await until(lambda: not bench.server._tasks)
        assert not bench.server.sockets._watchers


async def test_reference_client_is_served(tmp_path: Path) -> None:
    """The client of the `varlink` package introspects, calls, streams, and sees errors."""

    def talk(address: str) -> tuple[Any, ...]:
        with reference.Client(address) as client:
            interfaces = client.get_interfaces()
            with client.open(NAME) as connection:
                echo = connection.Echo("hé")
                numbers = [reply["number"] for reply in connection.Count(3, _more=True)]
                with pytest.raises(reference.VarlinkError) as error:
                    connection.Count(3)
                return set(interfaces), client.info, echo, numbers, error.value.error()

    async with serving(tmp_path) as bench:
        interfaces, info, echo, numbers, error = await asyncio.to_thread(talk, f"unix:{bench.path}")
    assert interfaces == {"org.varlink.service", NAME}
    assert info["vendor"] == "V"
    assert echo == {"text": "hé"}
    assert numbers == [0, 1, 2]
    assert error == "org.varlink.service.ExpectedMore"
