"""The limit on open files: whatever clients do, the daemon can read its host."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from nodedevd.client import Client, TooManyClients
from tests.support.running import COMMAND, Running, running, started
from tests.support.trees import Tree

CARD = "0000:01:00.0"


def limited(soft: int, hard: int) -> tuple[str, ...]:
    """Return the command of a daemon with these limits on open files."""
    limits = f"ulimit -Sn {soft} && ulimit -Hn {hard}"
    return ("sh", "-c", f'{limits} && exec "$@"', "sh", *COMMAND)


@pytest.fixture
def host(tmp_path: Path) -> Tree:
    """A host with some devices."""
    tree = Tree(tmp_path / "host")
    for number in range(20):
        tree.pci(f"0000:01:{number:02x}.0", vendor=1, device=2, class_=0x030200)
    return tree


@contextmanager
def crowd(path: Path, number: int) -> Iterator[list[socket.socket]]:
    """Connect so many clients, which stay connected."""
    with ExitStack() as stack:
        yield [stack.enter_context(connected(path)) for _ in range(number)]


def connected(path: Path) -> socket.socket:
    """Return a client that is connected, or waits to be accepted."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(str(path))
    return client


def limit_of(daemon: Running) -> str:
    """Return the daemon's limits on open files, as /proc shows them."""
    lines = Path(f"/proc/{daemon.process.pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith("Max open files"))


def test_soft_limit_is_raised_at_the_start(tmp_path: Path, host: Tree) -> None:
    """The shell's soft limit of 100 does not hold for the daemon."""
    with running(tmp_path, Path(host.root), command=limited(100, 1000)) as daemon:
        assert limit_of(daemon).split()[3:5] == ["1000", "1000"]
        assert "leaves room for" in daemon.log


def test_crowd_of_clients_leaves_the_tree_whole(tmp_path: Path, host: Tree) -> None:
    """The descriptors for scans are held back: no device is lost, and later changes are seen."""
    path = tmp_path / "nodedevd.sock"
    options = ("--reconcile", "0.05")
    with (
        running(tmp_path, Path(host.root), *options, command=limited(64, 64)),
        Client(str(path), timeout_seconds=20) as client,
        Client(str(path), timeout_seconds=20) as watcher,
    ):
        before = client.list()
        with watcher.watch() as watch, crowd(path, 100):
            host.pci("0000:02:00.0", vendor=1, device=2, class_=0x030200)
            told = next(one for one in watch if one.event not in ("present", "ready"))
            assert (told.event, told.name) == ("added", "pci_0000_02_00_0")
            assert client.status().errors == ()
        assert len(client.list().devices) == len(before.devices) + 1


def test_client_beyond_the_limit_is_refused_and_others_served(tmp_path: Path, host: Tree) -> None:
    """The refusal says so."""
    path = tmp_path / "nodedevd.sock"
    with (
        running(tmp_path, Path(host.root), command=limited(64, 64)),
        Client(str(path), timeout_seconds=20) as client,
        crowd(path, 100),
    ):
        assert client.status().clients < 64
        with Client(str(path), timeout_seconds=20) as other, pytest.raises(TooManyClients):
            other.status()
        assert client.status().errors == ()


def test_limit_too_small_for_a_client_is_an_error(tmp_path: Path, host: Tree) -> None:
    """The daemon does not start, and says what to raise."""
    arguments = ("--sysroot", host.root, "--socket", str(tmp_path / "nodedevd.sock"))
    with started(tmp_path, *arguments, command=limited(32, 32)) as daemon:
        assert daemon.wait_ended() == 1
        assert "RLIMIT_NOFILE, is 32" in daemon.log
        assert os.listdir(tmp_path).count("nodedevd.sock") == 0
