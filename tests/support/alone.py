"""A lock on something that a machine has only once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone_with(directory: Path) -> Iterator[None]:
    """Lock a directory of sysfs; another test that locks it waits.

    Other workers and other checkouts wait, too, and the lock goes when the process ends.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
