"""The client: against a daemon, and against what is none."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nodedevd.client import Client, ConnectionLost, RemoteError
from nodedevd.embedded import Embedded
from nodedevd.errors import NoDaemon, NoSuchDevice, NotInFormat
from nodedevd.source import Source
from nodedevd.varlink import CallDecoder, encode_error, encode_reply
from tests.support.hosts import FIXTURES, HOSTS
from tests.support.running import PATIENCE_SECONDS, running

SERVICE = "org.varlink.service"


@pytest.fixture(scope="module", params=HOSTS)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Source, Source]]:
    """Return the devices of each recorded host, scanned here and asked of a daemon."""
    directory = tmp_path_factory.mktemp("daemon")
    sysroot = FIXTURES / request.param
    with running(directory, sysroot), Client(str(directory / "nodedevd.sock")) as client:
        yield Embedded(str(sysroot)), client


@contextmanager
def answering(directory: Path, *replies: bytes) -> Iterator[str]:
    """Serve one client: answer its calls with these bytes, one each, then hang up."""
    path = str(directory / "answering.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.settimeout(PATIENCE_SECONDS)
        server.bind(path)
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            decoder = CallDecoder()
            with connection:
                connection.settimeout(PATIENCE_SECONDS)
                for reply in replies:
                    while decoder.next() is None:
                        decoder.feed(connection.recv(1 << 16))
                    connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield path
        finally:
            thread.join()


@pytest.mark.parametrize("capabilities", [None, ["pci"], ["mdev", "mdev_types"], []])
def test_client_answers_what_a_scan_does(
    both: tuple[Source, Source], capabilities: list[str] | None
) -> None:
    """Lists and devices are the same, filtered or not, daemon or not."""
    embedded, client = both
    assert client.entries(capabilities) == embedded.entries(capabilities)
    assert client.devices(capabilities) == embedded.devices(capabilities)


def test_client_gives_the_same_bytes_as_a_scan(both: tuple[Source, Source]) -> None:
    """JSON and XML are the same, byte for byte: of all devices, of each, and of none."""
    embedded, client = both
    names = [entry.name for entry in embedded.entries().devices]
    assert client.devices_json() == embedded.devices_json()
    assert client.xml() == embedded.xml()
    assert client.xml(names) == embedded.xml(names)
    assert client.xml([]) == embedded.xml([])
    for name in names:
        assert client.device_json(name) == embedded.device_json(name)
        assert client.xml([name]) == embedded.xml([name])


def test_client_gives_libvirts_format_as_a_scan_does(both: tuple[Source, Source]) -> None:
    """Byte for byte, or the same error for a device that the format does not show."""
    embedded, client = both
    assert client.xml(form="libvirt") == embedded.xml(form="libvirt")
    for name in [entry.name for entry in embedded.entries().devices]:
        try:
            expected = embedded.xml([name], form="libvirt")
        except NotInFormat:
            with pytest.raises(NotInFormat) as hidden:
                client.xml([name], form="libvirt")
            assert (hidden.value.name, hidden.value.format) == (name, "libvirt")
        else:
            assert client.xml([name], form="libvirt") == expected


def test_unknown_name_raises_the_same_error(both: tuple[Source, Source]) -> None:
    """NoSuchDevice comes with the name and the nearest ones."""
    for source in both:
        with pytest.raises(NoSuchDevice) as missing:
            source.device_json("compute")
        assert (missing.value.name, missing.value.nearest) == ("compute", ("computer",))
        with pytest.raises(NoSuchDevice):
            source.xml(["computer", "nobody"])


def test_connection_goes_on_after_an_error(both: tuple[Source, Source]) -> None:
    """An error reply is no end: the next call is answered."""
    embedded, client = both
    with pytest.raises(NoSuchDevice):
        client.device_json("nobody")
    with pytest.raises(RemoteError) as refused:
        client.entries(["usb_hub"])
    assert refused.value.error == f"{SERVICE}.InvalidParameter"
    assert refused.value.parameters == b'{"parameter":"capabilities"}'
    assert client.status().devices == embedded.status().devices


def test_no_socket_raises_no_daemon(tmp_path: Path) -> None:
    """The error names the path that was tried, and why nobody was there."""
    path = str(tmp_path / "nobody.sock")
    with pytest.raises(NoDaemon) as missing:
        Client(path)
    assert missing.value.tried == (path,)
    assert missing.value.reason == "no such file or directory"


def test_first_socket_that_answers_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sockets of root's daemon and of the user's own are tried in order."""
    tried = [str(tmp_path / "nobody.sock"), "", str(tmp_path / "stale.sock")]
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(tried[2])
    with answering(tmp_path, encode_error(f"{SERVICE}.PermissionDenied", {})) as path:
        tried[1] = path
        monkeypatch.setattr("nodedevd.client.candidate_socket_paths", lambda: tried)
        with Client() as client:
            assert client.path == path
            with pytest.raises(RemoteError):
                client.status()
    os.unlink(path)
    with pytest.raises(NoDaemon) as missing:
        Client()
    assert missing.value.tried == tuple(tried)
    assert missing.value.reason == "no such file or directory, connection refused"


def test_environment_names_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$NODEDEVD_SOCKET alone is tried, if it is set."""
    path = str(tmp_path / "chosen.sock")
    monkeypatch.setenv("NODEDEVD_SOCKET", path)
    with pytest.raises(NoDaemon) as missing:
        Client()
    assert missing.value.tried == (path,)


def test_end_of_the_connection_instead_of_a_reply_raises(tmp_path: Path) -> None:
    """A daemon that goes away is said to have, by the path of its socket."""
    with (
        answering(tmp_path, b"") as path,
        Client(path) as client,
        pytest.raises(ConnectionLost) as lost,
    ):
        client.status()
    assert str(lost.value).startswith(f"lost the daemon on {path}: ")


def test_end_of_the_connection_within_a_stream_raises(tmp_path: Path) -> None:
    """Half of a list is not taken for the whole."""
    part = encode_reply(b'{"generation":1,"devices":[]}', continues=True)
    with answering(tmp_path, part) as path, Client(path) as client, pytest.raises(ConnectionLost):
        client.entries()


@pytest.mark.parametrize("reply", [b"no JSON\0", b"[]\0", b'{"parameters":1}\0', b"\xff\0", b"\0"])
def test_reply_that_is_none_raises(tmp_path: Path, reply: bytes) -> None:
    """Whatever answers on the socket, it is not believed."""
    with answering(tmp_path, reply) as path, Client(path) as client, pytest.raises(ConnectionLost):
        client.status()


def test_error_without_a_class_of_its_own_tells_its_name_and_parameters(tmp_path: Path) -> None:
    """An error of a newer daemon is shown as it came."""
    error = encode_error("org.nodedevd.Devices.TooManyClients", {"limit": 7})
    with (
        answering(tmp_path, error) as path,
        Client(path) as client,
        pytest.raises(RemoteError) as refused,
    ):
        client.status()
    assert str(refused.value) == (
        'the daemon answered org.nodedevd.Devices.TooManyClients {"limit":7}'
    )


def test_parts_of_a_stream_are_put_together(tmp_path: Path) -> None:
    """All replies of a stream make one answer, however small they are cut."""
    parts = [f"<devices generation='1'>\n  <!-- {number} -->\n" for number in range(50)]
    replies = b"".join(
        encode_reply(b'{"xml":"%b"}' % part.encode().replace(b"\n", b"\\n"), continues=last)
        for part, last in zip(parts, [True] * 49 + [False], strict=True)
    )
    with answering(tmp_path, replies) as path, Client(path) as client:
        assert client.xml() == "".join(parts)
