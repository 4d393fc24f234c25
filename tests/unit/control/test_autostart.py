"""What is defined with autostart is started when its parent appears, and tried until it works."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodedevd.actions.requests import Start
from nodedevd.control.autostart import LOOK_SECONDS, PAUSES, SETTLE_SECONDS, Autostart
from nodedevd.control.directory import Directory
from nodedevd.errors import NotPossible
from nodedevd.host.mdev_paths import MDEV_TYPES
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.read import scan
from tests.support.running import PATIENCE_SECONDS
from tests.support.trees import Tree

PARENT = "0000:41:00.0"
TYPE = "t-1"
UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
OTHER = "a2c1a9b0-5c3e-4f27-b6d4-0d6e2f9b7c02"


class Host:
    """A sample host with a service that starts what is defined on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tree = Tree(root)
        self.directory = root / "run" / "nodedevd" / "autostart"
        self.directory.mkdir(parents=True, mode=0o700)
        self.tree.pci(PARENT, vendor=0x10DE, device=0x1EB8, class_=0x030200, driver="nvidia")
        self.now = 0.0
        self.begun: list[str] = []
        self.failure: Exception | None = None
        self.kept: list[int] = []
        self.restart()

    def restart(self) -> None:
        """Have the service start anew."""
        self.service = Autostart(
            self, self.start, str(self.root), str(self.directory), lambda: self.now
        )

    def snapshot(self) -> Snapshot:
        """Return the tree."""
        return scan(Sysroot(str(self.root)))

    def wait_for_change(self, generation: int, seconds: float) -> None:
        """Never called here."""
        raise AssertionError

    def start(self, request: Start) -> None:
        """Start an mdev as the service would."""
        self.begun.append(request.name)
        if self.failure is not None:
            raise self.failure
        self.active(request.name)

    def active(self, uuid: str) -> None:
        """Make an mdev."""
        self.tree.mdev(PARENT, uuid, TYPE)

    def stop(self, uuid: str) -> None:
        """Remove an mdev."""
        path = f"{self.tree.resolve(PARENT)}/{uuid}"
        self.tree.begin_removal(path)
        self.tree.remove(path)

    def register(self, *types: str) -> None:
        """Have the driver register the parent."""
        for one in types or (TYPE,):
            self.tree.mdev_type(PARENT, one, available=4)

    def unregister(self) -> None:
        """Have the driver take the types away, with all mdevs."""
        path = self.tree.resolve(PARENT)
        for uuid in (UUID, OTHER):
            if os.path.exists(self.tree.at(f"{path}/{uuid}")):
                self.stop(uuid)
        # Else the file system may give the next directory the same inode.
        self.kept.append(os.open(self.tree.at(f"{path}/{MDEV_TYPES}"), os.O_PATH))
        self.tree.remove(f"{path}/{MDEV_TYPES}")

    def define(self, uuid: str, *, start: str = "auto") -> None:
        """Define an mdev."""
        self.tree.definition(PARENT, uuid, TYPE, start=start)

    def look(self) -> list[str]:
        """Look once, and start what is due; return the names that were tried."""
        self.begun.clear()
        self.seconds = self.service.look(self.snapshot())
        for card, waiting in self.service.due():
            self.service.start(card, waiting)
        return list(self.begun)

    def details(self) -> list[tuple[str, int, bool, str]]:
        """Return what is not started, and why."""
        found = self.service.not_started()
        return [(one.uuid, one.tries, one.waits, one.detail) for one in found]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host whose parent is not registered, with one mdev that is defined with autostart."""
    host = Host(tmp_path)
    host.define(UUID)
    yield host
    for descriptor in host.kept:
        os.close(descriptor)


def test_mdevs_with_autostart_are_started_when_their_parent_appears(host: Host) -> None:
    """Those alone; until then, what they wait for is reported."""
    host.define(OTHER, start="manual")
    assert host.look() == []
    missing = f"the driver of {PARENT} has not registered it as an mdev parent"
    assert host.details() == [(UUID, 0, True, missing)]
    assert host.seconds == LOOK_SECONDS
    host.register()
    assert host.look() == [UUID]
    assert host.details() == []
    assert host.look() == []


def test_parent_that_is_missing_is_reported(tmp_path: Path) -> None:
    """Such as a virtual function that comes late."""
    host = Host(tmp_path)
    host.tree.definition("0000:41:00.4", UUID, TYPE, start="auto")
    assert host.look() == []
    assert host.details() == [(UUID, 0, True, "its parent 0000:41:00.4 is missing")]


def test_parent_that_is_there_when_the_service_starts_counts_as_new(host: Host) -> None:
    """The host has been booted, and the driver was faster."""
    host.register()
    assert host.look() == [UUID]


def test_mdev_that_runs_already_is_not_started(host: Host) -> None:
    """A mdevctl whose udev rule works was faster."""
    host.register()
    host.active(UUID)
    assert host.look() == []
    host.stop(UUID)
    assert host.look() == []


@pytest.mark.parametrize("restarted", [False, True])
def test_mdev_that_somebody_stops_stays_stopped(host: Host, restarted: bool) -> None:
    """Also if the service is started anew."""
    host.register()
    assert host.look() == [UUID]
    host.look()
    host.stop(UUID)
    if restarted:
        host.restart()
    assert host.look() == []
    assert host.details() == []


@pytest.mark.parametrize("restarted", [False, True])
def test_parent_that_is_registered_anew_has_its_mdevs_started_again(
    host: Host, restarted: bool
) -> None:
    """Whether or not it was seen without, as by mdevctl's udev rule."""
    host.register()
    assert host.look() == [UUID]
    host.unregister()
    if restarted:
        host.restart()
    else:
        assert host.look() == []
        assert [one[2] for one in host.details()] == [True]
    host.register()
    assert host.look() == [UUID]


def test_definition_that_comes_later_waits_for_the_next_time(host: Host) -> None:
    """To define an mdev, or to set autostart, does not start it."""
    host.register()
    assert host.look() == [UUID]
    host.define(OTHER)
    assert host.look() == []
    host.unregister()
    host.register()
    assert host.look() == [UUID, OTHER]


def test_first_definition_of_a_parent_does_not_start_it(tmp_path: Path) -> None:
    """The parent was seen without any."""
    host = Host(tmp_path)
    host.register()
    assert host.look() == []
    host.define(UUID)
    assert host.look() == []


def test_failure_is_retried_and_reported(host: Host) -> None:
    """At ever longer intervals, until it is given up; one that works ends it."""
    host.register()
    host.failure = NotPossible(UUID, "type", "no room")
    for tries, pause in enumerate(PAUSES, start=1):
        assert host.look() == [UUID]
        assert host.details() == [(UUID, tries, True, f"{UUID}: no room")]
        host.now += pause / 2
        assert host.look() == []
        assert host.seconds == pause / 2
        host.now += pause / 2
    assert host.look() == [UUID]
    assert host.details() == [(UUID, len(PAUSES) + 1, False, f"{UUID}: no room")]
    host.now += 1e6
    assert host.look() == []
    assert host.seconds == LOOK_SECONDS


def test_retry_that_works_ends_it(host: Host) -> None:
    """Nothing is reported any more."""
    host.register()
    host.failure = NotPossible(UUID, "type", "no room")
    assert host.look() == [UUID]
    host.failure = None
    host.now += PAUSES[0]
    assert host.look() == [UUID]
    assert host.details() == []


def test_what_was_given_up_is_tried_again_when_something_changes(host: Host) -> None:
    """Its type is offered, an hour later."""
    host.register("t-other")
    host.failure = NotPossible(UUID, "type", "no such type")
    for pause in (0.0, *PAUSES):
        host.now += pause
        assert host.look() == [UUID]
    host.now += 3600
    assert host.look() == []
    host.failure = None
    host.register()
    assert host.look() == [UUID]
    assert host.details() == []


def test_failure_of_one_is_not_that_of_others(host: Host) -> None:
    """Not even a defect; each has its own attempts."""
    host.define(OTHER)
    host.register()
    host.failure = RuntimeError("a mistake")
    assert host.look() == [UUID, OTHER]
    assert [one[3] for one in host.details()] == ["a defect: a mistake"] * 2


def test_card_that_hangs_is_not_asked_again_meanwhile(host: Host) -> None:
    """Nothing else of the card is begun, even if its parents are registered anew."""
    host.register()
    host.service.look(host.snapshot())
    [(card, waiting)] = host.service.due()
    host.unregister()
    host.look()
    host.define(OTHER)
    host.register()
    assert host.look() == []
    assert 0 < host.seconds < LOOK_SECONDS
    host.service.start(card, waiting)
    assert host.look() == [OTHER]


def test_attempt_that_is_interrupted_is_made_by_the_next_service(host: Host) -> None:
    """The service is killed before the mdev is started."""
    host.register()
    host.service.look(host.snapshot())
    host.service.due()
    host.restart()
    assert host.look() == [UUID]


def test_definition_that_loses_autostart_is_not_started(host: Host) -> None:
    """Nor one that is removed while it is tried again and again."""
    host.register()
    host.failure = NotPossible(UUID, "type", "no room")
    assert host.look() == [UUID]
    host.define(UUID, start="manual")
    host.now += PAUSES[0]
    assert host.look() == []
    assert host.details() == []


def test_nothing_is_started_unless_it_is_wanted(host: Host) -> None:
    """The unit that makes the directory is not enabled; then it is, and is stopped again."""
    host.directory.rmdir()
    host.register()
    assert host.look() == []
    assert host.details() == []
    assert not host.directory.exists()
    host.directory.mkdir(mode=0o700)
    assert host.look() == [UUID]
    host.stop(UUID)
    (host.directory / "parents").unlink()
    host.directory.rmdir()
    assert host.look() == []
    assert not host.directory.exists()


def test_malformed_rest_is_none(host: Host) -> None:
    """Then everything is new."""
    host.register()
    (host.directory / "parents").write_text("{")
    assert host.look() == [UUID]


def test_loop_looks_whenever_there_is_a_change(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not at all at a host where nothing is to be started."""
    monkeypatch.setattr("nodedevd.control.autostart._UNWANTED_SECONDS", 0.01)
    monkeypatch.setattr("nodedevd.control.autostart.SETTLE_SECONDS", 0.01)
    host.directory.rmdir()
    begun, looked = threading.Event(), threading.Event()

    class Changes:
        def snapshot(self) -> Snapshot:
            looked.set()
            return host.snapshot()

        def wait_for_change(self, generation: int, seconds: float) -> None:
            host.register()

    def start(request: Start) -> None:
        host.active(request.name)
        begun.set()

    service = Autostart(Changes(), start, str(host.root), str(host.directory))
    thread = threading.Thread(target=service.run, daemon=True)
    thread.start()
    assert not looked.is_set()
    host.directory.mkdir(mode=0o700)
    assert begun.wait(PATIENCE_SECONDS)
    service.stop()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def test_look_that_fails_is_tried_again_after_pauses(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not at once for ever."""
    found: list[float | str] = []
    snapshot = host.snapshot

    def looking() -> Snapshot:
        found.append("look")
        if len(found) < 6:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return snapshot()

    def waiting(generation: int, seconds: float) -> None:
        host.service.stop()

    monkeypatch.setattr(host, "snapshot", looking)
    monkeypatch.setattr(host, "wait_for_change", waiting)
    monkeypatch.setattr(host.service._stopped, "wait", found.append)
    host.service.run()
    assert found == ["look", 1.0, "look", 2.0, "look", 5.0, "look", SETTLE_SECONDS]


def test_directory_that_goes_meanwhile_stays_away(host: Host) -> None:
    """Whoever disables it while an mdev is being started does not find it enabled again."""
    host.register()
    host.service.look(host.snapshot())
    ((card, waiting),) = host.service.due()
    for path in host.directory.iterdir():
        path.unlink()
    host.directory.rmdir()
    host.service.start(card, waiting)
    assert host.begun == [UUID]
    assert not host.directory.exists()


def test_full_disk_starts_what_is_to_be_started(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Only what has been started is not kept."""

    def full(directory: Directory, name: str, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Directory, "replace", full)
    host.define(OTHER)
    host.register()
    assert sorted(host.look()) == sorted([UUID, OTHER])
    assert host.details() == []
    assert "No space left on device" in caplog.text
