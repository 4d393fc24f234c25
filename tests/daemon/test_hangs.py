"""Reads that hang, and the programs: they start, stop and end in spite of them."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from nodedevd.client import Client, TimedOut
from tests.support.hosts import unpacked
from tests.support.running import NODEDEVCTL, PATIENCE_SECONDS, REPOSITORY, ctl, running, started
from tests.support.stuck import StuckAttribute
from tests.support.trees import Tree

GPU = "/sys/devices/pci0000:00/0000:00:02.0/0000:02:00.0"


@pytest.fixture
def host(tmp_path: Path) -> Tree:
    """A sample host as files, with an attribute whose read hangs."""
    tree = unpacked("vgpu-pf", tmp_path / "host")
    StuckAttribute(tree.at(f"{GPU}/uevent"))
    return tree


@pytest.mark.parametrize("command", ["tree", "dumpxml --all", "doctor", "status", "record {}"])
def test_nodedevctl_goes_on_without_what_hangs(host: Tree, tmp_path: Path, command: str) -> None:
    """It ends, and says what it left out."""
    words = command.format(tmp_path / "new.ttar").split()
    done = ctl("--sysroot", host.root, *words)
    assert done.returncode in (0, 5), done.stderr
    assert GPU.rpartition("/")[2] in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_device_is_judged_though_the_mounts_hang(tmp_path: Path) -> None:
    """What the host uses of it is unknown, and the answer says why."""
    tree = unpacked("vgpu-pf", tmp_path / "host")
    mounts = tree.file("/proc/self/mountinfo")
    StuckAttribute(tree.at(mounts))
    done = ctl("--sysroot", tree.root, "hostdev", "0000:02:00.0")
    assert done.returncode == 1
    assert f"left out, because a read has not returned: {mounts}" in done.stderr
    assert "cannot be assigned to a guest: it is the parent of the mdevs" in done.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signal_during_a_first_scan_that_hangs_ends_the_daemon(
    tmp_path: Path, signum: signal.Signals
) -> None:
    """It does not wait for the read, nor is that an error."""
    path = tmp_path / "nodedevd.sock"
    tree = unpacked("vgpu-pf", tmp_path / "host")
    stuck = StuckAttribute(tree.at(f"{GPU}/uevent"))
    with started(tmp_path, "--sysroot", tree.root, "--socket", str(path), "-v") as daemon:
        stuck.wait_read()
        assert daemon.stop(signum) == 0
        assert "Traceback" not in daemon.log
        assert "serving" not in daemon.log
    assert not path.exists()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signal_during_a_scan_that_hangs_ends_nodedevctl(
    tmp_path: Path, signum: signal.Signals
) -> None:
    """Also while the interpreter would wait for its threads."""
    tree = unpacked("vgpu-pf", tmp_path / "host")
    stuck = StuckAttribute(tree.at(f"{GPU}/uevent"))
    process = subprocess.Popen(
        [*NODEDEVCTL, "--sysroot", tree.root, "tree"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        stuck.wait_read()
        process.send_signal(signum)
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
        process.wait()
    assert process.returncode != 0
    assert b"Traceback" not in errors


def test_sighup_has_the_host_read_again(tmp_path: Path) -> None:
    """The daemon serves on, and finds what no event reported."""
    tree = unpacked("vgpu-pf", tmp_path / "host")
    path = tmp_path / "nodedevd.sock"
    with (
        running(tmp_path, Path(tree.root), "--reconcile", "0") as daemon,
        Client(str(path), timeout_seconds=PATIENCE_SECONDS) as client,
        client.watch(snapshot=False) as watch,
    ):
        ready = watch.next(PATIENCE_SECONDS)
        assert ready is not None
        assert ready.event == "ready"
        tree.pci("0000:09:00.0", vendor=1, device=2, class_=0x030200)
        daemon.process.send_signal(signal.SIGHUP)
        event = watch.next(PATIENCE_SECONDS)
        assert event is not None
        assert (event.event, event.name) == ("added", "pci_0000_09_00_0")
        assert client.status().rescans == 1


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A socket whose backlog is full, and on which nobody accepts."""
    return tmp_path / "crowded.sock"


def test_full_backlog_does_not_outlast_a_timeout(crowded: Path) -> None:
    """A call keeps its timeout, and so does nodedevctl wait."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(str(crowded))
        listener.listen(0)
        waiting.connect(str(crowded))
        with pytest.raises(TimedOut, match="to accept a connection"):
            Client(str(crowded), timeout_seconds=0.2)
        begun = time.monotonic()
        done = ctl("--socket", str(crowded), "wait", "--cap", "pci", "--timeout", "1")
        assert done.returncode == 4, done.stderr
        assert "timed out after 1 s" in done.stderr
        assert time.monotonic() - begun < PATIENCE_SECONDS
        done = ctl("--socket", str(crowded), "status")
        assert done.returncode == 3
        assert "too many clients wait to be accepted" in done.stderr
