"""Bed: generated hosts, daemons on them, and the attackers and polite clients that rows need."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.daemons import cpu_of
from benchmarks.generate import generate, shape
from benchmarks.protocols import Connection, Protocol, Rpc, Varlink
from nodedevd.socket_paths import INTERFACE

NOBODY = 65534
TIMEOUT_SECONDS = 60.0
SMALL, LARGE = 620, 9573
_DESCRIPTORS = 8192
"""open files that an attacker may have"""


def call(method: str, *, more: bool = False, **parameters: Any) -> bytes:
    """Return a call of a method of the daemon."""
    message = {"method": f"{INTERFACE}.{method}", "parameters": parameters, "more": more}
    return json.dumps(message).encode() + b"\0"


class Daemon:
    """A running daemon.

    Attributes:
        pid: its process.
        log: the file that it logs to.
        varlink: its protocol of its own.
        libvirt: libvirt's protocol.
    """

    def __init__(self, directory: Path, command: Sequence[str], environment: Mapping[str, str]):
        self.log = directory / "log"
        self.varlink = Varlink(directory / "socket")
        self.libvirt = Rpc(directory / "libvirt")
        sockets = ("--socket", self.varlink.path, "--libvirt-socket", self.libvirt.path)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *map(str, sockets)],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.pid = self._process.pid

    def wait_ready(self) -> None:
        """Wait for its first reply. Raises RuntimeError if it ends before."""
        while True:
            with suppress(FileNotFoundError, ConnectionRefusedError):
                self.ask("GetStatus")
                return
            if self._process.poll() is not None:
                raise RuntimeError(f"the daemon ended: {self.log.read_text()}")
            time.sleep(0.01)

    def ask(self, method: str, **parameters: Any) -> Any:
        """Return the parameters of the reply to a call, by a connection of its own."""
        with Connection(self.varlink, TIMEOUT_SECONDS) as connection:
            return self.varlink.read(connection.ask(call(method, **parameters)))

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used so far."""
        return cpu_of(self.pid)

    def rss_mib(self) -> float:
        """Return its resident memory, in MiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("no VmRSS")

    def highest_rss_mib(self) -> float:
        """Return the most resident memory that it has had since `forget_highest_rss`."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("no VmHWM")

    def forget_highest_rss(self) -> None:
        """Reset `highest_rss_mib`, see proc_pid_clear_refs(5)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def latencies(self, message: bytes, seconds: float, pause_seconds: float = 0.01) -> list[float]:
        """Return the milliseconds that each reply to a polite client took, sorted.

        It is root's, connects once, and makes one Varlink call after another.
        """
        found = []
        with Connection(self.varlink, TIMEOUT_SECONDS) as connection:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                began = time.perf_counter()
                connection.ask(message)
                found.append((time.perf_counter() - began) * 1e3)
                time.sleep(pause_seconds)
        return sorted(found)

    def end(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()


class Attacker:
    """A process of an unprivileged user that runs an attack; use `Bed.attacker`.

    Attributes:
        pid: the process.
    """

    def __init__(self, attack: Callable[[], Iterator[Any]], uid: int) -> None:
        self._stages, end = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(end)
            return
        try:
            os.close(self._stages)
            hard = max(_DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
            resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, hard))
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            for _ in attack():
                os.write(end, b".")
            os.write(end, b".")
            signal.pause()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)

    def wait_stage(self) -> None:
        """Wait until the attack yields, or has done its all. Raises RuntimeError if it fails."""
        if not os.read(self._stages, 1):
            raise RuntimeError("the attack failed")

    def end(self) -> None:
        """Kill it; its connections close."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._stages)


class Bed:
    """What rows are measured on; its hosts are generated once and stay."""

    def __init__(self, hosts: Path, program: Sequence[str] = ()) -> None:
        self._hosts = hosts
        self._program = program or (sys.executable, "-m", "nodedevd")

    def host(self, devices: int) -> Path:
        """Return the directory of a generated host, which rows do not change."""
        directory = self._hosts / f"h{devices}"
        if not directory.exists():
            parts = directory.with_suffix(".part")
            parts.mkdir(parents=True)
            generate(parts, shape(devices))
            parts.rename(directory)
        return directory

    @contextmanager
    def daemon(
        self,
        devices: int,
        *options: str,
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[Daemon]:
        """Run a daemon on a generated host, without events; it is killed in the end."""
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            directory.chmod(0o755)
            arguments = ("--sysroot", str(self.host(devices)), "--events", "none")
            command = (*self._program, *arguments, "--reconcile", "0", *options)
            daemon = Daemon(directory, command, environment or {})
            try:
                daemon.wait_ready()
                yield daemon
            finally:
                daemon.end()

    @contextmanager
    def attacker(
        self, attack: Callable[[], Iterator[Any]], uid: int = NOBODY
    ) -> Iterator[Attacker]:
        """Run an attack as an unprivileged user, wait until it yields; kill it in the end."""
        attacker = Attacker(attack, uid)
        try:
            attacker.wait_stage()
            yield attacker
        finally:
            attacker.end()


def connected(protocol: Protocol, count: int) -> list[socket.socket]:
    """Return connections of an attacker, as many as the daemon accepts of so many."""
    found = []
    for _ in range(count):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(TIMEOUT_SECONDS)
        with suppress(OSError):
            sock.connect(str(protocol.path))
            found.append(sock)
    return found


def send(sock: socket.socket, data: bytes) -> int:
    """Send as much as the daemon takes at once; return how much that is."""
    sock.setblocking(False)
    sent = 0
    with suppress(OSError):
        while sent < len(data):
            sent += sock.send(memoryview(data)[sent:])
    return sent


def percentile(values: Sequence[float], percent: float) -> float:
    """Return a percentile of sorted values."""
    return values[min(len(values) - 1, int(len(values) * percent / 100))]
