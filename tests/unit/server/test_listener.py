"""Listener: the file of the socket, its mode and group, and its lock."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from nodedevd.errors import SocketInUse
from nodedevd.server.listener import (
    _SO_PASSRIGHTS,
    BadSocketPath,
    Listener,
    make_runtime_directory,
    open_listener,
)
from nodedevd.socket_paths import candidate_socket_paths, default_socket_path

# root may give a file to any group, others to their own
GROUP = grp.getgrgid(1 if os.geteuid() == 0 else os.getegid())


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Return a path for a socket."""
    return str(tmp_path / "devices")


@contextmanager
def opened(path: str, **options: int | str) -> Iterator[Listener]:
    """Open a listener, and close it at the end."""
    listener = open_listener(path, **options)  # type: ignore[arg-type]
    try:
        yield listener
    finally:
        listener.close()


@contextmanager
def foreign(path: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> Iterator[socket.socket]:
    """Bind a socket without a listener; its file stays."""
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.bind(path)
        if kind != socket.SOCK_DGRAM:
            sock.listen(0)
        yield sock


def test_descriptors_of_clients_are_refused(path: str) -> None:
    """Closing one that nobody wants could take as long as its sender likes."""
    with opened(path) as listener, socket.socket(socket.AF_UNIX) as client:
        try:
            passed = listener.socket.getsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS)
        except OSError:
            pytest.skip("needs Linux 6.16")
        assert not passed
        client.connect(path)
        with pytest.raises(PermissionError):
            socket.send_fds(client, [b"x"], [0])
        client.sendall(b"x")


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Set the umask within a block."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def connects(path: str) -> bool:
    """Return whether a socket listens at a path."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except ConnectionRefusedError:
            return False
    return True


def mode_of(path: str | Path) -> int:
    """Return a file's mode without its type."""
    return stat.S_IMODE(os.stat(path).st_mode)


# Serving


def test_listener_takes_connections_at_its_path(path: str) -> None:
    """A client is accepted, and child processes do not inherit the socket."""
    with opened(path) as listener, socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        accepted, _ = listener.socket.accept()
        with accepted:
            accepted.sendall(b"hello")
        assert client.recv(100) == b"hello"
        assert listener.path == path
        assert not listener.socket.get_inheritable()


def test_relative_path_stays_the_same_after_chdir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that changes its directory still removes its own file."""
    monkeypatch.chdir(tmp_path)
    with opened("devices") as listener:
        assert listener.path == str(tmp_path / "devices")
        monkeypatch.chdir("/")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_mode_of_socket_and_runtime_directory_is_free_of_the_umask(
    tmp_path: Path, mask: int
) -> None:
    """By default, all users may connect, and enter the directory that was created."""
    path = tmp_path / "nodedevd" / "devices"
    with umask(mask):
        assert make_runtime_directory(str(path))
        assert not make_runtime_directory(str(path))
        with opened(str(path)):
            assert mode_of(path) == 0o666
            assert mode_of(path.parent) == 0o755


def test_runtime_directory_in_a_missing_one_is_not_created(tmp_path: Path) -> None:
    """Without a session there is no /run/user/UID, which only logind creates."""
    path = tmp_path / "gone" / "nodedevd" / "devices"
    with pytest.raises(BadSocketPath, match=r"cannot create .*/gone/nodedevd: No such file"):
        make_runtime_directory(str(path))
    assert os.listdir(tmp_path) == []


def test_directory_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    """Its mode was chosen by another."""
    tmp_path.chmod(0o700)
    with opened(str(tmp_path / "devices")):
        assert mode_of(tmp_path) == 0o700


@pytest.mark.parametrize("group", [GROUP.gr_gid, GROUP.gr_name])
def test_mode_and_group_are_as_asked_for(path: str, group: int | str) -> None:
    """A group is given by name or number."""
    with opened(path, mode=0o660, group=group):
        assert mode_of(path) == 0o660
        assert os.stat(path).st_gid == GROUP.gr_gid


def test_nobody_connects_before_the_group_is_set(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mode is that of its file from the start; without its group it accepts no connection."""
    connected: list[bool] = []

    def tried_before(change: Callable[..., None]) -> Callable[..., None]:
        def changed(*arguments: int | str) -> None:
            connected.append(connects(path))
            change(*arguments)

        return changed

    monkeypatch.setattr(os, "chown", tried_before(os.chown))
    with opened(path, mode=0o660, group=GROUP.gr_gid):
        assert connected == [False]
        assert connects(path)


def test_path_of_107_bytes_serves_and_one_of_108_is_refused(tmp_path: Path) -> None:
    """The limit counts bytes, not characters: an `é` has two."""
    room = 107 - len(os.fsencode(f"{tmp_path}/"))
    with opened(f"{tmp_path}/{'x' * room}") as listener:
        assert connects(listener.path)
    with pytest.raises(BadSocketPath, match="at most 107 bytes"):
        open_listener(f"{tmp_path}/{'x' * (room - 1)}é")
    assert os.listdir(tmp_path) == []


# What is there already


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM])
def test_stale_socket_is_taken_over(path: str, kind: socket.SocketKind) -> None:
    """The file of a socket that no process has open is replaced."""
    with foreign(path, kind):
        pass
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    with opened(path):
        assert connects(path)


def test_socket_and_lock_of_a_killed_daemon_are_taken_over(path: str) -> None:
    """A lock without a holder does not exclude another daemon."""
    with foreign(path):
        pass
    Path(f"{path}.lock").touch()
    with opened(path):
        assert connects(path)


def test_alive_socket_of_a_daemon_is_not_taken_over(path: str) -> None:
    """The error names the path, and the first daemon continues to serve."""
    with opened(path):
        with pytest.raises(SocketInUse) as caught:
            open_listener(path)
        assert caught.value.path == path
        assert connects(path)
    assert not os.path.exists(path)


def test_daemon_without_its_file_still_excludes_another(path: str) -> None:
    """It holds the lock, even if its socket was removed."""
    with opened(path):
        os.unlink(path)
        with pytest.raises(SocketInUse):
            open_listener(path)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM])
def test_alive_socket_of_another_program_is_not_taken_over(
    path: str, kind: socket.SocketKind
) -> None:
    """It holds no lock, but it is in use, whatever its type."""
    with foreign(path, kind):
        found = os.lstat(path)
        with pytest.raises(SocketInUse):
            open_listener(path)
        assert os.path.samestat(found, os.lstat(path))
        assert not os.path.exists(f"{path}.lock")


def test_alive_socket_with_a_full_backlog_is_not_taken_over(path: str) -> None:
    """A server that is too busy to accept is in use; the daemon does not wait for it."""
    with foreign(path), ExitStack() as clients:
        refused = 0
        while not refused:
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            refused = client.connect_ex(path)
        assert refused == errno.EAGAIN
        with pytest.raises(SocketInUse):
            open_listener(path)


@pytest.mark.parametrize("kind", ["file", "directory", "fifo", "link", "dangling link"])
def test_what_is_no_socket_is_left_in_place(path: str, kind: str) -> None:
    """A mistyped --socket deletes no file; links are not followed, not even to sockets."""
    elsewhere = f"{path}.elsewhere"
    match kind:
        case "file":
            Path(path).touch()
        case "directory":
            os.mkdir(path)
        case "fifo":
            os.mkfifo(path)
        case "link":
            with foreign(elsewhere):
                os.symlink(elsewhere, path)
        case _:
            os.symlink(elsewhere, path)
    found = os.lstat(path)
    with pytest.raises(BadSocketPath, match="not a socket") as caught:
        open_listener(path)
    assert caught.value.code == "bad-socket-path"
    assert str(caught.value).startswith(f"cannot serve on {path}: ")
    assert os.path.samestat(found, os.lstat(path))
    assert not os.path.exists(f"{path}.lock")


def test_lock_that_is_a_link_is_not_followed(path: str) -> None:
    """In a directory that others may write to, root cannot be made to create files elsewhere."""
    os.symlink(f"{path}.elsewhere", f"{path}.lock")
    with pytest.raises(BadSocketPath, match=r"\.lock"):
        open_listener(path)
    assert not os.path.exists(f"{path}.elsewhere")
    assert os.path.islink(f"{path}.lock")


def test_link_in_the_place_of_the_new_socket_is_not_followed(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a directory that others may write to, root cannot be made to open its files to them."""
    victim = tmp_path / "victim"
    victim.touch(0o600)
    before = os.stat(victim)

    class Replaced(socket.socket):
        def bind(self, address: str) -> None:  # type: ignore[override]
            super().bind(address)
            os.unlink(address)
            os.symlink(victim, address)

    monkeypatch.setattr(socket, "socket", Replaced)
    with pytest.raises(BadSocketPath, match="another file took its place"):
        open_listener(path, mode=0o666, group=GROUP.gr_gid)
    after = os.stat(victim)
    assert (after.st_mode, after.st_gid) == (before.st_mode, before.st_gid)
    assert os.path.islink(path)


@pytest.mark.parametrize("mode", [0o777, 0o707])
def test_directory_that_everybody_may_change_is_refused(path: str, mode: int) -> None:
    """Any user could put another socket there, and listen to what clients of root ask."""
    os.chmod(os.path.dirname(path), mode)
    with pytest.raises(BadSocketPath, match=r"every user can replace files in .*; choose a dir"):
        open_listener(path)
    os.chmod(os.path.dirname(path), mode | stat.S_ISVTX)  # as /tmp
    with opened(path):
        assert connects(path)
    assert os.listdir(os.path.dirname(path)) == []


def test_lock_is_for_its_owner_alone(path: str) -> None:
    """A user who can open a file can hold its lock, and keep the daemon from starting."""
    Path(f"{path}.lock").touch()
    os.chmod(f"{path}.lock", 0o666)
    with opened(path):
        assert mode_of(f"{path}.lock") == 0o600


@pytest.mark.parametrize("kind", ["fifo", "directory"])
def test_lock_that_is_no_file_is_refused(path: str, kind: str) -> None:
    """Opening it does not wait for anybody."""
    (os.mkfifo if kind == "fifo" else os.mkdir)(f"{path}.lock")
    with pytest.raises(BadSocketPath, match=r"devices\.lock"):
        open_listener(path)
    assert os.path.exists(f"{path}.lock")


@pytest.mark.parametrize("directory", ["made", "made/too", "file", "file/made"])
def test_missing_directory_is_named_and_not_created(tmp_path: Path, directory: str) -> None:
    """A mistyped path gives an error instead of directories that nobody wants."""
    (tmp_path / "file").touch()
    with pytest.raises(BadSocketPath, match=f"the directory .*/{directory} does not exist; create"):
        open_listener(str(tmp_path / directory / "devices"))
    assert os.listdir(tmp_path) == ["file"]


def test_group_that_does_not_exist_is_refused(path: str, tmp_path: Path) -> None:
    """Before a file is created."""
    with pytest.raises(BadSocketPath, match="the group 'no such group' does not exist"):
        open_listener(path, group="no such group")
    assert os.listdir(tmp_path) == []


def test_failure_after_bind_leaves_nothing_behind(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither socket nor lock stays when the daemon cannot serve; the next daemon can."""

    def refuse(path: str, user: int, group: int) -> None:
        raise PermissionError(1, "Operation not permitted", path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "chown", refuse)
        with pytest.raises(BadSocketPath, match="Operation not permitted"):
            open_listener(path, group=GROUP.gr_gid)
    assert os.listdir(tmp_path) == []
    with opened(path):
        assert connects(path)


# Clearing away


def test_close_removes_socket_and_lock(path: str, tmp_path: Path) -> None:
    """No file stays, closing twice is a no-op, and the next daemon can serve."""
    listener = open_listener(path)
    listener.close()
    assert os.listdir(tmp_path) == []
    with opened(path):
        listener.close()
        assert connects(path)


def test_close_leaves_what_somebody_else_put_there(path: str) -> None:
    """A file that this daemon did not create stays."""
    listener = open_listener(path)
    os.unlink(path)
    os.unlink(f"{path}.lock")
    with foreign(path):
        Path(f"{path}.lock").touch()
        listener.close()
        assert connects(path)
        assert os.path.exists(f"{path}.lock")


def test_close_after_the_directory_went_is_harmless(tmp_path: Path) -> None:
    """There is no file left to remove."""
    directory = tmp_path / "made"
    directory.mkdir()
    listener = open_listener(str(directory / "devices"))
    directory.rename(tmp_path / "away")
    listener.close()
    assert listener.socket.fileno() == -1


def test_adopted_socket_stays_in_place_when_it_is_closed(path: str) -> None:
    """Systemd owns its file, and ensures that only one service has it."""
    with foreign(path) as sock:
        listener = Listener.adopt(sock)
        assert listener.path == path
        assert connects(path)
        listener.close()
        assert sock.fileno() == -1
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    assert not os.path.exists(f"{path}.lock")


def test_adopted_socket_in_the_abstract_namespace_is_named_with_an_at() -> None:
    """The NUL in front of its name is not printed."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(b"")  # the kernel finds a free address, unix(7)
        name = sock.getsockname()[1:].decode()
        listener = Listener.adopt(sock)
        assert listener.path == f"@{name}"
        listener.close()


# Several at once


@pytest.mark.slow
def test_of_daemons_that_start_at_once_one_serves(path: str) -> None:
    """Whatever the order of their steps, all others get SocketInUse."""
    count = 8
    barrier = threading.Barrier(count)

    def start(_: int) -> Listener | None:
        barrier.wait()
        try:
            return open_listener(path)
        except SocketInUse:
            return None

    with ThreadPoolExecutor(count) as pool:
        for _ in range(50):
            with foreign(path):
                pass  # each round begins with a stale socket
            listeners = [one for one in pool.map(start, range(count)) if one is not None]
            assert len(listeners) == 1
            assert connects(path)
            listeners[0].close()
            assert not os.path.exists(path)


def test_lock_removed_while_another_waits_for_it_is_made_again(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that opened the lock of one that just ended does not hold an unlinked file."""
    first = open_listener(path)
    lock = fcntl.flock

    def end_first(descriptor: int, operation: int) -> None:
        first.close()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", end_first)
    with opened(path):
        assert connects(path)
        with open(f"{path}.lock") as held, pytest.raises(BlockingIOError):
            lock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_daemon_that_starts_while_another_removes_its_socket_is_refused(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is removed last, or the first would remove the new socket of the second."""
    refused: list[str] = []
    unlink = os.unlink

    def start_another(removed: str, *, dir_fd: int) -> None:
        with pytest.raises(SocketInUse):
            open_listener(path)
        refused.append(removed)
        unlink(removed, dir_fd=dir_fd)

    listener = open_listener(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", start_another)
        listener.close()
    assert refused == ["devices", "devices.lock"]


@pytest.mark.slow
def test_daemons_that_come_and_go_never_serve_at_the_same_time(path: str) -> None:
    """A daemon that ends removes neither socket nor lock of its successor."""
    serving = threading.Semaphore(1)

    def come_and_go(_: int) -> int:
        served = 0
        for _ in range(200):
            try:
                listener = open_listener(path)
            except SocketInUse:
                continue
            assert serving.acquire(blocking=False), "two serve at once"
            assert connects(path)
            served += 1
            serving.release()
            listener.close()
        return served

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(come_and_go, range(8))) > 0
    assert not os.path.exists(path)
    assert not os.path.exists(f"{path}.lock")


# Where


def test_root_serves_below_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's daemon has one path, whatever the session of root is."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/0")
    assert default_socket_path() == "/run/nodedevd/org.nodedevd.Devices"


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        ("/tmp/mine", "/tmp/mine/nodedevd/org.nodedevd.Devices"),
        ("", "/run/user/1000/nodedevd/org.nodedevd.Devices"),
        (None, "/run/user/1000/nodedevd/org.nodedevd.Devices"),
    ],
)
def test_user_serves_in_the_runtime_directory(
    monkeypatch: pytest.MonkeyPatch, directory: str | None, expected: str
) -> None:
    """XDG_RUNTIME_DIR is used if it is set, else where pam_systemd(8) puts it."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    if directory is not None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
    assert default_socket_path() == expected


@pytest.mark.parametrize(
    ("user", "chosen", "expected"),
    [
        (0, None, ["/run/nodedevd/org.nodedevd.Devices"]),
        (0, "", ["/run/nodedevd/org.nodedevd.Devices"]),
        (
            1000,
            None,
            [
                "/run/nodedevd/org.nodedevd.Devices",
                "/run/user/1000/nodedevd/org.nodedevd.Devices",
            ],
        ),
        (0, "/tmp/mine", ["/tmp/mine"]),
        (1000, "/tmp/mine", ["/tmp/mine"]),
    ],
)
def test_client_looks_for_the_systems_daemon_before_the_users_own(
    monkeypatch: pytest.MonkeyPatch, user: int, chosen: str | None, expected: list[str]
) -> None:
    """With NODEDEVD_SOCKET, only that path is tried."""
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.delenv("NODEDEVD_SOCKET", raising=False)
    if chosen is not None:
        monkeypatch.setenv("NODEDEVD_SOCKET", chosen)
    assert candidate_socket_paths() == expected
