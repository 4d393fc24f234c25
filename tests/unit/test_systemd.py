"""systemd: sockets handed over, notifications, and the interval of the watchdog."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nodedevd import systemd
from tests.support.running import PATIENCE_SECONDS

FIRST = 500  # instead of 3, which pytest uses


@pytest.fixture
def handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[socket.socket | None]]:
    """Return the originals of three descriptors as systemd hands them over; one is a file."""
    monkeypatch.setattr(systemd, "_FIRST_DESCRIPTOR", FIRST)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "3")
    monkeypatch.setenv("LISTEN_FDNAMES", "varlink:journal:libvirt")
    with ExitStack() as stack:
        originals: list[socket.socket | None] = []
        for number, name in enumerate(("varlink", None, "libvirt")):
            if name is None:
                file = stack.enter_context((tmp_path / "file").open("wb"))
                descriptor = file.fileno()
                originals.append(None)
            else:
                sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                sock.bind(str(tmp_path / name))
                sock.listen()
                descriptor = sock.fileno()
                originals.append(sock)
            assert fcntl.fcntl(descriptor, fcntl.F_DUPFD, FIRST + number) == FIRST + number
        yield originals
        for number in range(3):
            if _is_open(FIRST + number):
                os.close(FIRST + number)


def _is_open(descriptor: int) -> bool:
    try:
        fcntl.fcntl(descriptor, fcntl.F_GETFD)
    except OSError:
        return False
    return True


def test_sockets_handed_over_keep_order_and_name(
    handed_over: list[socket.socket | None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each is the socket that systemd opened; a descriptor that is no socket is logged."""
    sockets = systemd.listen_sockets()
    try:
        assert [name for name, _ in sockets] == ["varlink", "libvirt"]
        for name, sock in sockets:
            assert (sock.family, sock.type) == (socket.AF_UNIX, socket.SOCK_STREAM)
            assert sock.getsockname() == str(tmp_path / name)
    finally:
        for _, sock in sockets:
            sock.close()
    assert f"descriptor {FIRST + 1} from systemd is no socket" in caplog.text
    assert _is_open(FIRST + 1)


def test_sockets_handed_over_are_not_inherited(handed_over: list[socket.socket | None]) -> None:
    """A child process gets neither the descriptors nor their variables."""
    assert os.get_inheritable(FIRST)
    sockets = systemd.listen_sockets()
    try:
        assert [sock.get_inheritable() for _, sock in sockets] == [False, False]
        assert [name for name in os.environ if name.startswith("LISTEN_")] == []
        assert systemd.listen_sockets() == []
    finally:
        for _, sock in sockets:
            sock.close()


@pytest.mark.parametrize(("names", "expected"), [("", ["", ""]), ("varlink", ["varlink", ""])])
def test_socket_without_a_name_has_an_empty_one(
    handed_over: list[socket.socket | None],
    monkeypatch: pytest.MonkeyPatch,
    names: str,
    expected: list[str],
) -> None:
    """LISTEN_FDNAMES can be shorter than LISTEN_FDS, or missing."""
    if names:
        monkeypatch.setenv("LISTEN_FDNAMES", names)
    else:
        monkeypatch.delenv("LISTEN_FDNAMES")
    sockets = systemd.listen_sockets()
    for _, sock in sockets:
        sock.close()
    assert [name for name, _ in sockets] == expected


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LISTEN_PID", "1"),
        ("LISTEN_PID", ""),
        ("LISTEN_PID", "self"),
        ("LISTEN_FDS", "0"),
        ("LISTEN_FDS", "-1"),
        ("LISTEN_FDS", ""),
        ("LISTEN_FDS", "many"),
    ],
)
def test_sockets_for_another_process_are_left_alone(
    handed_over: list[socket.socket | None],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
) -> None:
    """Descriptors of unknown purpose stay as they are."""
    monkeypatch.setenv(variable, value)
    assert systemd.listen_sockets() == []
    assert os.get_inheritable(FIRST)
    assert [name for name in os.environ if name.startswith("LISTEN_")] == []


def test_no_socket_activation_hands_over_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon started from a shell has no such variables."""
    for variable in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        monkeypatch.delenv(variable, raising=False)
    assert systemd.listen_sockets() == []


@pytest.fixture
def debug_log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Return the log, from DEBUG on."""
    caplog.set_level(logging.DEBUG, logger=systemd.__name__)
    return caplog


@pytest.fixture
def service_manager() -> Iterator[socket.socket]:
    """Return the socket on which a service manager listens, not bound yet."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE_SECONDS)
        yield sock


def test_notification_arrives_as_one_datagram(
    service_manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable stays, for the next notification."""
    service_manager.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    systemd.notify("READY=1\nSTATUS=6 devices, é")
    systemd.notify("STOPPING=1")
    assert service_manager.recv(100) == "READY=1\nSTATUS=6 devices, é".encode()
    assert service_manager.recv(100) == b"STOPPING=1"


def test_notification_reaches_a_socket_in_the_abstract_namespace(
    service_manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leading `@` stands for NUL, which a variable cannot hold."""
    service_manager.bind(b"")  # the kernel finds a free abstract address, unix(7)
    address = service_manager.getsockname()
    assert address[:1] == b"\0"
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + address[1:].decode())
    systemd.notify("READY=1")
    assert service_manager.recv(100) == b"READY=1"


def test_notification_without_a_service_manager_goes_nowhere(
    monkeypatch: pytest.MonkeyPatch, debug_log: pytest.LogCaptureFixture
) -> None:
    """A daemon started from a shell notifies nothing and logs nothing."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setattr(socket, "socket", None)  # no socket is made
    systemd.notify("READY=1")
    assert debug_log.records == []


@pytest.mark.parametrize("address", ["/nowhere/notify", "/" + "x" * 200, "vsock:2:9999"])
def test_notification_that_cannot_be_sent_is_logged(
    address: str, monkeypatch: pytest.MonkeyPatch, debug_log: pytest.LogCaptureFixture
) -> None:
    """The daemon goes on."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.notify("READY=1")
    assert [record.levelno for record in debug_log.records] == [logging.DEBUG]
    assert f"cannot notify {address}: " in debug_log.text


def test_notification_to_a_full_queue_does_not_block(
    service_manager: socket.socket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    debug_log: pytest.LogCaptureFixture,
) -> None:
    """A service manager that does not read does not block the event loop."""
    service_manager.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    sent = 0
    while not debug_log.records:
        systemd.notify("WATCHDOG=1")
        sent += 1
    service_manager.setblocking(False)
    arrived = 0
    while _receives(service_manager):
        arrived += 1
    assert arrived == sent - 1


def _receives(sock: socket.socket) -> bool:
    try:
        return sock.recv(100) == b"WATCHDOG=1"
    except BlockingIOError:
        return False


@pytest.mark.parametrize(
    ("microseconds", "process", "seconds"),
    [
        ("30000000", None, 30.0),
        ("30000000", "self", 30.0),
        ("1500000", "", 1.5),
        ("1", None, 1e-6),
        ("30000000", "1", None),
        ("30000000", "nonsense", None),
        (None, None, None),
        (None, "self", None),
        ("0", None, None),
        ("-1", None, None),
        ("1.5", None, None),
        ("", None, None),
    ],
)
def test_watchdog_interval_is_that_of_this_process(
    microseconds: str | None,
    process: str | None,
    seconds: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In seconds; None without a watchdog for this process."""
    variables = {
        "WATCHDOG_USEC": microseconds,
        "WATCHDOG_PID": str(os.getpid()) if process == "self" else process,
    }
    for name, value in variables.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert systemd.watchdog_interval() == seconds
