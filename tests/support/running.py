"""A daemon as a process, with its socket and log in a directory of the test."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "nodedevd")
NODEDEVCTL = (
    sys.executable,
    "-c",
    "from nodedevd.cli.main import main; main(prog_name='nodedevctl')",
)
PATIENCE_SECONDS = 30.0
"""When a test gives up; a condition that it waits for is met at once, or never."""


class Running:
    """A started daemon; use `running`."""

    def __init__(
        self,
        directory: Path,
        command: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        self.log_path = directory / "log"
        self._notified = b""
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = directory / "notify"
        address.unlink(missing_ok=True)
        self._notify.bind(str(address))
        address.chmod(0o666)
        kept = {key: value for key, value in os.environ.items() if key != "JOURNAL_STREAM"}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env={**kept, "NOTIFY_SOCKET": str(address), **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        """The log up to now."""
        return self.log_path.read_text()

    @property
    def notified(self) -> list[str]:
        """The assignments that it has sent to its service manager, see sd_notify(3)."""
        return self._notified.decode().split("\n")[:-1]

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on the notifications holds; fail if the daemon ends."""
        notify, end = self._notify.fileno(), os.pidfd_open(self.process.pid)
        try:
            while not condition():
                ready, _, _ = select.select([notify, end], [], [], PATIENCE_SECONDS)
                assert ready, f"no notification within {PATIENCE_SECONDS} s"
                assert notify in ready, f"it ended with exit status {self.process.wait()}"
                self._notified += self._notify.recv(1 << 16) + b"\n"
        finally:
            os.close(end)

    def wait_notified(self, assignment: str, times: int = 1) -> None:
        """Wait until it has sent this assignment so many times."""
        self.wait_until(lambda: self.notified.count(assignment) >= times)

    def wait_logged(self, words: str) -> None:
        """Wait until these words are in the log; fail if the daemon ends."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while words not in self.log:
            assert self.process.poll() is None, f"it ended with status {self.process.returncode}"
            assert time.monotonic() < deadline, f"not logged: {words}"
            time.sleep(0.005)

    def wait_ended(self) -> int:
        """Wait for its end and return its exit status."""
        return self.process.wait(PATIENCE_SECONDS)

    def drain(self) -> None:
        """Receive the notifications that it sent before it ended."""
        with suppress(BlockingIOError):
            while True:
                self._notified += self._notify.recv(1 << 16, socket.MSG_DONTWAIT) + b"\n"

    def stop(self, signum: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit status."""
        self.process.send_signal(signum)
        return self.wait_ended()

    def clear_away(self) -> None:
        """Kill it if it still runs."""
        self._notify.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextmanager
def started(
    directory: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] = COMMAND,
) -> Iterator[Running]:
    """Start a daemon with these arguments, and do not wait until it is ready.

    It is killed in the end. Its log is in `directory`, and in the message of a test that fails.
    """
    daemon = Running(directory, [*command, *arguments], environment or {})
    try:
        yield daemon
    except BaseException as error:
        error.add_note(f"the daemon's log:\n{daemon.log}")
        raise
    finally:
        daemon.clear_away()


@contextmanager
def running(
    directory: Path,
    sysroot: Path,
    *options: str,
    environment: Mapping[str, str] | None = None,
    socket_path: Path | None = None,
    command: Sequence[str] = COMMAND,
) -> Iterator[Running]:
    """Start a daemon, wait until it serves, and stop it by SIGTERM; its exit status must be 0.

    The socket is `nodedevd.sock` in the directory, unless another is given. The test may stop
    the daemon itself.
    """
    path = socket_path or directory / "nodedevd.sock"
    arguments = ("--sysroot", str(sysroot), "--socket", str(path), *options)
    with started(directory, *arguments, environment=environment, command=command) as daemon:
        daemon.wait_notified("READY=1")
        yield daemon
        if daemon.process.poll() is None:
            assert daemon.stop() == 0


def ctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run nodedevctl to its end."""
    return subprocess.run(
        [*NODEDEVCTL, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
