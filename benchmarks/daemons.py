"""The two daemons: how to start each, and which resources it uses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.protocols import Connection, Protocol, Rpc, Varlink
from tests.support.libvirtd import DRIVER, LIBVIRTD, RUN

TIMEOUT_SECONDS = 300.0
"""After so long without a reply, the run fails."""
QUIET_SECONDS = 0.5
"""A daemon is idle when it has used no CPU time for so long."""
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_of(pid: int) -> float:
    """Return the CPU time that a process has used so far, in seconds."""
    # This is the number of the CPU clock of a process, see clock_getcpuclockid(3).
    return time.clock_gettime(~pid << 3 | 2)


@contextmanager
def processors_awake() -> Iterator[None]:
    """Keep all processors from halting, by busy loops that yield to all other work.

    The loops are SCHED_IDLE, sched(7). In a virtual machine, waking up a halted processor takes
    longer than most calls; on a host with busy guests, few processors ever halt.
    """
    loops = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in os.sched_getaffinity(0)
    ]
    try:
        for loop in loops:
            os.sched_setscheduler(loop.pid, os.SCHED_IDLE, os.sched_param(0))
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def first_connection(protocol: Protocol, process: subprocess.Popen[bytes], name: str) -> Connection:
    """Connect to a program that was just started, as soon as it listens. Raises RuntimeError."""
    began = time.monotonic()
    while True:
        try:
            return Connection(protocol, TIMEOUT_SECONDS)
        except (FileNotFoundError, ConnectionRefusedError):
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode}") from None
            if time.monotonic() - began > TIMEOUT_SECONDS:
                raise
            time.sleep(0.001)


class Daemon(ABC):
    """A daemon that can be started repeatedly.

    Attributes:
        name: name of its program.
        own: the protocol in which it is called first.
        libvirt: libvirt's protocol.
    """

    name: str
    own: Protocol
    libvirt: Rpc

    @property
    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """The command that starts it."""

    @property
    def environment(self) -> dict[str, str]:
        """Additional environment variables."""
        return {}


class Nodedevd(Daemon):
    """The daemon nodedevd."""

    name = "nodedevd"

    def __init__(self, program: str | None = None) -> None:
        self._program = (program,) if program else (sys.executable, "-m", "nodedevd")
        self.varlink = Varlink(RUN / "nodedevd.sock")
        self.own = self.varlink
        self.libvirt = Rpc(RUN / "nodedevd-libvirt.sock")

    @property
    def command(self) -> Sequence[str | Path]:
        sockets = ("--socket", self.own.path, "--libvirt-socket", self.libvirt.path)
        return (*self._program, *sockets)


class Libvirtd(Daemon):
    """The daemon libvirtd with only its node device driver, as virtnodedevd has it."""

    name = "libvirtd"

    def __init__(self, *, mdevctl: bool = True) -> None:
        self.own = self.libvirt = Rpc(Path("/run/libvirt/libvirt-sock"))
        self._mdevctl = mdevctl
        self._drivers = RUN / "drivers"
        self._config = RUN / "libvirtd.conf"
        self._drivers.mkdir(exist_ok=True)
        for found in Path("/usr/lib").glob(f"*/{DRIVER}"):
            link = self._drivers / found.name
            if not link.is_symlink():
                link.symlink_to(found)
        self._config.write_text('auth_unix_rw = "none"\nmax_clients = 5000\n')

    @property
    def command(self) -> Sequence[str | Path]:
        return (LIBVIRTD, "-f", self._config, "-p", RUN / "libvirtd.pid")

    @property
    def environment(self) -> dict[str, str]:
        programs = os.environ["PATH"] if self._mdevctl else "/nonexistent"
        return {"LIBVIRT_DRIVER_DIR": str(self._drivers), "PATH": programs}


class Started:
    """A running daemon.

    Attributes:
        names: names of all devices, from its first reply.
        wall_seconds: time from its start to that reply.
        cpu_seconds: CPU time that it used until then.
    """

    def __init__(self, daemon: Daemon, process: subprocess.Popen[bytes], began: float) -> None:
        self.pid = process.pid
        protocol = daemon.own
        with first_connection(protocol, process, daemon.name) as connection:
            reply = connection.ask(protocol.names)
        self.wall_seconds = time.monotonic() - began
        self.cpu_seconds = self.cpu()
        self.names = protocol.read_names(reply)

    def cpu(self) -> float:
        """Return the CPU time of the daemon and its children so far, in seconds."""
        total = cpu_of(self.pid)
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if path.parent.name == str(self.pid):
                total += sum(map(int, fields[13:15])) / _TICKS  # of ended children
            elif int(fields[1]) == self.pid:
                total += sum(map(int, fields[11:15])) / _TICKS
        return total

    def cpu_at_rest(self, patience_seconds: float = TIMEOUT_SECONDS) -> float:
        """Wait until the daemon is idle, and return its CPU time. Raises TimeoutError."""
        began, used, since = time.monotonic(), self.cpu(), time.monotonic()
        while time.monotonic() - since < QUIET_SECONDS:
            if time.monotonic() - began > patience_seconds:
                raise TimeoutError(f"the daemon is not idle after {patience_seconds:g} s")
            time.sleep(0.05)
            now = self.cpu()
            if now - used > 0.001:
                used, since = now, time.monotonic()
        return self.cpu()

    def rss_mib(self) -> float:
        """Return its resident memory, in MiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("no VmRSS")


@contextmanager
def started(daemon: Daemon) -> Iterator[Started]:
    """Start a daemon, wait for its first complete reply, and kill it at the end."""
    for protocol in (daemon.own, daemon.libvirt):
        protocol.path.parent.mkdir(parents=True, exist_ok=True)
        protocol.path.unlink(missing_ok=True)
    # As in an installation, Python finds bytecode: the first start writes it.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    log_path = RUN / f"{daemon.name}.log"
    with log_path.open("wb") as log:
        began = time.monotonic()
        process = subprocess.Popen(
            list(map(str, daemon.command)),
            env={**environment, **daemon.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield Started(daemon, process, began)
    except BaseException as error:
        error.add_note(f"log of {daemon.name}: {log_path.read_text(errors='replace')[-2000:]}")
        raise
    finally:
        process.send_signal(signal.SIGKILL)  # there is no need for a clean stop
        process.wait()
