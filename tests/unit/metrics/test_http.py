"""HTTP of nodedevd-metrics: what a scrape gets, and what hostile clients cannot do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.errors import NoDaemon
from nodedevd.metrics import http
from nodedevd.metrics.http import HEAD_BYTES, BriefConnection, HttpConversations
from nodedevd.metrics.listening import NotLoopback, listening
from nodedevd.metrics.text import OPENMETRICS_TYPE, PROMETHEUS_TYPE, Format
from nodedevd.server.acceptor import Server
from nodedevd.server.account import AccountLimits
from nodedevd.server.conversation import NO_UID, Peer
from tests.support.running import PATIENCE_SECONDS

BODY = b"nodedev_reads_hanging 0.0\n" * 40_000
"""More than a socket takes at once."""
PROMETHEUS_ACCEPTS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


class Texts:
    """The metrics, or an error."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.body = BODY
        self.server: Server
        self.forms: list[Format] = []

    async def text(self, form: Format) -> bytes:
        """Return the body."""
        self.forms.append(form)
        if self.error is not None:
            raise self.error
        return self.body


@asynccontextmanager
async def served(
    texts: Texts, connection: type[BriefConnection] = BriefConnection, places: int = 8
) -> AsyncIterator[tuple[str, int]]:
    """Serve metrics on a free port of the loopback interface."""
    sock = listening("127.0.0.1:0")
    address: tuple[str, int] = sock.getsockname()
    server = Server(
        accounts=AccountLimits(places=places, kept_places=0),
        identify=lambda one: Peer(0, NO_UID + one.fileno()),
        connection=connection,
    )
    texts.server = server
    server.listen(sock, HttpConversations(texts.text))
    try:
        yield address
    finally:
        server.close()
        await server.wait_closed()
        assert server.clients == 0


async def ask(address: tuple[str, int], request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Return the status, the headers and the body of an answer, after which the server closes."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(request)
        answer = await reader.read(-1)
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert headers["Connection"] == "close"
    return int(first.split()[1]), headers, body


def get(path: str = "/metrics", accept: str = "*/*", method: str = "GET") -> bytes:
    """Return a request."""
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n".encode()


def test_refused_clients_are_one_kind_of_message(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody knows whose they are, and each as a user of its own would fill the log."""

    async def scenario() -> None:
        async with served(Texts(), places=1) as address:
            with socket.create_connection(address):
                for _ in range(3):
                    assert (await ask(address, get()))[0] == 503

    asyncio.run(scenario())
    refused = [one for one in caplog.records if "refusing clients" in one.getMessage()]
    assert {getattr(one, "user", "none") for one in refused} == {None}
    assert not any("of user" in one.getMessage() for one in refused)


@pytest.mark.parametrize(
    ("accept", "content", "form"),
    [
        (PROMETHEUS_ACCEPTS, OPENMETRICS_TYPE, "openmetrics"),
        ("text/plain;version=0.0.4", PROMETHEUS_TYPE, "prometheus"),
        ("*/*", PROMETHEUS_TYPE, "prometheus"),
        ("application/openmetrics-text; version=1\\", OPENMETRICS_TYPE, "openmetrics"),
    ],
)
def test_client_gets_the_format_that_it_accepts(accept: str, content: str, form: str) -> None:
    """Nothing that a client sends comes back in a header."""

    async def scenario() -> None:
        texts = Texts()
        async with served(texts) as address:
            status, headers, body = await ask(address, get(accept=accept))
        assert (status, headers["Content-Type"], body) == (200, content, BODY)
        assert headers["Content-Length"] == str(len(BODY))
        assert texts.forms == [form]

    asyncio.run(scenario())


def test_head_has_no_body() -> None:
    """It has the length that a body would have."""

    async def scenario() -> None:
        async with served(Texts()) as address:
            status, headers, body = await ask(address, get(method="HEAD"))
        assert (status, headers["Content-Length"], body) == (200, str(len(BODY)), b"")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("request_bytes", "status", "words"),
    [
        (get("/"), 200, b"/metrics"),
        (get("/other"), 404, b"metrics are at /metrics"),
        (get(method="POST"), 405, b"only GET and HEAD"),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 400, b"no body"),
        (
            b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            b"no body",
        ),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400, b"Host"),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", 400, b""),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 2 * HEAD_BYTES, 431, b"too long"),
        (get("/" + "a" * 2 * HEAD_BYTES), 431, b"too long"),
    ],
)
def test_other_request_is_refused(request_bytes: bytes, status: int, words: bytes) -> None:
    """It gets a status and a sentence; the daemon is not asked."""

    async def scenario() -> None:
        texts = Texts()
        async with served(texts) as address:
            found, _, body = await ask(address, request_bytes)
        assert (found, texts.forms) == (status, [])
        assert words in body

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoDaemon(("/run/x",), "No such file"), b"No such file"),
        (OSError(5, "Input/output error"), b"Input/output error"),
        (ZeroDivisionError("secret"), b"a defect of nodedevd-metrics; see its log"),
    ],
)
def test_failure_is_said(error: Exception, words: bytes) -> None:
    """A scrape fails, so that `up` is 0; what is a defect has its details in the log alone."""

    async def scenario() -> None:
        texts = Texts()
        texts.error = error
        async with served(texts) as address:
            status, _, body = await ask(address, get())
        assert status == 503
        assert words in body
        assert b"secret" not in body

    asyncio.run(scenario())


class Hasty(BriefConnection):
    """A connection whose client has hardly any time for its request."""

    request_seconds = 0.01


class Short(BriefConnection):
    """A connection that is over soon."""

    seconds = 0.05


@pytest.mark.parametrize("sent", [b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: "])
def test_client_that_does_not_finish_its_request_is_disconnected(sent: bytes) -> None:
    """Its place is free again."""

    async def scenario() -> None:
        async with served(Texts(), Hasty) as address, asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(sent)
            with suppress(ConnectionResetError):
                assert await reader.read(-1) == b""
            writer.close()

    asyncio.run(scenario())


def test_client_that_does_not_read_is_disconnected() -> None:
    """The answer is not kept for it, and its place is free again."""

    async def scenario() -> None:
        texts = Texts()
        texts.body = BODY * 20
        async with served(texts, Short) as address, asyncio.timeout(PATIENCE_SECONDS):
            loop = asyncio.get_running_loop()
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.setblocking(False)
                await loop.sock_connect(client, address)
                await loop.sock_sendall(client, get())
                while not texts.forms or texts.server.clients:  # noqa: ASYNC110 -- it tells nobody
                    await asyncio.sleep(0.005)
                received = 0
                with suppress(ConnectionResetError):
                    while data := await loop.sock_recv(client, 1 << 20):
                        received += len(data)
        assert received < len(texts.body)

    asyncio.run(scenario())


def test_client_without_a_place_is_told_so() -> None:
    """Those that have one are served."""

    async def scenario() -> None:
        async with served(Texts(), places=2) as address:
            held = [await asyncio.open_connection(*address) for _ in range(2)]
            held[0][1].write(b"GET")  # both are accepted before the next one
            status, _, body = await ask(address, get())
            assert status == 503
            assert body.startswith(b"the daemon serves 2 clients already, which is the limit")
            reader, writer = held[1]
            writer.write(get())
            assert (await reader.readline()).split()[1] == b"200"
            for _, writer in held:
                writer.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0.0.0.0:9836", "no loopback address"),
        ("[::]:9836", "no loopback address"),
        ("192.0.2.1:9836", "no loopback address"),
        ("localhost:9836", "give an IP address"),
        ("127.0.0.1", "give an IP address"),
        ("127.0.0.1:", "give a port"),
        ("127.0.0.1:65536", "give a port"),
        ("9836", "give an IP address"),
    ],
)
def test_address_that_others_reach_is_refused(text: str, words: str) -> None:
    """There is neither encryption nor authentication."""
    with pytest.raises(NotLoopback, match=words) as raised:
        listening(text)
    assert text in str(raised.value)


def test_port_of_another_program_is_refused() -> None:
    """The error says what to do."""
    with listening("127.0.0.1:0") as other:
        port = other.getsockname()[1]
        with pytest.raises(NotLoopback, match="another program serves there"):
            listening(f"127.0.0.1:{port}")


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_any_bytes_get_one_answer_at_the_most(parts: list[bytes]) -> None:
    """No input raises; after an answer nothing more is read."""

    async def nothing(form: Format) -> bytes:
        return b""

    conversation = HttpConversations(nothing).begin(Peer(0, 0), lambda: None)
    answers = 0
    for part in parts:
        if conversation.ended:
            break
        conversation.receive(part)
        while (answer := conversation.next()) is not None:
            answers += 1
            if not isinstance(answer, bytes):
                answer.close()  # type: ignore[attr-defined]
                break
    assert answers <= 1
    assert http.REQUEST_SECONDS < http.LIFE_SECONDS
