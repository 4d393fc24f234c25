"""worker_thread: a stuck read and the end of the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.running import PATIENCE_SECONDS, REPOSITORY

STUCK = """
import asyncio, sys, threading
from nodedevd.follow.worker_thread import WorkerThread

async def main():
    thread, entered = WorkerThread(), threading.Event()
    thread.run(lambda: (entered.set(), open(sys.argv[1]).read()))
    entered.wait()
    thread.close(0)
    print("alive:", thread._thread.is_alive())

asyncio.run(main())
"""


def test_stuck_function_does_not_hold_up_the_exit_of_the_interpreter(tmp_path: Path) -> None:
    """The process exits with status 0 and no message."""
    fifo = tmp_path / "attribute"
    os.mkfifo(fifo)
    ended = subprocess.run(
        [sys.executable, "-c", STUCK, str(fifo)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "alive: True\n", "")
