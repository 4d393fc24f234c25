"""The socket in the file system: made, guarded, taken over, cleared away."""

from __future__ import annotations

import grp
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from nodedevd.errors import SocketInUse
from nodedevd.listener import (
    BadSocketPath,
    Listener,
    candidate_socket_paths,
    default_socket_path,
    open_listener,
)

REPOSITORY = Path(__file__).parents[1]
PATIENCE_SECONDS = 60
NOBODY = 65534

SERVE = """
import sys
from nodedevd.listener import open_listener
listener = open_listener(sys.argv[1])
print("serving", flush=True)
sys.stdin.read()
"""

# Ready, wait for the start, try once, keep what was won until the end of the input.
TRY_ONCE = """
import os, sys
from nodedevd.errors import SocketInUse
from nodedevd.listener import open_listener
print("ready", flush=True)
os.read(int(sys.argv[2]), 1)
try:
    listener = open_listener(sys.argv[1])
    print("won", flush=True)
except SocketInUse:
    print("in use", flush=True)
sys.stdin.read()
"""

# Ready, wait for the start, then open and close again and again; what only one may have at a
# time is a file that must not exist yet.
TRY_OFTEN = """
import os, socket, struct, sys
from nodedevd.errors import SocketInUse
from nodedevd.listener import open_listener
path = sys.argv[1]
print("ready", flush=True)
os.read(int(sys.argv[2]), 1)
won = 0
while won < 25:
    try:
        listener = open_listener(path)
    except SocketInUse:
        continue
    os.close(os.open(path + ".owner", os.O_CREAT | os.O_EXCL))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        peer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    assert struct.unpack("iII", peer)[0] == os.getpid()
    os.unlink(path + ".owner")
    listener.close()
    won += 1
print("done", flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Return where the tests serve; the directory is there."""
    return str(tmp_path / "socket")


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Run the test as somebody whom the file system can refuse something."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Set the umask for a while."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def python(code: str, *arguments: str, start: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run code in a process of its own, which ends with its standard input."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=() if start is None else (start,),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def contenders(code: str, path: str, count: int = 8) -> Iterator[list[subprocess.Popen[str]]]:
    """Run code in several processes that are let go at the same moment."""
    start, go = os.pipe()
    processes: list[subprocess.Popen[str]] = []
    try:
        for _ in range(count):
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", code, path, str(start)],
                    cwd=REPOSITORY,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    pass_fds=(start,),
                )
            )
        assert [line_of(process) for process in processes] == ["ready"] * count
        os.close(go)
        go = -1
        yield processes
    finally:
        os.close(start)
        if go >= 0:
            os.close(go)
        for process in processes:
            process.kill()
            process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    """Return the next line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip()


def mode_of(path: str | Path) -> int:
    """Return the permissions of a file."""
    return stat.S_IMODE(os.lstat(path).st_mode)


def answers(path: str) -> bool:
    """Tell whether somebody listens there."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


def leave_stale_socket(path: str) -> None:
    """Leave what a program leaves that was killed."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)


def a_group_to_give() -> int:
    """Return a group that is not the process's own, but that it may give to a file."""
    groups = [entry.gr_gid for entry in grp.getgrall()] if os.geteuid() == 0 else os.getgroups()
    others = sorted(set(groups) - {os.getegid()})
    if not others:
        pytest.skip("this user is in one group only")
    return others[0]


def test_missing_directories_are_made_for_all_to_enter(tmp_path: Path) -> None:
    """Every directory that was missing has the mode 0755, and the one above is not touched."""
    above = mode_of(tmp_path)
    with closing(open_listener(str(tmp_path / "run/nodedevd/socket"))):
        assert mode_of(tmp_path / "run") == 0o755
        assert mode_of(tmp_path / "run/nodedevd") == 0o755
        assert mode_of(tmp_path) == above


def test_directory_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    """An administrator's directory stays as it was set up."""
    tmp_path.chmod(0o700)
    with closing(open_listener(str(tmp_path / "socket"))):
        assert mode_of(tmp_path) == 0o700


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
def test_any_umask_leaves_the_modes_as_asked(tmp_path: Path, mask: int) -> None:
    """Neither the directories nor the socket depend on who started the daemon."""
    path = tmp_path / "run/nodedevd/socket"
    with umask(mask), closing(open_listener(str(path), mode=0o660)):
        assert mode_of(path) == 0o660
        assert mode_of(tmp_path / "run") == 0o755
        assert mode_of(tmp_path / "run/nodedevd") == 0o755
        assert mode_of(f"{path}.lock") & 0o077 == 0


def test_nothing_asked_lets_everybody_connect(path: str) -> None:
    """The default mode is 0666."""
    with closing(open_listener(path)):
        assert mode_of(path) == 0o666


def test_group_by_number_and_by_name_owns_the_socket(path: str) -> None:
    """The group can be given either way, and the user stays the daemon's."""
    group = a_group_to_give()
    for given in (group, grp.getgrgid(group).gr_name):
        with closing(open_listener(path, group=given)):
            assert os.lstat(path).st_gid == group
            assert os.lstat(path).st_uid == os.geteuid()


def test_unknown_group_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    """The error names the group, and nothing is left."""
    with pytest.raises(BadSocketPath, match="there is no group 'no-such-group'") as caught:
        open_listener(str(tmp_path / "run/socket"), group="no-such-group")
    assert caught.value.code == "bad-socket-path"
    assert list(tmp_path.iterdir()) == []


def test_group_that_cannot_be_given_is_refused(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may not give the socket to a group is told so, and nothing is left."""

    def refuse(place: str, user: int, group: int) -> None:
        raise PermissionError(1, "Operation not permitted", place)

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(BadSocketPath, match="Operation not permitted"):
        open_listener(path, group=0)
    assert list(tmp_path.iterdir()) == []


def test_client_before_mode_and_group_are_set_is_refused(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket that is bound and does not listen yet lets nobody in."""
    chmod = os.chmod
    answered = []

    def look_first(place: str, mode: int) -> None:
        answered.append(answers(path))
        chmod(place, mode)

    monkeypatch.setattr(os, "chmod", look_first)
    with closing(open_listener(path)):
        assert answered == [False]
        assert answers(path)


def test_root_serves_below_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's daemon has one place, and its clients look nowhere else."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/0")
    monkeypatch.delenv("NODEDEVD_SOCKET", raising=False)
    assert default_socket_path() == "/run/nodedevd/org.nodedevd.Devices"
    assert candidate_socket_paths() == ["/run/nodedevd/org.nodedevd.Devices"]


def test_user_serves_in_her_runtime_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's daemon serves her alone; her client asks the system's daemon first."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/somewhere")
    monkeypatch.delenv("NODEDEVD_SOCKET", raising=False)
    assert default_socket_path() == "/somewhere/nodedevd/org.nodedevd.Devices"
    assert candidate_socket_paths() == [
        "/run/nodedevd/org.nodedevd.Devices",
        "/somewhere/nodedevd/org.nodedevd.Devices",
    ]


@pytest.mark.parametrize("value", [None, ""])
def test_user_without_runtime_directory_serves_where_it_would_be(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """Without $XDG_RUNTIME_DIR, or with an empty one, it is the one of pam_systemd(8)."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    if value is not None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", value)
    assert default_socket_path() == "/run/user/1000/nodedevd/org.nodedevd.Devices"


def test_socket_in_the_environment_is_the_only_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    """$NODEDEVD_SOCKET leaves a client no choice; an empty one says nothing."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("NODEDEVD_SOCKET", "/tmp/mine")
    assert candidate_socket_paths() == ["/tmp/mine"]
    monkeypatch.setenv("NODEDEVD_SOCKET", "")
    assert candidate_socket_paths() == ["/run/nodedevd/org.nodedevd.Devices"]


def test_stale_socket_is_taken_over(path: str) -> None:
    """A socket nobody listens on is no obstacle."""
    leave_stale_socket(path)
    with closing(open_listener(path)):
        assert answers(path)


def test_socket_of_a_killed_daemon_is_taken_over(path: str) -> None:
    """A killed daemon leaves its socket and its lock, and the lock locks nothing."""
    with python(SERVE, path) as daemon:
        assert line_of(daemon) == "serving"
        daemon.kill()
        daemon.wait(PATIENCE_SECONDS)
    assert os.path.exists(path)
    assert os.path.exists(f"{path}.lock")
    with closing(open_listener(path)):
        assert answers(path)
    assert not os.path.exists(f"{path}.lock")


def test_socket_of_another_program_is_left_alone(path: str, tmp_path: Path) -> None:
    """A program that listens without a lock goes on, and no lock is left."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        with pytest.raises(SocketInUse, match="--socket"):
            open_listener(path)
        assert answers(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["socket"]


def test_program_with_a_full_backlog_is_left_alone(path: str) -> None:
    """A listener too busy to accept is alive."""
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as client:
        other.bind(path)
        other.listen(0)
        client.connect(path)
        with pytest.raises(SocketInUse):
            open_listener(path)
        other.setblocking(False)
        connection, _ = other.accept()
        connection.close()


def test_program_with_a_datagram_socket_is_left_alone(path: str) -> None:
    """A socket of another type is somebody's, too."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(path)
        with pytest.raises(SocketInUse):
            open_listener(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.sendto(b"still there", path)
        assert other.recv(100) == b"still there"


def test_second_listener_of_the_process_is_refused(path: str) -> None:
    """The first one goes on, and once it is closed the path is free."""
    with closing(open_listener(path)):
        with pytest.raises(SocketInUse) as caught:
            open_listener(path)
        assert caught.value.path == path
        assert answers(path)
    with closing(open_listener(path)):
        assert answers(path)


def test_listener_of_another_process_is_left_alone(path: str) -> None:
    """Two daemons are not for one socket."""
    with python(SERVE, path) as daemon:
        assert line_of(daemon) == "serving"
        with pytest.raises(SocketInUse):
            open_listener(path)
        assert answers(path)


@pytest.mark.parametrize("stale", [False, True], ids=["new", "stale"])
def test_processes_that_open_at_once_leave_one_that_serves(path: str, stale: bool) -> None:
    """Of eight daemons started at once on a path, new or stale, one serves."""
    if stale:
        leave_stale_socket(path)
    with contenders(TRY_ONCE, path) as processes:
        outcomes = sorted(line_of(process) for process in processes)
        assert outcomes == ["in use"] * 7 + ["won"]
        assert answers(path)


def test_processes_that_open_and_close_at_once_never_serve_together(path: str) -> None:
    """However starts and stops meet, whoever serves is alone and reachable."""
    with contenders(TRY_OFTEN, path) as processes:
        assert [line_of(process) for process in processes] == ["done"] * 8
    assert not os.path.exists(path)
    assert not os.path.exists(f"{path}.lock")


def test_path_that_is_a_file_is_refused(path: str, tmp_path: Path) -> None:
    """Somebody's file stays as it is, and no lock is left beside it."""
    Path(path).write_text("precious")
    with pytest.raises(BadSocketPath, match="not a socket"):
        open_listener(path)
    assert Path(path).read_text() == "precious"
    assert [entry.name for entry in tmp_path.iterdir()] == ["socket"]


def test_path_that_is_a_link_is_refused(path: str, tmp_path: Path) -> None:
    """A link is not followed, be it to a socket or to nothing."""
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(BadSocketPath, match="not a socket"):
        open_listener(path)
    assert not (tmp_path / "elsewhere").exists()


def test_lock_that_is_a_link_is_refused(path: str, tmp_path: Path) -> None:
    """No file is made where somebody else's link points."""
    os.symlink(tmp_path / "elsewhere", f"{path}.lock")
    with pytest.raises(BadSocketPath, match=r"socket\.lock"):
        open_listener(path)
    assert not (tmp_path / "elsewhere").exists()


def test_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """The error says what is wrong with the path."""
    (tmp_path / "file").touch()
    with pytest.raises(BadSocketPath, match="Not a directory"):
        open_listener(str(tmp_path / "file/socket"))


def test_path_of_107_bytes_is_the_longest(tmp_path: Path) -> None:
    """One byte more than unix(7) has room for is refused, before anything is made."""
    longest = str(tmp_path / "ä").ljust(106, "x")
    assert len(os.fsencode(longest)) == 107
    with pytest.raises(BadSocketPath, match="at most 107 bytes"):
        open_listener(longest + "x")
    assert list(tmp_path.iterdir()) == []
    with closing(open_listener(longest)):
        assert answers(longest)


def test_relative_path_stays_after_a_change_of_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listener knows where its socket is, wherever the process goes."""
    monkeypatch.chdir(tmp_path)
    listener = open_listener("socket")
    monkeypatch.chdir("/")
    assert listener.path == str(tmp_path / "socket")
    listener.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("unprivileged")
@pytest.mark.parametrize(
    ("path", "refused"),
    [("/nodedevd/socket", "/nodedevd"), ("/usr/nodedevd.sock", "/usr/nodedevd.sock.lock")],
    ids=["directory", "lock"],
)
def test_path_without_permission_is_refused_with_what_was_tried(path: str, refused: str) -> None:
    """A user who starts the daemon on the system's place is told what she may not do."""
    with pytest.raises(BadSocketPath) as caught:
        open_listener(path)
    assert isinstance(caught.value.__cause__, OSError)
    reason = os.strerror(caught.value.__cause__.errno or 0)
    assert str(caught.value) == f"cannot serve on {path}: {reason} ({refused})"


def test_close_leaves_nothing(path: str, tmp_path: Path) -> None:
    """Socket and lock go, and a second close does nothing more."""
    listener = open_listener(path)
    listener.close()
    assert list(tmp_path.iterdir()) == []
    with closing(open_listener(path)):
        listener.close()
        assert answers(path)


def test_close_after_the_socket_was_replaced_leaves_the_new_one(path: str) -> None:
    """What another program put there in the meantime is not ours to remove."""
    listener = open_listener(path)
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        listener.close()
        assert answers(path)
    assert not os.path.exists(f"{path}.lock")


def test_close_after_the_lock_was_replaced_leaves_the_new_one(path: str) -> None:
    """The lock of whoever came next keeps its place."""
    listener = open_listener(path)
    os.unlink(f"{path}.lock")
    Path(f"{path}.lock").write_text("new")
    listener.close()
    assert Path(f"{path}.lock").read_text() == "new"


def test_close_after_the_files_were_removed_does_nothing(path: str, tmp_path: Path) -> None:
    """A cleared /run is no error."""
    listener = open_listener(path)
    os.unlink(path)
    os.unlink(f"{path}.lock")
    listener.close()
    assert listener.socket.fileno() == -1
    assert list(tmp_path.iterdir()) == []


def test_socket_is_closed_on_exec(path: str) -> None:
    """No program started by the process inherits the socket."""
    with closing(open_listener(path)) as listener:
        assert not listener.socket.get_inheritable()


def test_adopted_socket_keeps_its_file(path: str) -> None:
    """What systemd made, systemd clears away."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    listener = Listener.adopt(sock)
    assert listener.path == path
    listener.close()
    assert sock.fileno() == -1
    assert os.path.exists(path)


def test_adopted_abstract_socket_is_named_as_systemd_does() -> None:
    """A log shows @name, not a NUL."""
    name = f"nodedevd-test-{os.getpid()}"
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(f"\0{name}")
    with closing(Listener.adopt(sock)) as listener:
        assert listener.path == f"@{name}"
