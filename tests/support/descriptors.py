"""The files that a process has open."""

from __future__ import annotations

import gc
import os
from contextlib import suppress


def descriptors() -> frozenset[str]:
    """Return the descriptors of this process.

    What earlier tests have left is closed first: the garbage collector would do so at any time.
    """
    gc.collect()
    return frozenset(os.listdir("/proc/self/fd"))


def opened(pid: int) -> set[str]:
    """Return what a process has open, which may open and close files meanwhile (proc_pid_fd(5))."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found
