"""What systemd hands over, and what it is told."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from nodedevd import systemd

REPOSITORY = Path(__file__).parents[1]
PATIENCE_SECONDS = 30

# Puts what is asked for at descriptors 3 and up, as a service manager does before exec(2);
# PID in the environment stands for its own.
RECEIVE = """
import fcntl, json, os, socket, sys
from nodedevd import systemd

made = {"socket": lambda: socket.socket(socket.AF_UNIX).detach(),
        "file": lambda: os.open("/dev/null", os.O_RDONLY)}
request = json.loads(sys.argv[1])
kept = [fcntl.fcntl(made[kind](), fcntl.F_DUPFD, 20) for kind in request["descriptors"]]
os.closerange(3, 20)
for number, descriptor in enumerate(kept):
    os.dup2(descriptor, 3 + number, inheritable=True)
for name, value in request["environment"].items():
    os.environ[name] = str(os.getpid()) if value == "PID" else value

sockets = systemd.listen_sockets()
print(json.dumps({
    "sockets": [[name, sock.fileno(), sock.family == socket.AF_UNIX] for name, sock in sockets],
    "environment": [name for name in os.environ if name.startswith("LISTEN_")],
    "inheritable": [os.get_inheritable(3 + number) for number in range(len(kept))],
}))
"""

ANSWER = """
import os
from nodedevd import systemd
[(name, sock)] = systemd.listen_sockets()
connection, _ = sock.accept()
connection.sendall(f"{name} {sock.fileno()} {sock.getsockname()}".encode())
"""


class Received(msgspec.Struct):
    """What a process found."""

    sockets: list[tuple[str, int, bool]]
    """name, descriptor, is a Unix socket"""
    environment: list[str]
    inheritable: list[bool]
    log: str = ""


def receive(*descriptors: str, **environment: str) -> Received:
    """Let a process of its own take what it is handed over: descriptors, LISTEN_ variables."""
    names = {f"LISTEN_{name}": value for name, value in environment.items()}
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            RECEIVE,
            json.dumps({"descriptors": descriptors, "environment": names}),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return msgspec.structs.replace(
        msgspec.json.decode(result.stdout, type=Received), log=result.stderr
    )


def test_sockets_handed_over_are_returned_with_their_names() -> None:
    """Each socket keeps its descriptor, and gets the name at its place."""
    received = receive("socket", "socket", PID="PID", FDS="2", FDNAMES="varlink:libvirt")
    assert received.sockets == [("varlink", 3, True), ("libvirt", 4, True)]


def test_sockets_handed_over_are_kept_from_children() -> None:
    """Neither the descriptors nor the variables that tell of them are inherited."""
    received = receive("socket", "socket", PID="PID", FDS="2", FDNAMES="varlink:libvirt")
    assert received.inheritable == [False, False]
    assert received.environment == []


def test_sockets_for_another_process_are_left_alone() -> None:
    """A child of the process they were meant for takes nothing, and forgets of them."""
    received = receive("socket", PID="1", FDS="1", FDNAMES="varlink")
    assert received.sockets == []
    assert received.inheritable == [True]
    assert received.environment == []


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"FDS": "1"},
        {"PID": "PID"},
        {"PID": "PID", "FDS": "0"},
        {"PID": "PID", "FDS": "-1"},
        {"PID": "PID", "FDS": "many"},
        {"PID": "", "FDS": "1"},
    ],
    ids=["nothing", "no-pid", "no-count", "none", "negative", "no-number", "empty-pid"],
)
def test_environment_without_activation_gives_no_sockets(environment: dict[str, str]) -> None:
    """What is not said completely and rightly is not said."""
    received = receive("socket", **environment)
    assert received.sockets == []
    assert received.inheritable == [True]


@pytest.mark.parametrize(
    ("names", "expected"), [({}, ["", ""]), ({"FDNAMES": "varlink"}, ["varlink", ""])]
)
def test_sockets_without_names_have_empty_ones(names: dict[str, str], expected: list[str]) -> None:
    """Names may be fewer than sockets, or missing."""
    received = receive("socket", "socket", PID="PID", FDS="2", **names)
    assert [name for name, _, _ in received.sockets] == expected


def test_descriptor_that_is_no_socket_is_passed_over() -> None:
    """A file between the sockets is warned of; the names stay with their places."""
    received = receive("file", "socket", PID="PID", FDS="2", FDNAMES="file:varlink")
    assert received.sockets == [("varlink", 4, True)]
    assert "descriptor 3 from systemd is no socket" in received.log


def test_descriptor_that_is_not_open_is_passed_over() -> None:
    """A count that promises too much is warned of."""
    received = receive("socket", PID="PID", FDS="2")
    assert received.sockets == [("", 3, True)]
    assert "descriptor 4 from systemd is no socket" in received.log


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None,
    reason="systemd-socket-activate (package systemd) is missing",
)
def test_systemd_socket_activate_hands_over_a_socket_that_answers(tmp_path: Path) -> None:
    """The tool of systemd and we mean the same; see systemd-socket-activate(1)."""
    path = tmp_path / "socket"
    command = ["systemd-socket-activate", "-l", str(path), "--fdname=varlink"]
    with subprocess.Popen(
        [*command, sys.executable, "-c", ANSWER],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            assert "Listening" in process.stderr.readline()
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(PATIENCE_SECONDS)
                client.connect(str(path))
                assert client.recv(1000).decode() == f"varlink 3 {path}"
            assert process.wait(PATIENCE_SECONDS) == 0
        finally:
            process.kill()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Return a service manager's end of $NOTIFY_SOCKET."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE_SECONDS)
        sock.bind(path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield sock


def test_notified_state_arrives_as_one_message(manager: socket.socket) -> None:
    """Several assignments go together."""
    systemd.notify("READY=1\nSTATUS=3 Geräte")
    assert manager.recv(1000) == "READY=1\nSTATUS=3 Geräte".encode()


def test_notified_states_arrive_in_order(manager: socket.socket) -> None:
    """Every call is a message of its own."""
    systemd.notify("READY=1")
    systemd.notify("STOPPING=1")
    assert [manager.recv(1000), manager.recv(1000)] == [b"READY=1", b"STOPPING=1"]


def test_notify_reaches_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address with @ means the abstract namespace, as systemd itself uses it."""
    name = f"nodedevd-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE_SECONDS)
        sock.bind(f"\0{name}")
        systemd.notify("WATCHDOG=1")
        assert sock.recv(1000) == b"WATCHDOG=1"


def test_notify_keeps_the_address_for_the_next_time(manager: socket.socket) -> None:
    """The environment is not consumed, a watchdog needs it again."""
    systemd.notify("WATCHDOG=1")
    assert os.environ["NOTIFY_SOCKET"] == manager.getsockname()


@pytest.mark.parametrize("address", [None, ""])
def test_notify_without_a_manager_does_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str | None
) -> None:
    """Started by hand there is nobody to tell, and nothing to log."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    caplog.set_level(logging.DEBUG)
    systemd.notify("READY=1")
    assert caplog.messages == []


@pytest.mark.parametrize("address", ["/nonexistent/notify", "@nobody-there", "/" + "x" * 200])
def test_notify_of_a_missing_manager_is_a_matter_of_debugging(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    """A manager that cannot be told does not stop the daemon."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    caplog.set_level(logging.DEBUG)
    systemd.notify("READY=1")
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


def test_notify_of_a_manager_that_went_away_is_a_matter_of_debugging(
    manager: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    """The socket's file is still there, and nobody behind it."""
    manager.close()
    caplog.set_level(logging.DEBUG)
    systemd.notify("READY=1")
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


@pytest.mark.usefixtures("manager")
def test_notify_of_a_manager_that_does_not_read_does_not_block(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once its queue is full, messages are lost, and the event loop goes on."""
    caplog.set_level(logging.DEBUG)
    for _ in range(100_000):
        if caplog.records:
            break
        systemd.notify("WATCHDOG=1")
    assert "cannot notify" in caplog.messages[0]


@pytest.mark.parametrize(
    ("process", "microseconds", "seconds"),
    [
        (None, "30000000", 30.0),
        ("", "30000000", 30.0),
        ("PID", "1500000", 1.5),
        ("PID", "1", 0.000001),
        ("1", "30000000", None),
        ("other", "30000000", None),
        ("PID", None, None),
        ("PID", "", None),
        ("PID", "0", None),
        ("PID", "-5", None),
        ("PID", "soon", None),
        (None, None, None),
    ],
)
def test_watchdog_interval_is_what_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
    process: str | None,
    microseconds: str | None,
    seconds: float | None,
) -> None:
    """Seconds where a watchdog was set for this process, else None."""
    for name, value in (("WATCHDOG_PID", process), ("WATCHDOG_USEC", microseconds)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, str(os.getpid()) if value == "PID" else value)
    assert systemd.watchdog_interval() == seconds
