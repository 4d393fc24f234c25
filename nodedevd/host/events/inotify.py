"""inotify: reports changes below directories, which may themselves appear and disappear.

Source: inotify(7). libc is called directly: a Python library for inotify would run ldconfig to
find it, and the daemon starts no process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress

from nodedevd.host.events.lost import EventsLost
from nodedevd.host.faults import GONE
from nodedevd.host.sysroot import Sysroot

_ATTRIB, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 4, 8, 0x40, 0x80, 0x100, 0x200
_WATCHED = _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
_OVERFLOW = 0x4000
_IS_DIRECTORY = 0x40000000
_ONLY_DIRECTORY = 0x01000000
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name
_BUFFER_BYTES = 1 << 16
_NOT_WATCHED = GONE | {errno.EACCES, errno.ELOOP}


class DirectoryMonitor:
    """Watches directories and their subdirectories, one level deep.

    A directory need not exist: each of its ancestors is watched for the next one. `paths` are of
    the host at `root`; links are followed as in a scan, and none leads out of `root`. An archive
    of a host does not change. All share one inotify descriptor, since a user has 128 of them.
    Raises OSError when the kernel refuses it.
    """

    def __init__(self, paths: Sequence[str], root: str = "/") -> None:
        self._paths = tuple(paths)
        self._sysroot = Sysroot(root) if os.path.isdir(root) else None
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._awaited: dict[int, set[tuple[str, str]]] = {}
        """the watches of ancestors, each with the next directories, and on the way to which path"""
        self._own: dict[int, set[str]] = {}
        """the watches of the directories themselves"""
        self._below: dict[int, set[str]] = {}
        """the watches of their subdirectories"""
        try:
            self._watch_all()
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor, for an event loop to watch."""
        return int(self._descriptor)

    def drain(self) -> Iterator[str]:
        """Yield the directories that a batch of events concerns, for each batch; does not block.

        Raises EventsLost if a directory can no longer be watched.
        """
        while True:
            concerned: set[str] = set()
            try:
                data = os.read(self._descriptor, _BUFFER_BYTES)
                for event in _events(data):
                    concerned |= self._take(*event)
            except BlockingIOError:
                return
            except OSError as error:
                reason = errno.errorcode.get(error.errno or 0, str(error))
                raise EventsLost(reason, overflow=False, usable=False) from error
            yield from sorted(concerned)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)

    def _take(self, watch: int, mask: int, name: str) -> Set[str]:
        """Watch what an event brought; return the directories that may have changed."""
        if mask & _OVERFLOW:
            self._watch_all()
            return set(self._paths)
        known = watch in self._awaited or watch in self._own or watch in self._below
        concerned = {path for one, path in self._awaited.get(watch, ()) if one == name}
        own = self._own.get(watch, set())
        concerned |= own | self._below.get(watch, set())
        if mask & _IS_DIRECTORY and mask & (_CREATE | _MOVED_TO):
            for path in own:
                self._watch_below(path, name)
        if any(one == name for one, _ in self._awaited.get(watch, ())):
            self._watch_all()
        # The last event of a watch that is no longer needed may be all that is heard of a removal.
        return concerned if known else set(self._paths)

    def _watch_all(self) -> None:
        # From the top down: a directory that appears below a watched one causes an event.
        for watches in (self._awaited, self._own, self._below):
            watches.clear()
        if self._sysroot is not None:
            self._sysroot.forget()
        for path in self._paths:
            self._watch_path(path)

    def _watch_path(self, path: str) -> None:
        above = ""
        for name in path.split("/")[1:]:
            self._awaited.setdefault(self._watch(above or "/"), set()).add((name, path))
            above = f"{above}/{name}"
        own = self._watch(path)
        if own < 0:
            return
        self._own.setdefault(own, set()).add(path)
        for name in self._names(path):
            self._watch_below(path, name)

    def _watch_below(self, path: str, name: str) -> None:
        watch = self._watch(f"{path}/{name}")
        if watch >= 0:
            self._below.setdefault(watch, set()).add(path)

    def _names(self, path: str) -> list[str]:
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            directory = self._open(path)
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
