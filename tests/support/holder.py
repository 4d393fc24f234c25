"""A process that keeps a device node open, as the process of a VM does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.support.running import PATIENCE_SECONDS

DEV_FULL = os.makedev(1, 7)
"""The number of /dev/full, which no program keeps open; tests use it as that of a VFIO device."""
DEV_FULL_IN_SYSFS = Path("/sys/class/mem/full")

_HOLD = (
    "import os, sys; os.open(sys.argv[1], eval(sys.argv[2])); print('held', flush=True); input()"
)


@cache
def can_make_nodes() -> bool:
    """Return whether this process may make device nodes, and mount file systems of its own."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "mknod"))):
        return False
    script = "mount -t tmpfs -o dev tmpfs /mnt; mknod /mnt/node c 1 7; : > /mnt/node || true"
    return subprocess.run(["unshare", "--mount", "sh", "-ec", script]).returncode == 0


@contextmanager
def holding(path: str, *, flags: str = "os.O_RDWR", before: Sequence[str] = ()) -> Iterator[int]:
    """Have a process hold `path` open, and yield its number.

    `before` is what its command begins with, as `setpriv`; it must not fork.
    """
    command = [*before, sys.executable, "-c", _HOLD, path, flags]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            yield process.pid
        finally:
            process.communicate(b"\n", timeout=PATIENCE_SECONDS)
