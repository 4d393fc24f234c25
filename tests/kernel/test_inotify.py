"""inotify at the limit that the kernel sets to a user's instances."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.running import REPOSITORY

LIMIT = 3
OPEN = f"""
import pathlib
from nodedevd.host.events.inotify import DirectoryMonitor
pathlib.Path("/proc/sys/user/max_inotify_instances").write_text("{LIMIT}")
opened = []
try:
    while True:
        opened.append(DirectoryMonitor(["/nowhere/mdevctl.d"], "/"))
except OSError as error:
    print(len(opened), error)
"""


@pytest.mark.needs("namespaces")
def test_user_without_instances_left_gets_the_kernels_error() -> None:
    """In a user namespace with a limit of its own: others of this user keep their instances."""
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", OPEN],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{LIMIT} ")
    assert "inotify_init1" in done.stdout
