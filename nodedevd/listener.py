"""The socket's place in the file system: who may connect, and who serves it.

A lock beside the socket, held as long as the daemon lives, decides between two daemons; the
kernel drops it with its holder, so a socket without a locked lock is a stale one.
"""

from __future__ import annotations

import fcntl
import grp
import os
import socket
import stat
from contextlib import suppress

from nodedevd.errors import NodedevError, SocketInUse

NAME = "org.nodedevd.Devices"
BACKLOG = 4096
"""Clients that may wait to be accepted; the kernel caps it at net.core.somaxconn."""
_PATH_BYTES = 107  # sun_path of unix(7), without its NUL


class BadSocketPath(NodedevError):
    """No socket can be made at this path."""

    code = "bad-socket-path"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot serve on {self.path}: {self.reason}"


class Listener:
    """A listening socket, and what has to be cleared away with it."""

    def __init__(
        self, sock: socket.socket, path: str, *, lock: int | None = None, inode: int | None = None
    ) -> None:
        self.socket = sock
        self.path = path
        self._lock = lock
        self._inode = inode

    @classmethod
    def adopt(cls, sock: socket.socket) -> Listener:
        """Take over a socket that systemd made, and will clear away."""
        return cls(sock, str(sock.getsockname()))

    def close(self) -> None:
        """Close the socket; remove its file and lock if they are this daemon's own."""
        self.socket.close()
        if self._lock is None:
            return
        with suppress(OSError):
            if os.lstat(self.path).st_ino == self._inode:
                os.unlink(self.path)
        with suppress(OSError):
            os.unlink(_lock_path(self.path))
        os.close(self._lock)
        self._lock = None


def default_socket_path() -> str:
    """Return where the daemon serves when it is told nothing else."""
    if os.geteuid() == 0:
        return f"/run/nodedevd/{NAME}"
    return f"{_user_directory()}/nodedevd/{NAME}"


def candidate_socket_paths() -> list[str]:
    """Return where a client looks for a daemon, in order."""
    chosen = os.environ.get("NODEDEVD_SOCKET")
    if chosen:
        return [chosen]
    return list(dict.fromkeys([f"/run/nodedevd/{NAME}", default_socket_path()]))


def open_listener(
    path: str, *, mode: int = 0o666, group: str | int | None = None, backlog: int = BACKLOG
) -> Listener:
    """Make the socket and listen on it, taking over a stale one.

    The directory is made if it is missing, for all to enter.
    Raises SocketInUse, BadSocketPath, OSError.
    """
    path = os.path.abspath(path)
    if len(os.fsencode(path)) > _PATH_BYTES:
        raise BadSocketPath(path, f"the path of a socket has at most {_PATH_BYTES} bytes")
    group_id = _group_id(path, group)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    lock = _take_lock(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        _clear(path)
        # Nobody may connect before mode and group are set: until listen(2), nobody can.
        sock.bind(path)
        os.chmod(path, mode)
        if group_id is not None:
            os.chown(path, -1, group_id)
        sock.listen(backlog)
        return Listener(sock, path, lock=lock, inode=os.lstat(path).st_ino)
    except BaseException:
        sock.close()
        os.close(lock)
        raise


def _take_lock(path: str) -> int:
    while True:
        lock = os.open(_lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise SocketInUse(path) from None
        with suppress(FileNotFoundError):
            if os.fstat(lock).st_ino == os.stat(_lock_path(path)).st_ino:
                return lock
        os.close(lock)  # its last holder removed it just now: it excludes nobody any more


def _lock_path(path: str) -> str:
    return f"{path}.lock"


def _clear(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise BadSocketPath(path, "there is something that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            with suppress(FileNotFoundError):
                os.unlink(path)
            return
        except BlockingIOError:
            pass  # its backlog is full: somebody listens
    raise SocketInUse(path)


def _group_id(path: str, group: str | int | None) -> int | None:
    if group is None or isinstance(group, int):
        return group
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise BadSocketPath(path, f"there is no group {group!r}") from None


def _user_directory() -> str:
    return os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
