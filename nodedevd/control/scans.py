"""Scans: the devices of a host without a daemon, read anew for each that asks."""

from __future__ import annotations

import threading
import time

from nodedevd.follow.in_time import scan_in_time
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.snapshot import Snapshot


class Scans:
    """Scans a host; threads that ask during a scan share the next one."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._changed = threading.Condition()
        self._running = False
        self._begun = 0
        self._ended = 0
        self._snapshot = Snapshot()

    def scan(self) -> Snapshot:
        """Return the tree of a scan that began after the call. Blocks.

        Its generation is the time of the scan, in microseconds: it is that of no other tree, also
        of another process. Raises NotASysroot, TooManyHang, OSError.
        """
        with self._changed:
            wanted = self._begun + 1
            while self._ended < wanted and self._running:
                self._changed.wait()
            if self._ended >= wanted:
                return self._snapshot
            self._running = True
            self._begun += 1
            number = self._begun
        found = None
        try:
            # A Sysroot belongs to one thread.
            found, _ = scan_in_time(Sysroot(self._root))
        finally:
            with self._changed:
                self._running = False
                if found is not None:
                    now = time.time_ns() // 1000
                    self._snapshot = found.numbered(max(now, self._snapshot.generation + 1))
                    self._ended = number
                self._changed.notify_all()
        return self._snapshot
