"""rooted: the files below a directory, which is never left, whatever its owner changes meanwhile.

The directory may belong to a user who swaps a directory for a link while root reads it: a path
that was found to be free of links has one when it is opened. So no path is opened. Each directory
is opened by its name from its parent's descriptor, O_NOFOLLOW, and so is the file in it; what
became a link meanwhile is an error (ELOOP, ENOTDIR), and the next read finds it. The links
themselves are followed by `Sysroot.resolve`, which stays inside.

openat2(2) with RESOLVE_IN_ROOT does the same in one system call of the whole path, since Linux 5.6.
This takes half its time, since the descriptors of a device's directory and of those above it are
kept from one read to the next, and works on every kernel and under every filter of system calls.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY
_NAME = os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW
_STEP = _NAME | os.O_DIRECTORY
_LIST = _READ | os.O_DIRECTORY
_MOST_KEPT = 64
"""Directories that stay open: a device's own, and those above it and above the one before."""

T = TypeVar("T")


class _Directory:
    """A directory that is open until the last thread is done with it: a read of one may hang."""

    __slots__ = ("_close", "descriptor")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._close = os.close  # when the interpreter ends, `os` may be gone

    def __del__(self) -> None:
        self._close(self.descriptor)


class Rooted:
    """Files below a directory `root`.

    A path has no links, begins with a slash, and means one below `root`.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._place = ""
        """where the kernel says the root is"""
        self._kept: dict[str, _Directory] = {}

    def forget(self) -> None:
        """Close all directories: they may have been replaced."""
        self._kept.clear()

    def listdir(self, path: str) -> list[str]:
        """List a directory. Raises OSError."""
        directory = _Directory(self._at(path, _open_to_list))
        names = os.listdir(directory.descriptor)
        self._keep(path, directory)  # attributes in it are read next
        return names

    def readlink(self, path: str) -> str:
        """Return the text of a link. Raises OSError."""
        return self._at(path, _readlink)

    def lstat(self, path: str) -> os.stat_result:
        """Return the status of a file, or of a link itself. Raises OSError."""
        return self._at(path, _lstat)

    def open_file(self, path: str) -> int:
        """Open a file to read it. Raises OSError."""
        return self._at(path, _open_to_read)

    def open_directory(self, path: str) -> int:
        """Open a directory with O_PATH, as a name for it that stays right. Raises OSError."""
        return self._at(path, _open_step)

    def _at(self, path: str, act: Callable[[str, int], T]) -> T:
        """Return what a function of a name and its directory's descriptor returns."""
        above, _, name = path.rpartition("/")
        if name == "..":
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        try:
            try:
                directory = self._kept.get(above) or self._enter(above)
                return act(name or ".", directory.descriptor)
            except FileNotFoundError:
                if self._is_in_place(above):
                    raise
            self._kept.clear()  # a directory was replaced since it was opened
            return act(name or ".", self._enter(above).descriptor)
        except OSError as error:
            error.filename = f"{self._root.rstrip('/')}{path}"  # not the last name alone
            raise

    def _enter(self, path: str) -> _Directory:
        """Open a directory from the nearest one above it that is open."""
        if path:
            above, _, name = path.rpartition("/")
            directory = self._kept.get(above) or self._enter(above)
            descriptor = _open_step(name, directory.descriptor)
        else:
            descriptor = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self._place = _place(descriptor).rstrip("/")
        directory = _Directory(descriptor)
        self._keep(path, directory)
        return directory

    def _is_in_place(self, path: str) -> bool:
        """Return whether the nearest open directory, a path's or one above it, was not replaced.

        Most of what a scan looks for is absent, and to open all of these again takes long.
        """
        while (directory := self._kept.get(path)) is None:
            if not path:
                return True
            path = path.rpartition("/")[0]
        return _place(directory.descriptor) == f"{self._place}{path}"

    def _keep(self, path: str, directory: _Directory) -> None:
        kept = self._kept
        kept[path] = directory
        if len(kept) > _MOST_KEPT:
            with suppress(RuntimeError):  # changed by the thread of a read that hung
                kept.pop(next(iter(kept)), None)


def _place(descriptor: int) -> str:
    """Return the path that an open directory has now, proc(5); "" if there is no /proc."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


def _open_to_list(name: str, directory: int) -> int:
    return os.open(name, _LIST, dir_fd=directory)


def _open_to_read(name: str, directory: int) -> int:
    return os.open(name, _READ, dir_fd=directory)


def _open_step(name: str, directory: int) -> int:
    return os.open(name, _STEP, dir_fd=directory)


def _readlink(name: str, directory: int) -> str:
    return os.readlink(name, dir_fd=directory)


def _lstat(name: str, directory: int) -> os.stat_result:
    return os.stat(name, dir_fd=directory, follow_symlinks=False)
