"""place: where a recording goes, held by the descriptor of its directory.

A path can be led elsewhere by whoever owns a part of it. So it is walked once, part by part, and
from then on everything happens by descriptors: open(2), O_PATH.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from nodedevd.errors import AlreadyExists, NoDirectory, NotEmpty, UnsafePath

_WALK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MOST_LINKS = 40  # path_resolution(7)
_NO_NAMES = frozenset({"", ".", ".."})


class Place:
    """The name of a new file or directory, or an empty directory that this user has made.

    Use `opened`. A place is checked when it is opened, and again by what is written there:
    the host is read in between, which may take long.
    """

    def __init__(self, path: str, directory: int, name: str | None) -> None:
        self.path = path
        """the path as it was given, for messages"""
        self.directory = directory
        """descriptor of the directory that the new name is in, or of the empty directory"""
        self.name = name
        """the new name; None for an empty directory"""

    def check_new(self) -> None:
        """Raise AlreadyExists unless there is nothing of the name."""
        try:
            os.lstat(self.name or ".", dir_fd=self.directory)
        except FileNotFoundError:
            return
        raise AlreadyExists(self.path)

    def check_empty(self) -> None:
        """Raise NotEmpty unless the directory is empty, or there is nothing of the name."""
        if self.name is not None:
            try:
                self.check_new()
            except AlreadyExists:
                raise NotEmpty(self.path) from None
        elif os.listdir(self.directory):
            raise NotEmpty(self.path)


@contextmanager
def opened(path: str) -> Iterator[Place]:
    """Open the place that a path names: a directory that exists, or a name in one.

    A link on the way is followed if it belongs to root or to this user. Raises NoDirectory,
    UnsafePath (a link of another user; a directory of another user to write into), OSError.
    """
    directory = _open_directory(path)
    name = None
    if directory is None:
        above, _, name = path.rstrip("/").rpartition("/")
        if not above:
            above = "/" if path.startswith("/") else "."
        directory = None if name in _NO_NAMES else _open_directory(above)
        if directory is None:
            raise NoDirectory(os.path.dirname(os.path.abspath(path)))
    try:
        if name is None:
            owner = os.fstat(directory).st_uid
            if owner != os.geteuid():
                reason = f"it belongs to uid {owner}, who could put links into it"
                raise UnsafePath(path, reason)
            there = os.open(".", _LIST, dir_fd=directory)
            os.close(directory)
            directory = there
        yield Place(path, directory, name)
    finally:
        os.close(directory)


def _open_directory(path: str) -> int | None:
    """Return a descriptor of a directory; None if there is none. Raises UnsafePath, OSError."""
    links = 0
    todo = path.split("/")[::-1]
    here = os.open("/" if path.startswith("/") else ".", _WALK)
    try:
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            there = os.open(part, _WALK, dir_fd=here)
            try:
                status = os.fstat(there)
                if not stat.S_ISLNK(status.st_mode):
                    here, there = there, here
                    continue
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                if status.st_uid not in (0, os.geteuid()):
                    reason = (
                        f"its part {part!r} is a symbolic link of uid {status.st_uid}, who could "
                        "change where it leads"
                    )
                    raise UnsafePath(path, reason)
                text = os.readlink("", dir_fd=there)
                if text.startswith("/"):
                    os.close(here)
                    here = os.open("/", _WALK)
                todo += text.split("/")[::-1]
            finally:
                os.close(there)
        if stat.S_ISDIR(os.fstat(here).st_mode):
            return os.dup(here)
    except (FileNotFoundError, NotADirectoryError):
        pass
    finally:
        os.close(here)
    return None
