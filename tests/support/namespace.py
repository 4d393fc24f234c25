"""Network namespaces of a test, each with its own /sys/class/net, uevents and /run.

The kernel sends the uevents of an interface to its namespace alone, and those of other devices,
such as zram, to all namespaces. See network_namespaces(7), mount_namespaces(7).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from types import TracebackType

from tests.support.running import PATIENCE_SECONDS, REPOSITORY

# A namespace lives as long as a process in it: this one, until its input ends.
_UNSHARE = ("unshare", "--net", "--mount", "--propagation", "private", "sh", "-euc")
_SETUP = "mount -t sysfs sysfs /sys; mount -t tmpfs tmpfs /run; echo ready; read end || true"


@cache
def can_make() -> bool:
    """Return whether this process may make namespaces, and has the tools."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        return False
    done = subprocess.run([*_UNSHARE, _SETUP], stdin=subprocess.DEVNULL, capture_output=True)
    return done.returncode == 0 and done.stdout == b"ready\n"


class Namespace:
    """A network namespace and a mount namespace; their interfaces and mounts go with them."""

    def __enter__(self) -> Namespace:
        self._holder = subprocess.Popen(
            [*_UNSHARE, _SETUP], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._holder.communicate(timeout=PATIENCE_SECONDS)

    @property
    def pid(self) -> int:
        """The process that keeps the namespaces, for `ip link set … netns`."""
        return self._holder.pid

    @property
    def enter(self) -> tuple[str, ...]:
        """The words in front of a command that runs it in the namespaces."""
        return ("nsenter", f"--target={self.pid}", "--net", "--mount", "--")

    def run(self, *command: str, text: str | None = None) -> str:
        """Run a command that must succeed; return its output."""
        done = subprocess.run(
            [*self.enter, *command],
            input=text,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def ip(self, command: str) -> None:
        """Run the command `ip`."""
        self.run("ip", *command.split())

    def python(self, code: str) -> str:
        """Run a Python program and return its output."""
        return self.run(sys.executable, "-W", "error", "-c", code)

    def write(self, path: str, text: str) -> None:
        """Write a file, such as an attribute in sysfs."""
        self.run("tee", path, text=text)
