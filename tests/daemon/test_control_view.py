"""The tree of the control service is that of the daemon, as new as the daemon's own, or a scan."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nodedevd.actions.plan import Expected
from nodedevd.client import Client
from nodedevd.control import view as view_module
from nodedevd.control.view import View
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.model.snapshot import Snapshot
from tests.support.played_kernel import PlayedKernel, mtty_parent, small_card, vendor_card
from tests.support.running import PATIENCE_SECONDS, Running, running
from tests.support.trees import Tree

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"


class Host:
    """A host of files, and the daemon that reads it.

    It hears of changes by SIGHUP alone: there are no uevents of files.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "host"
        self.kernel = PlayedKernel(Tree(self.root))
        self.parent = mtty_parent(self.kernel)
        self.functions = vendor_card(self.kernel, small_card())
        self.socket = str(directory / "nodedevd.sock")

    def view(self) -> View:
        """Return a view of it."""
        return View(str(self.root), self.socket)

    def create(self) -> None:
        """Create an mdev."""
        self.kernel.write(f"{self.parent}/mdev_supported_types/mtty-1/create", UUID)

    def remove(self) -> None:
        """Remove it."""
        self.kernel.write(f"{self.parent}/{UUID}/remove", "1")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return a host whose daemon does not run."""
    return Host(tmp_path)


@pytest.fixture
def daemon(host: Host) -> Iterator[Running]:
    """Run its daemon."""
    with running(host.directory, host.root, "--events", "none", "--poll", "0") as process:
        yield process


def in_daemon(host: Host, *names: str) -> bool:
    """Return whether the daemon shows all these devices."""
    with Client(host.socket) as client:
        known = {device.name for device in client.list().devices}
    return known.issuperset(names)


def types_of(snapshot: Snapshot, path: str) -> dict[str, int | None]:
    """Return how many of each type a parent can still create."""
    device = snapshot.at(path)
    assert device is not None
    parent = device.capability(MdevParent)
    assert parent is not None
    return {one.id: one.available_instances for one in parent.types}


def test_tree_is_the_daemons_with_the_counts_of_now(host: Host, daemon: Running) -> None:
    """All devices, with the daemon's generation; what no event tells is read anew."""
    with closing(host.view()) as view, Client(host.socket) as client:
        snapshot = view.snapshot()
        assert view.source == "daemon"
        devices = client.snapshot()
        assert snapshot.generation == devices.generation
        assert list(snapshot) == list(devices.devices)
        assert types_of(snapshot, host.parent)["mtty-2"] == 12
        host.kernel.tree.file(
            f"{host.parent}/mdev_supported_types/mtty-2/available_instances", "11\n"
        )
        assert types_of(view.snapshot(), host.parent)["mtty-2"] == 11
        assert view.source == "daemon"


def test_daemon_that_has_not_heard_of_an_mdev_is_waited_for(host: Host, daemon: Running) -> None:
    """Of one that has been made as of one that is gone: neither counts as what it was."""
    found: list[Snapshot] = []
    with closing(host.view()) as view:
        view.snapshot()
        for change in (host.create, host.remove):
            change()
            thread = threading.Thread(target=lambda: found.append(view.snapshot()))
            thread.start()
            daemon.process.send_signal(signal.SIGHUP)
            thread.join(PATIENCE_SECONDS)
            assert view.source == "daemon"
        first, second = found
        assert first.find(UUID) is not None
        assert second.find(UUID) is None


def test_daemon_that_does_not_hear_of_an_mdev_is_not_believed(
    host: Host, daemon: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host is scanned."""
    monkeypatch.setattr(view_module, "EVENT_SECONDS", 0.05)
    with closing(host.view()) as view:
        view.snapshot()
        for change, is_there in ((host.create, True), (host.remove, False)):
            change()
            assert (view.snapshot().find(UUID) is not None) == is_there
            sources = [view.source]
            daemon.process.send_signal(signal.SIGHUP)
            monkeypatch.setattr(view_module, "EVENT_SECONDS", PATIENCE_SECONDS)
            view.snapshot()
            assert [*sources, view.source] == ["scan", "daemon"]
            monkeypatch.setattr(view_module, "EVENT_SECONDS", 0.05)


def test_change_of_the_daemon_is_seen_by_the_next_call(host: Host, daemon: Running) -> None:
    """Never an older tree than a client of the daemon has seen."""
    with closing(host.view()) as view, Client(host.socket) as client:
        first = view.snapshot()
        host.create()
        daemon.process.send_signal(signal.SIGHUP)
        name = f"mdev_{UUID.replace('-', '_')}"
        client.wait_for(lambda devices: name in devices, PATIENCE_SECONDS)
        second = view.snapshot()
        assert second.find(UUID) == client.describe(UUID)
        assert second.generation > first.generation
        host.kernel.write(f"{host.parent}/{UUID}/remove", "1")
        daemon.process.send_signal(signal.SIGHUP)
        client.wait_for(lambda devices: name not in devices, PATIENCE_SECONDS)
        assert view.snapshot().find(UUID) is None
        assert view.source == "daemon"


def test_what_the_daemon_cannot_list_is_known(host: Host) -> None:
    """Devices may be missing from its tree: nothing is taken for gone because of that."""
    drivers = host.root / "etc/mdevctl.d/mtty"
    drivers.mkdir(parents=True)
    (drivers / UUID.upper()).write_text("{}")  # mdevctl writes no such name
    with running(host.directory, host.root, "--events", "none"), closing(host.view()) as view:
        [error] = view.snapshot().errors
        assert view.source == "daemon"
        assert error.attribute.endswith(UUID.upper())


def test_wait_ends_with_the_change_of_the_daemon(host: Host, daemon: Running) -> None:
    """The answer of a change comes when a client of the daemon would see it, too."""
    expected = Expected(path=f"{host.parent}/{UUID}", active=True, type="mtty-1")
    with closing(host.view()) as view:
        view.snapshot()
        found: list[Snapshot | None] = []
        thread = threading.Thread(
            target=lambda: found.append(view.wait((expected,), PATIENCE_SECONDS))
        )
        thread.start()
        host.create()
        daemon.process.send_signal(signal.SIGHUP)
        thread.join(PATIENCE_SECONDS)
        assert found[0] is not None
        assert expected.met(found[0])
        assert view.source == "daemon"
        assert in_daemon(host, f"mdev_{UUID.replace('-', '_')}")


def test_profile_is_confirmed_by_asking_the_daemon(host: Host, daemon: Running) -> None:
    """The kernel sends no event of it, and the daemon does not poll here."""
    function = host.functions[0]
    expected = Expected(path=function, type="1", profile=True)
    with closing(host.view()) as view:
        view.snapshot()
        host.kernel.write(f"{function}/nvidia/current_vgpu_type", "1")
        found = view.wait((expected,), PATIENCE_SECONDS)
        assert found is not None
        assert view.source == "daemon"
        with Client(host.socket) as client:
            assert expected.met(Snapshot(client.snapshot(["vgpu"]).devices))


def test_daemon_that_is_late_does_not_decide(host: Host, daemon: Running) -> None:
    """What is there when the time is over is confirmed, since it is there."""
    expected = Expected(path=f"{host.parent}/{UUID}", active=True)
    with closing(host.view()) as view:
        view.snapshot()
        host.create()
        found = view.wait((expected,), 0.1)
        assert found is not None
        assert view.source == "scan"
        assert view.wait((Expected(path="/sys/devices/x", active=True),), 0.1) is None


def test_daemon_comes_and_goes(host: Host) -> None:
    """Without it the host is scanned; with it again, the daemon is followed again."""
    with closing(host.view()) as view:

        def source() -> str:
            assert view.snapshot().at(host.parent) is not None
            return view.source

        assert source() == "scan"
        for function in host.functions[:2]:
            with running(host.directory, host.root, "--events", "none"):
                assert [source(), source()] == ["daemon", "daemon"]
            host.kernel.tree.remove(function)
            assert source() == "scan"
            assert view.snapshot().at(function) is None


def test_daemon_that_starts_again_counts_on(host: Host) -> None:
    """No tree has the generation of an earlier one, whichever process looks at it."""
    state = host.directory / "state"

    def generations() -> list[int]:
        """Return the daemon's own generation, and that of two views, one after the other."""
        with Client(host.socket) as client:
            found = [client.snapshot(names=["computer"]).generation]
        for _ in range(2):
            view = View(str(host.root), host.socket, directory=str(state))
            with closing(view):
                found.append(view.snapshot().generation)
                assert view.source == "daemon"
        return found

    seen: set[int] = set()
    for number in range(3):
        with running(host.directory, host.root, "--events", "none"):
            own, first, second = generations()
        assert first == second
        assert (first == own) is (number == 0)
        assert first > max(seen, default=0)
        seen.add(first)


def test_daemon_killed_while_a_change_is_waited_for(host: Host) -> None:
    """The host is scanned from then on, and the change is confirmed."""
    expected = Expected(path=f"{host.parent}/{UUID}", active=True)
    with closing(host.view()) as view:
        with running(host.directory, host.root, "--events", "none") as daemon:
            view.snapshot()
            found: list[Snapshot | None] = []
            thread = threading.Thread(
                target=lambda: found.append(view.wait((expected,), PATIENCE_SECONDS))
            )
            thread.start()
            daemon.stop(signal.SIGKILL)
        host.create()
        thread.join(PATIENCE_SECONDS)
        assert found[0] is not None
        assert view.source == "scan"


def test_daemon_of_another_host_is_left_alone(
    host: Host, daemon: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its tree would be that of other devices."""
    other = PlayedKernel(Tree(tmp_path / "other"))
    path = mtty_parent(other)
    with closing(View(str(tmp_path / "other"), host.socket)) as view:
        for _ in range(2):
            assert view.snapshot().at(path) is not None
            assert view.snapshot().at(host.functions[0]) is None
        assert view.source == "scan"
    assert caplog.text.count(f"the daemon serves {host.root}, and not {tmp_path}/other") == 1
