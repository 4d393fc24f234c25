"""inotify: reports changes below a directory, which may itself appear and disappear.

Source: inotify(7). libc is called directly: a Python library for inotify would run ldconfig to
find it, and the daemon starts no process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from contextlib import suppress

from nodedevd.host.events.lost import EventsLost
from nodedevd.host.faults import GONE
from nodedevd.host.sysroot import Sysroot

_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x08, 0x40, 0x80, 0x100, 0x200
_WATCHED = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
_OVERFLOW = 0x4000
_IS_DIRECTORY = 0x40000000
_ONLY_DIRECTORY = 0x01000000
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name
_BUFFER_BYTES = 1 << 16
_NOT_WATCHED = GONE | {errno.EACCES, errno.ELOOP}


class DirectoryMonitor:
    """Watches a directory and its subdirectories, one level deep.

    The directory need not exist: each of its ancestors is watched for the next one. `path` is
    one of the host at `root`; links are followed as in a scan, and none leads out of `root`. An
    archive of a host does not change. Raises OSError when the kernel refuses an inotify
    descriptor.
    """

    def __init__(self, path: str, root: str = "/") -> None:
        self._path = path
        self._sysroot = Sysroot(root) if os.path.isdir(root) else None
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._awaited: dict[int, str] = {}
        """the watches of the ancestors, each with the name of the next directory"""
        self._own = -1
        """the watch of the directory itself"""
        try:
            self._watch_all()
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor, for an event loop to watch."""
        return int(self._descriptor)

    def drain(self) -> Iterator[str]:
        """Yield the directory's path for each batch of events that concerns it; does not block.

        Raises EventsLost if a directory can no longer be watched.
        """
        while True:
            try:
                data = os.read(self._descriptor, _BUFFER_BYTES)
                concerns = [self._take(*event) for event in _events(data)]
            except BlockingIOError:
                return
            except OSError as error:
                reason = errno.errorcode.get(error.errno or 0, str(error))
                raise EventsLost(reason, overflow=False, usable=False) from error
            if any(concerns):
                yield self._path

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)

    def _take(self, watch: int, mask: int, name: str) -> bool:
        """Watch what an event brought; return whether the directory may have changed."""
        if mask & _OVERFLOW:
            self._watch_all()
        elif watch in self._awaited:
            if name != self._awaited[watch]:
                return False
            self._watch_all()
        elif watch == self._own and mask & _IS_DIRECTORY and mask & (_CREATE | _MOVED_TO):
            self._watch(f"{self._path}/{name}")
        return True

    def _watch_all(self) -> None:
        # From the top down: a directory that appears below a watched one causes an event.
        self._awaited.clear()
        if self._sysroot is not None:
            self._sysroot.forget()
        above = ""
        for name in self._path.split("/")[1:]:
            self._awaited[self._watch(above or "/")] = name
            above = f"{above}/{name}"
        self._own = self._watch(self._path)
        if self._own < 0:
            return
        for name in self._names():
            self._watch(f"{self._path}/{name}")

    def _names(self) -> list[str]:
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            directory = self._open(self._path)
            try:
                descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
            finally:
                os.close(directory)
            try:
                return os.listdir(descriptor)
            finally:
                os.close(descriptor)
        return []

    def _watch(self, path: str) -> int:
        """Watch a directory and return its watch, the same one as before; -1 if it is missing.

        Raises OSError, such as ENOSPC for the limit on watches: its events would be missed.
        """
        mask = _WATCHED | _ONLY_DIRECTORY
        try:
            directory = self._open(path)
        except OSError as error:
            if error.errno in _NOT_WATCHED:
                return -1
            raise
        try:
            # inotify(7) takes no descriptor; this name of it leads nowhere else.
            name = f"/proc/self/fd/{directory}".encode()
            watch = int(self._libc.inotify_add_watch(self._descriptor, name, mask))
        finally:
            os.close(directory)
        if watch < 0 and (number := ctypes.get_errno()) not in _NOT_WATCHED:
            raise OSError(number, os.strerror(number), path)
        return watch

    def _open(self, path: str) -> int:
        if self._sysroot is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self._sysroot.open_directory(path)


def _events(data: bytes) -> Iterator[tuple[int, int, str]]:
    """Yield watch, mask and name of each event."""
    while data:
        watch, mask, _, length = _EVENT.unpack_from(data)
        name = os.fsdecode(data[_EVENT.size : _EVENT.size + length].rstrip(b"\0"))
        yield watch, mask, name
        data = data[_EVENT.size + length :]
