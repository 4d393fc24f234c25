"""programs: runs the programs that a change needs, sriov-manage and mdevctl's callouts.

Without a shell, with a fixed environment, and in a session of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from nodedevd.control.steps.base import Ran

ENVIRONMENT: Final[Mapping[str, str]] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}


def run(
    argv: Sequence[str], *, stdin: bytes, timeout: float | None, locks: Sequence[int] = ()
) -> Ran:
    """Run a program to its end.

    Args:
        argv: The program, by its whole path, and its arguments.
        stdin: What it reads.
        timeout: Seconds after which it, and what it has started, is killed. None: it writes to a
            driver, and may hang there.
        locks: Without a timeout, descriptors that stay open as long as it runs.

    Raises OSError if it cannot be started, TimeoutError if it was killed.
    """
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env=ENVIRONMENT,
        start_new_session=True,
        # What has a timeout could start something that stays, and the card would stay locked.
        pass_fds=locks if timeout is None else (),
    )
    with process:
        try:
            stdout, stderr = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise TimeoutError(f"timed out after {timeout:.0f} s waiting for {argv[0]}") from None
    return Ran(process.returncode, stdout, stderr)
