"""inotify: tells that something below a directory changed, the directory's own coming included.

Source: inotify(7). libc is already loaded; a library of inotify would look for it by running
ldconfig, and the daemon runs nothing.
"""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import suppress

_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x08, 0x40, 0x80, 0x100, 0x200
_WATCHED = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
_OVERFLOW = 0x4000
_IS_DIRECTORY = 0x40000000
_ONLY_DIRECTORY = 0x01000000
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name
_BUFFER_BYTES = 1 << 16


class DirectoryMonitor:
    """Watches a directory and those in it; it may come later than the monitor.

    `top` is a directory on the way that is there. Raises OSError when the kernel gives no
    inotify descriptor.
    """

    def __init__(self, path: str, top: str = "/") -> None:
        self._path = path
        self._top = top
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._way: dict[int, str] = {}
        self._own = -1
        self._watch_all()

    def fileno(self) -> int:
        """Return the descriptor, for an event loop to watch."""
        return int(self._descriptor)

    def drain(self) -> bool:
        """Take what has arrived; tell whether anything below the directory may be different."""
        changed = False
        with suppress(BlockingIOError):
            while data := os.read(self._descriptor, _BUFFER_BYTES):
                while data:
                    watch, mask, _, length = _EVENT.unpack_from(data)
                    name = os.fsdecode(data[_EVENT.size : _EVENT.size + length].rstrip(b"\0"))
                    data = data[_EVENT.size + length :]
                    changed |= self._take(watch, mask, name)
        return changed

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)

    def _take(self, watch: int, mask: int, name: str) -> bool:
        if mask & _OVERFLOW:
            self._watch_all()
        elif watch in self._way:
            if name != self._way[watch]:
                return False
            self._watch_all()
        elif watch == self._own and mask & _IS_DIRECTORY and mask & (_CREATE | _MOVED_TO):
            self._watch(f"{self._path}/{name}")
        return True

    def _watch_all(self) -> None:
        # From above: what comes into a directory that is watched already, is told.
        self._way.clear()
        above = self._top.rstrip("/")
        for name in os.path.relpath(self._path, self._top).split("/"):
            self._way[self._watch(above or "/")] = name
            above = f"{above}/{name}"
        self._own = self._watch(self._path)
        with suppress(OSError):
            for name in os.listdir(self._path):
                self._watch(f"{self._path}/{name}")

    def _watch(self, path: str) -> int:
        """Watch a directory, again if it is watched already; -1 if it is not there."""
        mask = _WATCHED | _ONLY_DIRECTORY
        return int(self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), mask))
