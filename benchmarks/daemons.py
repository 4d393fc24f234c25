"""The two daemons: how each is started, and what it takes of the machine."""

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

from benchmarks.faces import Connection, Face, Rpc, Varlink
from tests.support.libvirtd import DRIVER, LIBVIRTD, RUN

TIMEOUT_SECONDS = 300.0
"""After so long without an answer a run is broken."""
QUIET_SECONDS = 0.5
"""A daemon is at rest when it has used nothing for so long."""
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_of(pid: int) -> float:
    """Return the CPU time that a process has used so far, in seconds."""
    # The clock of a process is numbered by its pid, as clock_getcpuclockid(3) does.
    return time.clock_gettime(~pid << 3 | 2)


@contextmanager
def processors_awake() -> Iterator[None]:
    """Keep all processors from sleeping, by loops that give way to whatever else is to run.

    That is SCHED_IDLE of sched(7). In a virtual machine, to wake a processor that has halted takes
    longer than most calls; on a host whose guests have work to do, few ever halt.
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


def first_connection(face: Face, process: subprocess.Popen[bytes], name: str) -> Connection:
    """Connect to a program that was just started, once it listens. Raises RuntimeError."""
    began = time.monotonic()
    while True:
        try:
            return Connection(face, TIMEOUT_SECONDS)
        except (FileNotFoundError, ConnectionRefusedError):
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode}") from None
            if time.monotonic() - began > TIMEOUT_SECONDS:
                raise
            time.sleep(0.001)


class Daemon(ABC):
    """A daemon that can be started again and again.

    Attributes:
        name: of its program.
        own: the protocol by which it is asked first.
        libvirt: libvirt's.
    """

    name: str
    own: Face
    libvirt: Rpc

    @property
    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """What starts it."""

    @property
    def environment(self) -> dict[str, str]:
        """What it is started with besides."""
        return {}


class Nodedevd(Daemon):
    """This one."""

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
    """libvirtd with its node device driver alone, as virtnodedevd has it."""

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
    """A daemon that runs.

    Attributes:
        names: of all devices, as its first answer has them.
        wall_seconds: from its start to that answer.
        cpu_seconds: what it used meanwhile.
    """

    def __init__(self, daemon: Daemon, process: subprocess.Popen[bytes], began: float) -> None:
        self.pid = process.pid
        face = daemon.own
        with first_connection(face, process, daemon.name) as connection:
            reply = connection.ask(face.names)
        self.wall_seconds = time.monotonic() - began
        self.cpu_seconds = self.cpu()
        self.names = face.read_names(reply)

    def cpu(self) -> float:
        """Return the CPU time that it and its children have used so far, in seconds."""
        total = cpu_of(self.pid)
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if path.parent.name == str(self.pid):
                total += sum(map(int, fields[13:15])) / _TICKS  # of children that have ended
            elif int(fields[1]) == self.pid:
                total += sum(map(int, fields[11:15])) / _TICKS
        return total

    def cpu_at_rest(self, patience_seconds: float = TIMEOUT_SECONDS) -> float:
        """Wait until it does nothing any more, and return its CPU time."""
        began, used, since = time.monotonic(), self.cpu(), time.monotonic()
        while time.monotonic() - since < QUIET_SECONDS:
            if time.monotonic() - began > patience_seconds:
                raise TimeoutError("the daemon does not come to rest")
            time.sleep(0.05)
            now = self.cpu()
            if now - used > 0.001:
                used, since = now, time.monotonic()
        return self.cpu()

    def rss_mib(self) -> float:
        """Return how much of its memory is resident, in MiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("no VmRSS")


@contextmanager
def started(daemon: Daemon) -> Iterator[Started]:
    """Start a daemon and wait for its first complete answer; it is gone in the end."""
    for face in (daemon.own, daemon.libvirt):
        face.path.parent.mkdir(parents=True, exist_ok=True)
        face.path.unlink(missing_ok=True)
    # As it is installed, it finds its bytecode: that of the first start stays for the others.
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
        error.add_note(f"{daemon.name} logged: {log_path.read_text(errors='replace')[-2000:]}")
        raise
    finally:
        process.send_signal(signal.SIGKILL)  # of libvirtd, nothing is to be told after this
        process.wait()
