"""The daemon as a process that follows its host: a real uevent, and reads that hang."""

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
from nodedevd.host.archive.disk import pack, write_archive
from nodedevd.model.status import Status
from nodedevd.tree.read import STALE
from nodedevd.varlink import encode_call
from tests.support.real_devices import RealDevice
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
        """Return the next reply; fail if none comes in time."""
        while b"\0" not in self._rest:
            data = self._connection.recv(1 << 16)
            assert data, "the daemon closed the connection"
            self._rest += data
        reply, _, self._rest = self._rest.partition(b"\0")
        parameters: dict[str, Any] = msgspec.json.decode(reply)["parameters"]
        return parameters

    def is_silent(self) -> bool:
        """Return whether no more replies have arrived."""
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
    """Watch from now on, without a snapshot."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        connection.connect(str(path))
        call = {"snapshot": False, **parameters}
        connection.sendall(encode_call("org.nodedevd.Devices.Watch", call, more=True))
        watcher = Watcher(connection)
        assert watcher.receive()["event"] == "ready"
        yield watcher


def status_when(path: Path, wanted: str, least: int) -> Status:
    """Return the status once a counter is high enough; fail if it never is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with Client(str(path)) as client:
        while time.monotonic() < deadline:
            status = client.status()
            found = getattr(status, wanted)
            if (found if isinstance(found, int) else len(found)) >= least:
                return status
            time.sleep(0.005)
    raise AssertionError(f"{wanted} is {found}, not {least}")


@pytest.mark.needs("uevents")
def test_real_uevent_without_a_change_is_counted_and_not_reported(
    tmp_path: Path, real_device: RealDevice
) -> None:
    """It is counted in the status; a watcher gets no event."""
    path = tmp_path / "nodedevd.sock"
    with running(tmp_path, Path("/"), "--events", "kernel", "--reconcile", "0"):
        before = status_when(path, "generation", 1)
        assert before.event_source == "kernel"
        with watching(path, names=[real_device.path]) as watcher:
            real_device.change()
            status = status_when(path, "updates", before.updates + 1)
            assert status.events > before.events
            assert status.last_event is not None
            assert status.overflows == 0
            assert status.watchers == 1
            assert watcher.is_silent()


def test_recorded_host_is_reconciled(tmp_path: Path) -> None:
    """The planned scan finds its changes, and watchers get them."""
    tree = Tree(tmp_path / "host")
    tree.pci(CARD, vendor=1, device=2, class_=0x030200)
    path = tmp_path / "nodedevd.sock"
    with running(tmp_path, Path(tree.root), "--reconcile", "0.02"), watching(path) as watcher:
        tree.pci(SOUND, vendor=1, device=2, class_=0x030200)
        event = watcher.receive()
        while event["event"] == "added" and event["name"] != "pci_0000_01_00_1":
            event = watcher.receive()
        assert event["name"] == "pci_0000_01_00_1"


def test_host_in_an_archive_never_changes(tmp_path: Path) -> None:
    """The archive is in memory; its file can be removed, and directories be made in its place."""
    tree = Tree(tmp_path / "host")
    tree.pci(CARD, vendor=1, device=2, class_=0x030200)
    archive = tmp_path / "host.ttar"
    write_archive(pack(tree.root), str(archive))
    path = tmp_path / "nodedevd.sock"
    with running(tmp_path, archive, "--reconcile", "0.02"), watching(path) as watcher:
        before = status_when(path, "rescans", 0)
        archive.unlink()
        Tree(archive).definition(CARD, "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01", "mdpy-vga")
        assert before.event_source == "none"
        assert before.sysroot == str(archive)
        after = status_when(path, "rescans", before.rescans + 5)
        assert (after.generation, after.missed_changes, after.errors) == (before.generation, 0, ())
        assert watcher.is_silent()


@pytest.fixture
def host(tmp_path: Path) -> Tree:
    """Return a host of two PCI functions."""
    tree = Tree(tmp_path / "host")
    for address in (CARD, SOUND):
        tree.pci(address, vendor=1, device=2, class_=0x030200)
    return tree


def attribute(host: Tree) -> Path:
    """Return the path of an attribute of the card."""
    return Path(host.at(f"{host.resolve(CARD)}/numa_node"))


def errors_of(path: Path, name: str) -> list[dict[str, str]]:
    """Return the faults of a device."""
    with Client(str(path)) as client:
        document = msgspec.json.decode(client.snapshot_json([name]))
    errors: list[dict[str, str]] = document["devices"][0]["errors"]
    return errors


def test_read_that_hangs_at_the_first_scan_delays_the_start_and_no_more(
    tmp_path: Path, host: Tree
) -> None:
    """The other devices are served; status and the device report the read until it returns."""
    stuck = StuckAttribute(attribute(host))
    path = tmp_path / "nodedevd.sock"
    with running(tmp_path, Path(host.root), "--reconcile", "0"):
        status = status_when(path, "unanswered_reads", 1)
        assert [read.path for read in status.unanswered_reads] == [host.resolve(CARD)]
        assert errors_of(path, CARD) == [msgspec.to_builtins(STALE)]
        assert errors_of(path, SOUND) == []
        with watching(path) as watcher:
            stuck.free()
            event = watcher.receive()
            assert (event["event"], event["name"]) == ("changed", "pci_0000_01_00_0")
        assert errors_of(path, CARD) == []
        with Client(str(path)) as client:
            assert client.status().unanswered_reads == ()


def test_read_that_hangs_later_does_not_delay_other_devices(tmp_path: Path, host: Tree) -> None:
    """Changes of other devices are reported, and the daemon stops in time."""
    path = tmp_path / "nodedevd.sock"
    with started(
        tmp_path, "--sysroot", host.root, "--socket", str(path), "--reconcile", "0.05"
    ) as daemon:
        daemon.wait_notified("READY=1")
        with watching(path) as watcher:
            StuckAttribute(attribute(host))
            event = watcher.receive()
            assert (event["event"], event["name"]) == ("changed", "pci_0000_01_00_0")
            assert event["parts"] == ["errors"]
            host.pci("0000:02:00.0", vendor=1, device=2, class_=0x030200)
            assert watcher.receive()["name"] == "pci_0000_02_00_0"
        status = status_when(path, "unanswered_reads", 1)
        assert len(status.unanswered_reads) == 1
        assert errors_of(path, CARD) == [msgspec.to_builtins(STALE)]
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.log
    assert not path.exists()
