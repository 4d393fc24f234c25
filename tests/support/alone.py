"""What a machine has once, for one test at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone_with(directory: Path) -> Iterator[None]:
    """Wait until no other test on this machine uses what a directory of sysfs stands for.

    The lock is the kernel's: it holds for other workers and other checkouts, and goes with the
    process.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
