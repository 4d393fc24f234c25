"""The daemon as a process: start, stop, sockets, log and notifications."""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from nodedevd.client import Client
from nodedevd.host.sysroot import Sysroot
from nodedevd.tree.read import scan
from tests.support.hosts import host_file
from tests.support.running import COMMAND, REPOSITORY, running, started
from tests.support.trees import Tree

HOST = host_file("vgpu-pf")
NOBODY = 65534


def devices_of(path: Path) -> int:
    """Return the number of devices that the daemon on this socket serves."""
    with Client(str(path)) as client:
        return sum(msgspec.structs.astuple(client.status().state_counts))


def devices_on(sysroot: Path) -> int:
    """Return the number of devices of a host."""
    return len(scan(Sysroot(str(sysroot))))


@pytest.fixture
def blocked_host(tmp_path: Path) -> Path:
    """Return a host on which the read of one attribute hangs."""
    root = tmp_path / "blocked"
    tree = Tree(root)
    device = tree.pci("0000:00:02.0", vendor=0x1234, device=0x1111, class_=0x030000)
    uevent = Path(tree.at(f"{device}/uevent"))
    uevent.unlink()
    os.mkfifo(uevent)
    return root


@contextmanager
def reader_of(fifo: Path) -> Iterator[int]:
    """Wait until a FIFO is opened for reading, and hold its other end."""
    writer = os.open(fifo, os.O_WRONLY)
    try:
        yield writer
    finally:
        os.close(writer)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_with_status_0_and_removes_its_socket(
    tmp_path: Path, signum: signal.Signals
) -> None:
    """SIGTERM and SIGINT are no failures; no file is left behind."""
    path = tmp_path / "nodedevd.sock"
    with running(tmp_path, HOST) as daemon:
        assert devices_of(path) == devices_on(HOST)
        assert daemon.stop(signum) == 0
        daemon.drain()
        assert daemon.notified[-1] == "STOPPING=1"
    assert [one.name for one in tmp_path.iterdir() if "sock" in one.name] == []


def test_signal_while_a_client_is_connected_ends_both(tmp_path: Path) -> None:
    """A connected client does not delay the stop; its connection is closed."""
    with running(tmp_path, HOST) as daemon, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "nodedevd.sock"))
        client.sendall(b'{"method":"org.varlink.service.GetInfo"}\0')
        assert client.recv(1 << 16).endswith(b"\0")
        assert daemon.stop() == 0
        assert client.recv(1) == b""


def test_second_daemon_on_an_alive_socket_exits_3_and_harms_nothing(tmp_path: Path) -> None:
    """The second logs what to do; the first still serves."""
    path = tmp_path / "nodedevd.sock"
    second_directory = tmp_path / "second"
    second_directory.mkdir()
    arguments = ("--sysroot", str(HOST), "--socket", str(path))
    with running(tmp_path, HOST) as first:
        with started(second_directory, *arguments) as second:
            assert second.wait_ended() == 3
            assert second.log == (
                f"nodedevd: ERROR: another daemon already serves {path}; stop it, or give "
                "this one a socket of its own with --socket\n"
            )
        assert devices_of(path) == devices_on(HOST)
        assert first.process.poll() is None


def test_stale_socket_of_a_killed_daemon_is_taken_over(tmp_path: Path) -> None:
    """A killed daemon leaves its socket; the next one serves on it."""
    path = tmp_path / "nodedevd.sock"
    with running(tmp_path, HOST) as killed:
        assert killed.stop(signal.SIGKILL) == -signal.SIGKILL
    assert stat.S_ISSOCK(path.stat().st_mode)
    other = host_file("vgpu-sriov")
    with running(tmp_path, other):
        assert devices_of(path) == devices_on(other) != devices_on(HOST)


def test_socket_is_open_to_all_by_default(tmp_path: Path) -> None:
    """Every user can read in sysfs what the daemon serves."""
    with running(tmp_path, HOST):
        assert stat.S_IMODE((tmp_path / "nodedevd.sock").stat().st_mode) == 0o666


@pytest.mark.needs("root")
def test_socket_mode_and_group_are_as_asked_for(tmp_path: Path) -> None:
    """--socket-mode and --socket-group restrict which users can connect."""
    with running(tmp_path, HOST, "--socket-mode", "660", "--socket-group", "daemon"):
        status = (tmp_path / "nodedevd.sock").stat()
    assert stat.S_IMODE(status.st_mode) == 0o660
    assert status.st_gid == 1


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--sysroot", "/nowhere"], 1, "/nowhere is not a sysroot: it has no directory sys/"),
        (["--socket-mode", "999"], 2, "'999' is no file mode; give three octal digits, as 660"),
        (["--socket-mode", "1777"], 2, "'1777' is no file mode"),
        (["--socket-group", "no such group"], 1, "the group 'no such group' does not exist"),
        (["--socket", "/proc/nodedevd.sock"], 1, "/proc/nodedevd.sock"),
        (["--socket", "/" + "x" * 108], 1, "the path of a socket has at most 107 bytes"),
        (["--no-such-option"], 2, "No such option"),
    ],
)
def test_failure_is_one_line_of_the_log(
    tmp_path: Path, arguments: list[str], status: int, said: str
) -> None:
    """A failure is an exit status and one line with its cause, without a traceback."""
    base = ["--sysroot", str(HOST), "--socket", str(tmp_path / "nodedevd.sock")]
    with started(tmp_path, *base, *arguments) as daemon:
        assert daemon.wait_ended() == status
        assert said in daemon.log
        assert "Traceback" not in daemon.log
        assert daemon.notified == []
    assert not (tmp_path / "nodedevd.sock").exists()


def test_help_shows_an_example_line_by_line(tmp_path: Path) -> None:
    """The example can be copied."""
    with started(tmp_path, "--help") as daemon:
        assert daemon.wait_ended() == 0
        lines = [line.strip() for line in daemon.log.splitlines()]
    assert "nodedevctl --socket /tmp/nodedevd.sock tree" in lines
    assert "--socket-mode MODE" in daemon.log
    assert "\\b" not in daemon.log


def test_start_is_logged_with_the_number_of_devices(tmp_path: Path) -> None:
    """The log has the host, the socket, the devices, and the time of the scan."""
    with running(tmp_path, HOST) as daemon:
        path = tmp_path / "nodedevd.sock"
        said = f"nodedevd: INFO: serving {HOST} on {path}: {devices_on(HOST)} devices, read in "
        assert daemon.log.startswith(said)
        assert len(daemon.log.splitlines()) == 1


def test_verbose_logs_what_could_not_be_read(tmp_path: Path) -> None:
    """With -v every read error is a line of the log; without -v none is."""
    with running(tmp_path, host_file("broken")) as quiet:
        assert "DEBUG" not in quiet.log
    verbose = tmp_path / "verbose"
    verbose.mkdir()
    with running(verbose, host_file("broken"), "-v") as daemon:
        debug = [line for line in daemon.log.splitlines() if ": DEBUG: " in line]
    assert "nodedevd: DEBUG: pci_0000_00_08_0: vendor: malformed garbage" in debug
    assert all(line.isprintable() for line in debug)


def test_log_lines_for_the_journal_begin_with_their_priority(tmp_path: Path) -> None:
    """With JOURNAL_STREAM a priority replaces the name of the program, sd-daemon(3)."""
    journal = {"JOURNAL_STREAM": "8:1"}
    with running(tmp_path, host_file("broken"), "-v", environment=journal) as daemon:
        lines = daemon.log.splitlines()
    assert lines[0].startswith("<6>serving ")
    assert {line[:3] for line in lines[1:]} == {"<7>"}
    failing = tmp_path / "failing"
    failing.mkdir()
    with started(failing, "--sysroot", "/nowhere", environment=journal) as daemon:
        assert daemon.wait_ended() == 1
        assert daemon.log.startswith("<3>/nowhere is not a sysroot")


def test_log_that_nobody_reads_stops_neither_clients_nor_the_end(tmp_path: Path) -> None:
    """Clients that make the daemon log are served; SIGTERM ends it. `status` counts the loss."""
    path, libvirt = tmp_path / "nodedevd.sock", tmp_path / "libvirt.sock"
    end, log = os.pipe()
    os.set_blocking(log, False)
    with suppress(BlockingIOError):
        while True:
            os.write(log, b"x" * 4096)
    os.set_blocking(log, True)
    command = ("sh", "-c", f'exec "$@" 2>/proc/{os.getpid()}/fd/{log}', "sh", *COMMAND)
    arguments = ("--libvirt-socket", str(libvirt))
    with running(tmp_path, HOST, *arguments, command=command) as daemon:
        for _ in range(50):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(libvirt))
                client.sendall(b"\0\0\0\1")
                assert client.recv(1) == b""
        with Client(str(path)) as client:
            assert client.status().log_left_out == 40
        assert daemon.stop() == 0
    os.close(log)
    os.close(end)


def test_ready_is_notified_after_the_scan_alone(tmp_path: Path, blocked_host: Path) -> None:
    """READY=1 is sent after the scan; from then on all devices are served."""
    fifo = next(blocked_host.rglob("0000:00:02.0/uevent"))
    path = tmp_path / "nodedevd.sock"
    with started(tmp_path, "--sysroot", str(blocked_host), "--socket", str(path)) as daemon:
        with reader_of(fifo) as uevent:
            assert daemon.notified == []
            with socket.socket(socket.AF_UNIX) as early:
                early.connect(str(path))  # it may wait in the backlog meanwhile
            os.write(uevent, b"PCI_ID=1234:1111\nPCI_CLASS=30000\n")
        daemon.wait_notified("READY=1")
        assert devices_of(path) == 2
        status = [line for line in daemon.notified if line.startswith("STATUS=")]
        assert status[0].startswith("STATUS=2 devices, read in ")
        assert daemon.stop() == 0


def test_sigterm_during_a_scan_that_hangs_ends_it_with_status_0(
    tmp_path: Path, blocked_host: Path
) -> None:
    """A read that hangs is left behind."""
    fifo = next(blocked_host.rglob("0000:00:02.0/uevent"))
    path = tmp_path / "nodedevd.sock"
    with started(tmp_path, "--sysroot", str(blocked_host), "--socket", str(path)) as daemon:
        with reader_of(fifo):
            assert daemon.stop() == 0
        assert daemon.notified == []
        assert "Traceback" not in daemon.log
    assert not path.exists()


def test_watchdog_is_fed_again_and_again(tmp_path: Path) -> None:
    """With WATCHDOG_USEC, sd_watchdog_enabled(3), WATCHDOG=1 is sent again and again."""
    with running(tmp_path, HOST, environment={"WATCHDOG_USEC": "20000"}) as daemon:
        daemon.wait_notified("WATCHDOG=1", times=3)


def test_watchdog_of_another_process_is_not_fed(tmp_path: Path) -> None:
    """WATCHDOG_PID names the process that has a watchdog."""
    environment = {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}
    with running(tmp_path, HOST, environment=environment) as daemon:
        assert daemon.stop() == 0
        daemon.drain()
        assert "STOPPING=1" in daemon.notified
        assert "WATCHDOG=1" not in daemon.notified


def activated(path: Path) -> list[str]:
    """Return a command that listens on a path and starts a daemon for the first client."""
    return ["systemd-socket-activate", "--listen", str(path), "-E", "NOTIFY_SOCKET", *COMMAND]


@pytest.mark.needs("systemd-socket-activate")
def test_socket_of_systemd_is_served_and_left_in_place(tmp_path: Path) -> None:
    """The client that caused the start is answered; systemd removes the file, not the daemon."""
    path = tmp_path / "activated.sock"
    with started(tmp_path, "--sysroot", str(HOST), command=activated(path)) as daemon:
        daemon.wait_logged("Listening on")
        assert devices_of(path) == devices_on(HOST)
        daemon.wait_notified("READY=1")
        assert "serving on the socket" in daemon.log
        assert daemon.stop() == 0
    assert stat.S_ISSOCK(path.stat().st_mode)


@pytest.mark.needs("systemd-socket-activate")
def test_socket_option_wins_over_a_socket_of_systemd(tmp_path: Path) -> None:
    """The daemon serves on the path of --socket."""
    path, wanted = tmp_path / "activated.sock", tmp_path / "wanted.sock"
    arguments = ("--sysroot", str(HOST), "--socket", str(wanted))
    with started(tmp_path, *arguments, command=activated(path)) as daemon:
        daemon.wait_logged("Listening on")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            daemon.wait_notified("READY=1")
        assert devices_of(wanted) == devices_on(HOST)
        assert daemon.stop() == 0
    assert not wanted.exists()


# Its Python may lie where nobody else can go: it has imported all before it becomes somebody else.
UNPRIVILEGED = f"""
import importlib.readers, os, nodedevd.__main__, nodedevd.command
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
nodedevd.__main__.main()
"""


@pytest.fixture
def home_of_nobody() -> Iterator[Path]:
    """Return a directory that an unprivileged user owns."""
    if any(path.stat().st_mode & 0o005 != 0o005 for path in (REPOSITORY, *REPOSITORY.parents)):
        pytest.skip("this checkout lies where nobody else can go")
    with tempfile.TemporaryDirectory(prefix="nodedevd-") as directory:
        os.chown(directory, NOBODY, NOBODY)
        yield Path(directory)


@pytest.mark.needs("root")
def test_unprivileged_daemon_serves_in_the_users_runtime_directory(home_of_nobody: Path) -> None:
    """The daemon runs without root, and status says so."""
    environment = {"HOME": str(home_of_nobody), "XDG_RUNTIME_DIR": str(home_of_nobody)}
    with started(
        home_of_nobody,
        *("--sysroot", str(HOST)),
        environment=environment,
        command=[sys.executable, "-c", UNPRIVILEGED],
    ) as daemon:
        daemon.wait_notified("READY=1")
        path = home_of_nobody / "nodedevd" / "org.nodedevd.Devices"
        assert path.stat().st_uid == NOBODY
        with Client(str(path)) as client:
            status = client.status()
        assert not status.privileged
        assert status.state_counts.active == devices_on(HOST)
        assert status.pid == daemon.process.pid
        assert daemon.stop() == 0
    assert not path.exists()
