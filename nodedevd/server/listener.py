"""Listener: the daemon's socket in the file system, its mode and group, and its lock.

The daemon holds a lock beside the socket as long as it runs, which decides between two daemons.
The kernel releases it with the process, so a socket whose lock is free is stale.

Another user may have files beside the socket, as in /tmp. So the directory is opened once and
must be one in which no other user can replace a file, the lock must be the daemon's own, and no
name is looked up twice: the socket has its mode before it has a name.
"""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from nodedevd.errors import NodedevError, SocketInUse

BACKLOG = 4096
"""Clients that may wait to be accepted; the kernel caps it at net.core.somaxconn."""
_PATH_BYTES = 107  # sun_path of unix(7), without its NUL


_SO_PASSRIGHTS = 83  # include/uapi/asm-generic/socket.h, since Linux 6.16


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
        self._directory: int | None = None
        self._lock: int | None = None
        self._made: os.stat_result | None = None

    @classmethod
    def adopt(cls, sock: socket.socket) -> Listener:
        """Use a socket that systemd created, and will remove."""
        refuse_descriptors(sock)
        name = sock.getsockname()
        if isinstance(name, bytes):  # in the abstract namespace; written as in systemd.socket(5)
            name = "@" + os.fsdecode(name[1:])
        return cls(sock, str(name))

    def close(self) -> None:
        """Close the socket; remove its file and lock if this daemon created them."""
        self.socket.close()
        if self._directory is None:
            return
        if self._lock is not None:
            # The lock is removed last: while it exists, no other daemon creates the socket.
            name = os.path.basename(self.path)
            _remove(name, self._directory, self._made)
            _remove(_lock_name(name), self._directory, os.fstat(self._lock))
            os.close(self._lock)
            self._lock = None
        os.close(self._directory)
        self._directory = None

    def _open(self, mode: int, group: int | None, backlog: int) -> None:
        self._directory = directory = _open_directory(self.path)
        name = os.path.basename(self.path)
        self._lock = _take_lock(self.path, directory)
        _clear(self.path, directory)
        # bind(2) gives the file the mode of the socket, without the bits of the umask.
        os.fchmod(self.socket.fileno(), mode)
        with _umask(0):
            self.socket.bind(self.path)
        file = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            made = os.fstat(file)
            if not stat.S_ISSOCK(made.st_mode) or made.st_uid != os.geteuid():
                raise BadSocketPath(self.path, "another file took its place; choose another path")
            self._made = made
            # No client may connect before the group is set; before listen(2), none can.
            if group is not None:
                os.chown(f"/proc/self/fd/{file}", -1, group)
        finally:
            os.close(file)
        refuse_descriptors(self.socket)
        self.socket.listen(backlog)


def refuse_descriptors(sock: socket.socket) -> None:
    """Have the kernel refuse descriptors, SCM_RIGHTS of unix(7), that later clients send.

    A descriptor that is received and not wanted is closed by whoever receives: with SO_LINGER,
    socket(7), that takes as long as the sender likes. Kernels before Linux 6.16 cannot refuse.
    """
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)


def accept_descriptors(sock: socket.socket) -> None:
    """Have the kernel take descriptors for a socket that was accepted where they are refused."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 1)


def open_listener(
    path: str, *, mode: int = 0o666, group: str | int | None = None, backlog: int = BACKLOG
) -> Listener:
    """Create a socket and listen on it, replacing a stale one.

    Its directory must exist, belong to root or to the user of this process, and be such that no
    other user can replace a file in it. Raises SocketInUse, BadSocketPath.
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
        with _umask(0o022):
            os.mkdir(directory)
    except FileExistsError:
        return False
    except OSError as error:
        raise BadSocketPath(
            path, f"cannot create {directory}: {error.strerror}; choose a path with --socket"
        ) from error
    return True


def _open_directory(path: str) -> int:
    """Open the directory of a socket. Raises BadSocketPath if another user can change it."""
    name = os.path.dirname(path)
    directory = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    found = os.fstat(directory)
    reason = None
    if found.st_uid not in (0, os.geteuid()):
        reason = (
            f"the directory {name} belongs to another user, with uid {found.st_uid}, who can"
            " replace the socket"
        )
    elif found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        reason = f"every user can replace files in the directory {name}"
    if reason is None:
        return directory
    os.close(directory)
    raise BadSocketPath(
        path, f"{reason}; choose a directory that only its owner can write to, such as one in /run"
    )


def _take_lock(path: str, directory: int) -> int:
    # A link is not followed: it must not make the daemon create a file elsewhere.
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    name = _lock_name(os.path.basename(path))
    while True:
        try:
            lock = os.open(name, flags, 0o600, dir_fd=directory)
        except OSError as error:
            error.filename = f"{path}.lock"
            raise
        try:
            found = os.fstat(lock)
            # Any user who can open a file can hold its lock.
            if found.st_uid != os.geteuid() or not stat.S_ISREG(found.st_mode):
                raise BadSocketPath(
                    path,
                    f"{path}.lock is no lock of this user's daemon, but a file of the user with"
                    f" uid {found.st_uid}; remove it, or choose another path",
                )
            os.fchmod(lock, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                there = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if os.path.samestat(found, there):
                    return lock
        except BlockingIOError:
            os.close(lock)
            raise SocketInUse(path) from None
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)  # its last holder has just removed it: it excludes no other daemon


def _lock_name(name: str) -> str:
    return f"{name}.lock"


def _clear(path: str, directory: int) -> None:
    name = os.path.basename(path)
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
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
            _remove(name, directory, found)
            return
        except OSError as error:
            # The backlog is full, or the socket has another type, unix(7): it is in use.
            if error.errno not in (errno.EAGAIN, errno.EPROTOTYPE):
                raise
    raise SocketInUse(path)


def _remove(name: str, directory: int, made: os.stat_result | None) -> None:
    with suppress(OSError):
        there = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if made is not None and os.path.samestat(made, there):
            os.unlink(name, dir_fd=directory)


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


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
