"""Listener: the daemon's socket in the file system, its mode and group, and its lock.

The daemon holds a lock beside the socket as long as it runs, which decides between two daemons.
The kernel releases it with the process, so a socket whose lock is free is stale.
"""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import socket
import stat
from contextlib import suppress

from nodedevd.errors import NodedevError, SocketInUse

BACKLOG = 4096
"""Clients that may wait to be accepted; the kernel caps it at net.core.somaxconn."""
_PATH_BYTES = 107  # sun_path of unix(7), without its NUL


class BadSocketPath(NodedevError):
    """The daemon cannot serve on this path."""

    code = "bad-socket-path"
    path: str
    reason: str

    def __str__(self) -> str:
        return f"cannot serve on {self.path}: {self.reason}"


class Listener:
    """A listening socket, with the files that `close` removes."""

    def __init__(self, sock: socket.socket, path: str) -> None:
        self.socket = sock
        self.path = path
        self._lock: int | None = None
        self._made: os.stat_result | None = None

    @classmethod
    def adopt(cls, sock: socket.socket) -> Listener:
        """Use a socket that systemd created, and will remove."""
        name = sock.getsockname()
        if isinstance(name, bytes):  # in the abstract namespace; written as in systemd.socket(5)
            name = "@" + os.fsdecode(name[1:])
        return cls(sock, str(name))

    def close(self) -> None:
        """Close the socket; remove its file and lock if this daemon created them."""
        self.socket.close()
        if self._lock is None:
            return
        # The lock is removed last: while it exists, no other daemon creates the socket.
        _remove(self.path, self._made)
        _remove(_lock_path(self.path), os.fstat(self._lock))
        os.close(self._lock)
        self._lock = None

    def _open(self, mode: int, group: int | None, backlog: int) -> None:
        self._lock = _take_lock(self.path)
        _clear(self.path)
        self.socket.bind(self.path)
        self._made = os.lstat(self.path)
        # No client may connect before mode and group are set; before listen(2), none can.
        os.chmod(self.path, mode)
        if group is not None:
            os.chown(self.path, -1, group)
        self.socket.listen(backlog)


def open_listener(
    path: str, *, mode: int = 0o666, group: str | int | None = None, backlog: int = BACKLOG
) -> Listener:
    """Create a socket and listen on it, replacing a stale one.

    Its directory must exist. Raises SocketInUse, BadSocketPath.
    """
    path = os.path.abspath(path)
    if len(os.fsencode(path)) > _PATH_BYTES:
        raise BadSocketPath(
            path, f"the path of a socket has at most {_PATH_BYTES} bytes; choose a shorter one"
        )
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise BadSocketPath(
            path, f"the directory {directory} does not exist; create it, or choose another path"
        )
    group_id = _group_id(path, group)
    listener = Listener(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), path)
    try:
        listener._open(mode, group_id, backlog)
    except OSError as error:
        listener.close()
        raise BadSocketPath(path, _reason(error)) from error
    except BaseException:
        listener.close()
        raise
    return listener


def make_runtime_directory(path: str) -> bool:
    """Create the directory of a default socket path, with mode 0755; return whether it is new.

    As with RuntimeDirectory= of systemd.exec(5), only the last directory is created. Raises
    BadSocketPath.
    """
    directory = os.path.dirname(path)
    try:
        os.mkdir(directory)
        os.chmod(directory, 0o755)  # whatever the umask is
    except FileExistsError:
        return False
    except OSError as error:
        raise BadSocketPath(
            path, f"cannot create {directory}: {error.strerror}; choose a path with --socket"
        ) from error
    return True


def _take_lock(path: str) -> int:
    # A link is not followed: it must not make the daemon create a file elsewhere.
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        lock = os.open(_lock_path(path), flags, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise SocketInUse(path) from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), os.lstat(_lock_path(path))):
                return lock
        os.close(lock)  # its last holder has just removed it: it excludes no other daemon


def _lock_path(path: str) -> str:
    return f"{path}.lock"


def _clear(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise BadSocketPath(
            path, "the file there is not a socket; remove it, or choose another path"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            with suppress(FileNotFoundError):
                os.unlink(path)
            return
        except OSError as error:
            # The backlog is full, or the socket has another type, unix(7): it is in use.
            if error.errno not in (errno.EAGAIN, errno.EPROTOTYPE):
                raise
    raise SocketInUse(path)


def _remove(path: str, made: os.stat_result | None) -> None:
    with suppress(OSError):
        if made is not None and os.path.samestat(made, os.lstat(path)):
            os.unlink(path)


def _reason(error: OSError) -> str:
    place = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{place}"


def _group_id(path: str, group: str | int | None) -> int | None:
    if group is None or isinstance(group, int):
        return group
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise BadSocketPath(path, f"the group {group!r} does not exist") from None
