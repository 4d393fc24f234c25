"""programs: runs the programs that a change needs, sriov-manage and mdevctl's callouts.

Without a shell, with a fixed environment, and in a session of its own.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from nodedevd.control.steps.base import Ran

ENVIRONMENT: Final[Mapping[str, str]] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}

OUTPUT_BYTES: Final = 64 << 10
"""What is kept of each output of a program."""
_CHUNK_BYTES: Final = 64 << 10


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

    Of what it prints, the beginning is kept. Raises OSError if it cannot be started, TimeoutError
    if it was killed.
    """
    until = None if timeout is None else time.monotonic() + timeout
    process = subprocess.Popen(
        argv,
        bufsize=0,
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
            stdout, stderr = _communicate(process, stdin, until)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise TimeoutError(f"timed out after {timeout:.0f} s waiting for {argv[0]}") from None
    return Ran(process.returncode, stdout, stderr)


def _communicate(
    process: subprocess.Popen[bytes], stdin: bytes, until: float | None
) -> tuple[bytes, bytes]:
    """Write standard input, and read both outputs to their end, as Popen.communicate does.

    That one would keep all of what a program prints without end. Raises TimeoutExpired.
    """
    assert process.stdin is not None
    outputs = {process.stdout: bytearray(), process.stderr: bytearray()}
    os.set_blocking(process.stdin.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdin, selectors.EVENT_WRITE)
        for stream in outputs:
            assert stream is not None
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(_left(process, until)):
                if key.fileobj is process.stdin:
                    stdin = _write(key.fd, stdin)
                    if not stdin:
                        selector.unregister(process.stdin)
                        process.stdin.close()
                    continue
                data = os.read(key.fd, _CHUNK_BYTES)
                if not data:
                    selector.unregister(key.fileobj)
                for stream, kept in outputs.items():
                    if stream is key.fileobj:
                        kept += data[: OUTPUT_BYTES - len(kept)]
    process.wait(_left(process, until))
    return bytes(outputs[process.stdout]), bytes(outputs[process.stderr])


def _write(descriptor: int, data: bytes) -> bytes:
    """Write what a pipe takes; return the rest, none if nobody reads it."""
    try:
        return data[os.write(descriptor, data[:_CHUNK_BYTES]) :] if data else b""
    except BrokenPipeError:
        return b""


def _left(process: subprocess.Popen[bytes], until: float | None) -> float | None:
    """Return the seconds that are left. Raises TimeoutExpired if none are."""
    if until is None:
        return None
    left = until - time.monotonic()
    if left <= 0:
        raise subprocess.TimeoutExpired(process.args, 0)
    return left
