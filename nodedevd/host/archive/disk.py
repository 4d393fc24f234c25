"""disk: archives on disk, as a file and as the directory that they were, or become.

What is written belongs to this user alone: a file has mode 0600, a directory 0700, whatever the
umask. It gets its name when it is whole, and never takes the place of anything. See open(2),
O_TMPFILE; rename(2), RENAME_NOREPLACE.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from nodedevd.errors import AlreadyExists, NotEmpty, NotRecordable
from nodedevd.host.archive.place import Place, opened
from nodedevd.host.archive.text import LIMIT_BYTES, format_archive
from nodedevd.host.archive.tree import Archive

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_UNNAMED = os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# NFS, FAT, CIFS, FUSE have no such files; without /proc, or hard links, such a file gets no name.
_NO_UNNAMED = frozenset(
    {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.EPERM, errno.EXDEV}
)
_RENAME_NOREPLACE = 1
_NO_NOREPLACE = frozenset({errno.EINVAL, errno.ENOSYS})  # NFS
_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def write_archive(archive: Archive, path: str) -> None:
    """Write an archive into a new file: whole, or not at all.

    Raises AlreadyExists, NoDirectory, UnsafePath, NotRecordable (too large to be read again),
    OSError.
    """
    with opened(path) as place:
        write_file(archive, place)


def unpack(archive: Archive, path: str) -> None:
    """Write the files of an archive into a directory that is empty, or new in an existing one.

    Nothing is written outside it; if something fails, nothing is left. Raises NotEmpty,
    NoDirectory, UnsafePath, OSError.
    """
    with opened(path) as place:
        write_directory(archive, place)


def write_file(archive: Archive, place: Place) -> None:
    """Write an archive into a new file at a place. Raises as `write_archive`."""
    data = format_archive(archive)
    if len(data) > LIMIT_BYTES:
        reason = f"the file would be larger than {LIMIT_BYTES >> 20} MiB; record into a directory"
        raise NotRecordable(place.path, reason)
    place.check_new()
    with _uninterrupted():
        try:
            try:
                _write_unnamed(data, place)
            except OSError as error:
                if error.errno not in _NO_UNNAMED:
                    raise
                _write_aside(data, place)
        except FileExistsError:
            raise AlreadyExists(place.path) from None
        _sync(place.directory)


def _write_unnamed(data: bytes, place: Place) -> None:
    """Write a file that has no name until it is whole: a process that is killed leaves nothing."""
    file = os.open(".", _UNNAMED, 0o600, dir_fd=place.directory)
    try:
        _fill(file, data)
        os.link(f"/proc/self/fd/{file}", place.name or ".", dst_dir_fd=place.directory)
    finally:
        os.close(file)


def _write_aside(data: bytes, place: Place) -> None:
    """Write a file under another name, where every file has one."""
    aside = _name_aside()
    file = os.open(aside, _NEW, 0o600, dir_fd=place.directory)
    try:
        _fill(file, data)
        _rename(aside, place)
    except BaseException:
        os.unlink(aside, dir_fd=place.directory)
        raise
    finally:
        os.close(file)


def _fill(file: int, data: bytes) -> None:
    os.fchmod(file, 0o600)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest[: 1 << 20]) :]
        _check_interrupted()
    os.fsync(file)
    _check_interrupted()


def write_directory(archive: Archive, place: Place) -> None:
    """Write the files of an archive into a directory at a place. Raises as `unpack`."""
    place.check_empty()
    with _uninterrupted():
        if place.name is None:
            _write_into(archive, place)
            return
        aside = _name_aside()
        os.mkdir(aside, 0o700, dir_fd=place.directory)
        try:
            directory = os.open(aside, _DIRECTORY, dir_fd=place.directory)
            try:
                os.fchmod(directory, 0o700)
                _unpack(archive, directory)
                try:
                    _rename(aside, place)
                except OSError:
                    _remove(archive, directory)
                    raise
            finally:
                os.close(directory)
        except FileExistsError:
            os.rmdir(aside, dir_fd=place.directory)
            raise NotEmpty(place.path) from None
        except BaseException:
            os.rmdir(aside, dir_fd=place.directory)
            raise


def _write_into(archive: Archive, place: Place) -> None:
    """Write into the empty directory that a place is."""
    mode = stat.S_IMODE(os.fstat(place.directory).st_mode)
    os.fchmod(place.directory, 0o700)  # Now nobody else can put anything into it.
    try:
        place.check_empty()
        _unpack(archive, place.directory)
    except BaseException:
        os.fchmod(place.directory, mode)
        raise


def _unpack(archive: Archive, directory: int) -> None:
    """Write into a directory that nobody else can change: paths below it lead where they say."""
    modes = []
    try:
        for path, content, mode in archive.walk():
            _check_interrupted()
            where = os.fsencode(path[1:])
            if isinstance(content, list):
                os.mkdir(where, 0o700, dir_fd=directory)
                modes.append((where, mode))
            elif isinstance(content, bytes):
                with open(os.open(where, _NEW, 0o600, dir_fd=directory), "wb") as file:
                    file.write(content)
                    os.fchmod(file.fileno(), mode)
            else:
                os.symlink(os.fsencode(content), where, dir_fd=directory)
        # Last, and from below: a directory may be one that nothing can be written into.
        for where, mode in reversed(modes):
            os.chmod(where, mode, dir_fd=directory)
    except BaseException:
        _remove(archive, directory)
        raise


def _remove(archive: Archive, directory: int) -> None:
    """Remove what is written of an archive."""
    written = []
    for path, content, _ in archive.walk():
        where = os.fsencode(path[1:])
        with suppress(FileNotFoundError):
            if isinstance(content, list):
                os.chmod(where, 0o700, dir_fd=directory)
            written.append((where, isinstance(content, list)))
    for where, is_directory in reversed(written):
        with suppress(FileNotFoundError):
            if is_directory:
                os.rmdir(where, dir_fd=directory)
            else:
                os.unlink(where, dir_fd=directory)


def _rename(aside: str, place: Place) -> None:
    """Give a file or directory its name. Raises FileExistsError if the name is taken."""
    libc = ctypes.CDLL(None, use_errno=True)
    above, name = place.directory, place.name or "."
    if not libc.renameat2(above, os.fsencode(aside), above, os.fsencode(name), _RENAME_NOREPLACE):
        return
    number = ctypes.get_errno()
    if number not in _NO_NOREPLACE:
        raise OSError(number, os.strerror(number), place.path)
    if stat.S_ISDIR(os.lstat(aside, dir_fd=above).st_mode):
        # rename(2) replaces an empty directory at the most.
        os.rename(aside, name, src_dir_fd=above, dst_dir_fd=above)
    else:
        os.link(aside, name, src_dir_fd=above, dst_dir_fd=above, follow_symlinks=False)
        os.unlink(aside, dir_fd=above)


def _name_aside() -> str:
    return f".recording-{os.urandom(6).hex()}"


def _sync(directory: int) -> None:
    """Write a directory's names to the disk, if it can be opened for that."""
    with suppress(PermissionError):
        listed = os.open(".", _DIRECTORY, dir_fd=directory)
        try:
            os.fsync(listed)
        finally:
            os.close(listed)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold signals back that end the process, until what was begun is whole or removed.

    A signal that the process ignores is ignored here as well: while it is blocked, the kernel
    would keep it.
    """
    held = [one for one in _ENDING_SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    umask = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(umask)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _check_interrupted() -> None:
    """Raise InterruptedError if a signal is held back; its handler runs after the cleanup."""
    if not signal.sigpending().isdisjoint(_ENDING_SIGNALS):
        raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))


def pack(directory: str, about: str = "") -> Archive:
    """Return everything below a directory as an archive. Raises NotRecordable, OSError."""
    archive = Archive(about)
    todo = [""]
    while todo:
        above = todo.pop()
        with os.scandir(directory + above) as entries:
            for entry in entries:
                path = f"{above}/{entry.name}"
                try:
                    if _add(archive, path, entry):
                        todo.append(path)
                except ValueError as error:
                    raise NotRecordable(directory, str(error)) from None
    return archive


def _add(archive: Archive, path: str, entry: os.DirEntry[str]) -> bool:
    """Add one entry of a directory; return whether it is a directory itself."""
    if entry.is_symlink():
        archive.add_link(path, os.readlink(entry.path))
        return False
    mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode) & 0o777
    if entry.is_dir(follow_symlinks=False):
        archive.add_directory(path, mode)
        return True
    if not entry.is_file(follow_symlinks=False):
        raise ValueError(f"{path[:80]!r} is neither a file nor a directory nor a link")
    with open(entry.path, "rb") as file:
        archive.add_file(path, file.read(), mode)
    return False
