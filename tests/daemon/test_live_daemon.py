"""The daemon as a process that follows: a real uevent, and a read that does not return."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nodedevd.client import Client
from nodedevd.model.status import Status
from nodedevd.tree.read import STALE
from nodedevd.varlink import encode_call
from tests.support.real_devices import real_device
from tests.support.running import running, started
from tests.support.stuck import StuckAttribute
from tests.support.trees import Tree

CARD, SOUND = "0000:01:00.0", "0000:01:00.1"
PATIENCE_SECONDS = 20.0


class Watcher:
    """A client that watches; use `watching`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""

    def receive(self) -> dict[str, Any]:
        """Return the next reply; none in time fails the test."""
        while b"\0" not in self._rest:
            data = self._connection.recv(1 << 16)
            assert data, "the daemon closed the connection"
            self._rest += data
        reply, _, self._rest = self._rest.partition(b"\0")
        parameters: dict[str, Any] = msgspec.json.decode(reply)["parameters"]
        return parameters

    def heard_nothing(self) -> bool:
        """Tell whether nothing has been sent that was not received."""
        self._connection.setblocking(False)
        try:
            self._rest += self._connection.recv(1 << 16)
        except BlockingIOError:
            return not self._rest
        finally:
            self._connection.settimeout(PATIENCE_SECONDS)
        return False


@contextmanager
def watching(path: Path, **parameters: object) -> Iterator[Watcher]:
    """Watch from now on, without what there is."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        connection.connect(str(path))
        call = {"snapshot": False, **parameters}
        connection.sendall(encode_call("org.nodedevd.Devices.Watch", call, more=True))
        watcher = Watcher(connection)
        assert watcher.receive()["event"] == "ready"
        yield watcher


def status_when(path: Path, wanted: str, least: int) -> Status:
    """Ask for the status until a counter is so high; one that never is fails the test."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with Client(str(path)) as client:
        while time.monotonic() < deadline:
            status = client.status()
            found = getattr(status, wanted)
            if (found if isinstance(found, int) else len(found)) >= least:
                return status
            time.sleep(0.005)
    raise AssertionError(f"{wanted} is {found}, not {least}")


def test_real_uevent_that_changes_nothing_is_counted_and_no_news(tmp_path: Path) -> None:
    """From the kernel to the status; who watches hears nothing."""
    change = real_device()[2]
    path = tmp_path / "nodedevd.sock"
    with running(tmp_path, Path("/"), "--events", "kernel", "--reconcile", "0"):
        before = status_when(path, "devices", 1)
        assert before.event_source == "kernel"
        with watching(path) as watcher:
            change()
            status = status_when(path, "updates", before.updates + 1)
            assert status.events > before.events
            assert status.last_event is not None
            assert status.overflows == 0
            assert status.watchers == 1
            assert status.generation == before.generation
            assert watcher.heard_nothing()


def test_recorded_host_is_reconciled(tmp_path: Path) -> None:
    """Its changes are found by the scan that comes now and then, and told."""
    tree = Tree(tmp_path / "host")
    tree.pci(CARD, vendor=1, device=2, class_=0x030200)
    path = tmp_path / "nodedevd.sock"
    with running(tmp_path, Path(tree.root), "--reconcile", "0.02"), watching(path) as watcher:
        tree.pci(SOUND, vendor=1, device=2, class_=0x030200)
        told = watcher.receive()
        while told["event"] == "added" and told["name"] != "pci_0000_01_00_1":
            told = watcher.receive()
        assert told["name"] == "pci_0000_01_00_1"


@pytest.fixture
def host(tmp_path: Path) -> Tree:
    """Return a host of two PCI functions."""
    tree = Tree(tmp_path / "host")
    for address in (CARD, SOUND):
        tree.pci(address, vendor=1, device=2, class_=0x030200)
    return tree


def attribute(host: Tree) -> Path:
    """Return where an attribute of the card lies."""
    return Path(host.at(f"{host.resolve(CARD)}/numa_node"))


def errors_of(path: Path, name: str) -> list[dict[str, str]]:
    """Ask for a device, and return what could not be told of it."""
    with Client(str(path)) as client:
        errors: list[dict[str, str]] = msgspec.json.decode(client.describe_json(name))["errors"]
    return errors


def test_read_that_hangs_at_the_first_scan_delays_the_start_and_no_more(
    tmp_path: Path, host: Tree
) -> None:
    """The rest is served; status and device say what hangs, until it answers."""
    stuck = StuckAttribute(attribute(host))
    path = tmp_path / "nodedevd.sock"
    with running(tmp_path, Path(host.root), "--reconcile", "0"):
        status = status_when(path, "unanswered_reads", 1)
        assert [read.path for read in status.unanswered_reads] == [host.resolve(CARD)]
        assert errors_of(path, CARD) == [msgspec.to_builtins(STALE)]
        assert errors_of(path, SOUND) == []
        with watching(path) as watcher:
            stuck.free()
            told = watcher.receive()
            assert (told["event"], told["name"]) == ("changed", "pci_0000_01_00_0")
        assert errors_of(path, CARD) == []
        with Client(str(path)) as client:
            assert client.status().unanswered_reads == ()


def test_read_that_hangs_later_costs_the_others_nothing(tmp_path: Path, host: Tree) -> None:
    """Changes of others are told, and the end comes in time."""
    path = tmp_path / "nodedevd.sock"
    with started(
        tmp_path, "--sysroot", host.root, "--socket", str(path), "--reconcile", "0.05"
    ) as daemon:
        daemon.wait_notified("READY=1")
        with watching(path) as watcher:
            StuckAttribute(attribute(host))
            told = watcher.receive()
            assert (told["event"], told["name"]) == ("changed", "pci_0000_01_00_0")
            assert told["parts"] == ["errors"]
            host.pci("0000:02:00.0", vendor=1, device=2, class_=0x030200)
            assert watcher.receive()["name"] == "pci_0000_02_00_0"
        status = status_when(path, "unanswered_reads", 1)
        assert len(status.unanswered_reads) == 1
        assert errors_of(path, CARD) == [msgspec.to_builtins(STALE)]
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.log
    assert not path.exists()
