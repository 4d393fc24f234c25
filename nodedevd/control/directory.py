"""directory: a directory of small files that is root's alone, each of them replaced as a whole.

It is opened once, and everything in it is reached by its descriptor: whoever may rename what is
above it cannot lead root elsewhere.
"""

from __future__ import annotations

import os
import stat
import weakref
from contextlib import suppress
from threading import get_ident
from typing import Final

from nodedevd.errors import UnsafePath

_OPEN: Final = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_RDONLY
_TEMPORARY: Final = "."
"""How the names of unfinished files begin."""


class Directory:
    """A directory."""

    def __init__(self, path: str, *, make: bool = True) -> None:
        """Open it.

        Args:
            path: Where it is.
            make: Whether it is made if it is missing.

        Raises OSError, UnsafePath if another user may write to it.
        """
        self.path = path
        if make:
            with suppress(FileExistsError):
                os.mkdir(path, 0o700)
        self.descriptor = os.open(path, _OPEN)
        self.close = weakref.finalize(self, os.close, self.descriptor)
        """closes it; so does the end of the last reference to it"""
        status = os.fstat(self.descriptor)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
            self.close()
            raise UnsafePath(path, "another user may write to it")

    def names(self) -> list[str]:
        """Return the names of the files, sorted. Raises OSError."""
        # A descriptor of its own: two threads that list one share its place in the directory, and
        # each misses what the other has been given.
        descriptor = os.open(".", _OPEN, dir_fd=self.descriptor)
        try:
            names = os.listdir(descriptor)
        finally:
            os.close(descriptor)
        return sorted(name for name in names if not name.startswith(_TEMPORARY))

    def read(self, name: str) -> bytes | None:
        """Return what a file has, None if there is none. Raises OSError."""
        try:
            descriptor = self.open(name, os.O_RDONLY)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as stream:
            return stream.read()

    def open(self, name: str, flags: int) -> int:
        """Open a file. Raises OSError."""
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, 0o600, dir_fd=self.descriptor)

    def replace(self, name: str, data: bytes) -> None:
        """Write a file, in place of what it was; it is on the disk then. Raises OSError."""
        temporary = self._write(data)
        os.rename(temporary, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        os.fsync(self.descriptor)

    def create(self, name: str, data: bytes) -> None:
        """Write a new file; it is on the disk then. Raises OSError, FileExistsError."""
        temporary = self._write(data)
        try:
            os.link(temporary, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        finally:
            os.unlink(temporary, dir_fd=self.descriptor)
        os.fsync(self.descriptor)

    def remove(self, name: str) -> None:
        """Remove a file, if there is one. Raises OSError."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)
        os.fsync(self.descriptor)

    def _write(self, data: bytes) -> str:
        name = f"{_TEMPORARY}{os.getpid()}-{get_ident()}"
        descriptor = self.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(descriptor)
        except BaseException:
            with suppress(OSError):  # on a full disk even a part of it takes room
                os.unlink(name, dir_fd=self.descriptor)
            raise
        return name
