"""disk: archives on disk, as a file and as the directory that they were, or become."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress

from nodedevd.errors import AlreadyExists, NoDirectory, NotEmpty, NotRecordable
from nodedevd.host.archive.text import LIMIT_BYTES, format_archive
from nodedevd.host.archive.tree import Archive

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP})  # link(2): of FAT, of CIFS


def write_archive(archive: Archive, path: str) -> None:
    """Write an archive into a new file: whole, or not at all.

    Raises AlreadyExists, NotRecordable (too large to be read again), OSError.
    """
    data = format_archive(archive)
    if len(data) > LIMIT_BYTES:
        reason = f"the file would be larger than {LIMIT_BYTES >> 20} MiB; record into a directory"
        raise NotRecordable(path, reason)
    aside = os.path.join(os.path.dirname(path), f".recording-{os.urandom(6).hex()}")
    try:
        with open(os.open(aside, _NEW, 0o666), "wb") as file:
            file.write(data)
        _rename(aside, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(aside)


def _rename(aside: str, path: str) -> None:
    """Give a file its name, unless the name is taken."""
    try:
        os.link(aside, path)
    except FileExistsError:
        raise AlreadyExists(path) from None
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if os.path.lexists(path):
            raise AlreadyExists(path) from None
        os.rename(aside, path)


def check_parent(path: str) -> None:
    """Raise NoDirectory unless the directory that a file or directory is to be in exists."""
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        raise NoDirectory(parent)


def check_empty(directory: str) -> None:
    """Raise NotEmpty unless a directory is empty or does not exist."""
    if os.path.lexists(directory) and (not os.path.isdir(directory) or os.listdir(directory)):
        raise NotEmpty(directory)


def unpack(archive: Archive, directory: str) -> None:
    """Write the files of an archive into a directory that is empty, or new in an existing one.

    Nothing is written outside it; if something fails, nothing is left. Raises NotEmpty, OSError.
    """
    check_empty(directory)
    new = not os.path.isdir(directory)
    if new:
        os.mkdir(directory)
    try:
        _write(archive, directory)
    except BaseException:
        for entry in os.scandir(directory):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)
        if new:
            shutil.rmtree(directory, ignore_errors=True)
        raise


def _write(archive: Archive, directory: str) -> None:
    modes = []
    for path, content, mode in archive.walk():
        where = os.fsencode(directory + path)
        if isinstance(content, list):
            os.mkdir(where, 0o700)
            modes.append((where, mode))
        elif isinstance(content, bytes):
            with open(os.open(where, _NEW, 0o600), "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), mode)
        else:
            os.symlink(os.fsencode(content), where)
    # Last, and from below: a directory may be one that nothing can be written into.
    for where, mode in reversed(modes):
        os.chmod(where, mode)


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
