"""Real daemons and publishers on sample hosts, killed and brought back: what `hosts` shows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nodedevd.client.fleet import Fleet
from tests.support.ctl import Ctl
from tests.support.hosts import unpacked
from tests.support.nats_server import NatsServer, nats_server
from tests.support.running import COMMAND, REPOSITORY, running

pytestmark = [pytest.mark.exhaustive, pytest.mark.slow, pytest.mark.needs("nats-server")]

PATIENCE = 60.0


class Publisher:
    """nodedevd-publish as a process."""

    def __init__(self, directory: Path, server: NatsServer, host: str, socket: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.log = directory / "log"
        config = directory / "fleet.toml"
        config.write_text(
            f'servers = ["{server.url}"]\nhost = "{host}"\nsocket = "{socket}"\n'
            f'state_directory = "{directory}/state"\nheartbeat_seconds = 1\n'
            "publish_seconds = 0.1\ntimeout_seconds = 2\n"
        )
        self._command = [sys.executable, "-m", "nodedevd.publish", "--config", str(config)]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, cwd=REPOSITORY, stderr=log)

    def end(self, number: signal.Signals) -> int:
        """End it by a signal; return its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    @property
    def memory_bytes(self) -> int:
        """Its resident memory."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Return what ends everything."""
    with ExitStack() as one:
        yield one


def make_bucket(server: NatsServer) -> None:
    """Make the bucket, as an administrator does."""
    options = ["--server", server.url, "--make-bucket", "--max-bytes", str(1 << 28)]
    command = [sys.executable, "-m", "nodedevd.publish", *options]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)


def until(reached: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline, f"not {what}"
        time.sleep(0.1)


def test_hosts_at_each_moment(tmp_path: Path, stack: ExitStack) -> None:
    """Published, killed, brought back, stopped, without a daemon, and with a double."""
    server = stack.enter_context(nats_server(tmp_path / "nats"))
    make_bucket(server)
    ctl = Ctl(["--fleet", server.url])
    publishers, daemons = {}, {}
    for host, sample in (("one", "vgpu-pf"), ("two", "vgpu-sriov")):
        root, directory = tmp_path / host / "root", tmp_path / host / "run"
        directory.mkdir(parents=True)
        unpacked(sample, root)
        daemon = stack.enter_context(running(directory, root, command=COMMAND))
        daemons[host] = daemon, directory, root
        publishers[host] = Publisher(tmp_path / host, server, host, directory / "nodedevd.sock")

    def states() -> dict[str, str]:
        lines = ctl.run("hosts").stdout.splitlines()[1:]
        return {line.split()[0]: line.split()[1] for line in lines if line[0] != " "}

    assert ctl.out("hosts") == "No hosts.\n"
    for one in publishers.values():
        one.start()
        stack.callback(one.end, signal.SIGKILL)
    until(lambda: states() == {"one": "alive", "two": "alive"}, "both alive")
    publishers["one"].end(signal.SIGKILL)
    until(lambda: states() == {"one": "gone", "two": "alive"}, "one gone")
    assert "0 of 1 x P40-4C" in ctl.run("fits", "--type", "P40-4C", status=5).stdout
    publishers["one"].start()
    until(lambda: states()["one"] == "alive", "one alive again")
    publishers["one"].end(signal.SIGKILL)
    publishers["one"].start()  # at once: by the name that was kept, without waiting
    until(lambda: "publishing one" in publishers["one"].log.read_text()[-200:], "it publishes")
    assert "another nodedevd-publish" not in publishers["one"].log.read_text()
    assert publishers["two"].end(signal.SIGTERM) == 0
    assert states() == {"one": "alive", "two": "left"}
    publishers["two"].start()
    until(lambda: states()["two"] == "alive", "two alive again")

    daemon, directory, root = daemons["two"]
    daemon.process.kill()
    daemon.process.wait()
    until(lambda: states() == {"one": "alive", "two": "no-daemon"}, "two without a daemon")
    stack.enter_context(running(directory, root, command=COMMAND))
    until(lambda: states() == {"one": "alive", "two": "alive"}, "two with a daemon")

    double = Publisher(tmp_path / "double", server, "one", directory / "nodedevd.sock")
    double.start()
    stack.callback(double.end, signal.SIGKILL)
    until(lambda: "another nodedevd-publish" in double.log.read_text(), "the double refused")
    with Fleet(server.url) as fleet:
        found = fleet.hosts().host("one").summary
        assert found is not None
        assert found.devices == 6
        assert fleet.tree("two").snapshot.get("computer") is not None


def test_daemon_that_hangs_is_said_to_and_its_host_is_not_gone(
    tmp_path: Path, stack: ExitStack
) -> None:
    """Heartbeats go on for longer than three intervals, and the host comes back by itself."""
    server = stack.enter_context(nats_server(tmp_path / "nats"))
    make_bucket(server)
    root, directory = tmp_path / "root", tmp_path / "run"
    directory.mkdir()
    unpacked("vgpu-pf", root)
    daemon = stack.enter_context(running(directory, root, command=COMMAND))
    publisher = Publisher(tmp_path / "p", server, "one", directory / "nodedevd.sock")
    publisher.start()
    stack.callback(publisher.end, signal.SIGKILL)
    states: list[str | None] = []
    with Fleet(server.url) as fleet, fleet.watch() as watch:

        def until_told(state: str) -> None:
            while not states or states[-1] != state:
                event = watch.next(PATIENCE)
                assert event is not None, f"not {state}"
                states.append(event.state)

        until_told("alive")
        daemon.process.send_signal(signal.SIGSTOP)
        stack.callback(daemon.process.send_signal, signal.SIGCONT)
        until_told("no-daemon")
        daemon.process.send_signal(signal.SIGCONT)
        until_told("alive")
    assert "gone" not in states


def test_publisher_without_a_server_keeps_the_newest_state_in_bounded_memory(
    tmp_path: Path, stack: ExitStack
) -> None:
    """Changes while there is no server are forgotten, but for the last one."""
    server = stack.enter_context(nats_server(tmp_path / "nats"))
    make_bucket(server)
    root, directory = tmp_path / "root", tmp_path / "run"
    directory.mkdir()
    host = unpacked("vgpu-pf", root)
    stack.enter_context(running(directory, root, "--reconcile", "0.1", command=COMMAND))
    publisher = Publisher(tmp_path / "p", server, "one", directory / "nodedevd.sock")
    publisher.start()
    stack.callback(publisher.end, signal.SIGKILL)
    ctl = Ctl(["--fleet", server.url])
    ctl.run("wait", "--host", "one", "--timeout", "60")
    before = publisher.memory_bytes
    server.stop()
    counts = "sys/class/mdev_bus/0000:02:00.0/mdev_supported_types/nvidia-283/available_instances"
    assert host is not None
    for number in range(200):
        beside = root / "count"
        beside.write_text(f"{1 + number % 4}\n")
        beside.rename(root / counts)
        time.sleep(0.1)
    growth = publisher.memory_bytes - before
    print(f"{growth / 2**20:.1f} MiB more after 200 changes in 20 s without a server")
    assert growth < 16 << 20
    server.start()
    ctl.run("wait", "--type", "P40-4C", "--available", "4", "--timeout", "60")
