"""The tree of a host without a daemon: scanned for whoever asks, and while anything is awaited."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from nodedevd.actions.plan import Expected
from nodedevd.control import scans as module
from nodedevd.control.newest import with_newest_values
from nodedevd.control.scans import Scans
from nodedevd.control.view import View
from nodedevd.errors import NotASysroot
from nodedevd.follow.in_time import scan_in_time
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.read import scan
from tests.support.played_kernel import PlayedKernel, mtty_parent, small_card, vendor_card
from tests.support.running import PATIENCE_SECONDS
from tests.support.trees import Tree

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"


@pytest.fixture
def kernel(tmp_path: Path) -> PlayedKernel:
    """Return a kernel without devices."""
    return PlayedKernel(Tree(tmp_path))


def test_each_scan_has_a_generation_of_its_own(kernel: PlayedKernel) -> None:
    """Also among those of several processes, whose records refer to it."""
    mtty_parent(kernel)
    views = [View(kernel.tree.root, daemon=False) for _ in range(2)]
    generations = [view.snapshot().generation for view in (*views, *views)]
    assert len(set(generations)) == 4
    assert generations == sorted(generations)
    assert views[0].source == "scan"


def test_scan_shows_what_was_before_the_call(kernel: PlayedKernel) -> None:
    """Callers that come during a scan do not get that one, but the next."""
    parent = mtty_parent(kernel)
    began, go = threading.Event(), threading.Event()

    def slow(sysroot: Sysroot) -> tuple[Snapshot, tuple[()]]:
        found = scan_in_time(sysroot)
        began.set()
        assert go.wait(PATIENCE_SECONDS)
        return found[0], ()

    scans = Scans(kernel.tree.root)
    results: dict[str, Snapshot] = {}

    def ask(name: str) -> threading.Thread:
        thread = threading.Thread(target=lambda: results.update({name: scans.scan()}))
        thread.start()
        return thread

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "scan_in_time", slow)
        first = ask("first")
        assert began.wait(PATIENCE_SECONDS)
        kernel.write(f"{parent}/mdev_supported_types/mtty-1/create", UUID)
        others = [ask(name) for name in ("second", "third")]
        go.set()
        for thread in (first, *others):
            thread.join(PATIENCE_SECONDS)
    assert results["first"].find(UUID) is None
    assert results["second"].find(UUID) is not None
    assert results["third"].find(UUID) is not None


def test_scan_that_fails_is_its_callers_alone(kernel: PlayedKernel, tmp_path: Path) -> None:
    """The next one is another try."""
    scans = Scans(str(tmp_path / "nothing"))
    for _ in range(2):
        with pytest.raises(NotASysroot):
            scans.scan()
    mtty_parent(kernel)
    (tmp_path / "nothing").symlink_to(tmp_path)
    assert len(scans.scan()) > 1


def test_wait_ends_when_the_tree_shows_it(kernel: PlayedKernel) -> None:
    """What comes while it is waited for is seen."""
    parent = mtty_parent(kernel)
    view = View(kernel.tree.root, daemon=False)
    expected = Expected(path=f"{parent}/{UUID}", active=True, type="mtty-1")
    assert view.wait((expected,), 0) is None
    found: list[Snapshot | None] = []
    thread = threading.Thread(target=lambda: found.append(view.wait((expected,), PATIENCE_SECONDS)))
    thread.start()
    kernel.write(f"{parent}/mdev_supported_types/mtty-1/create", UUID)
    thread.join(PATIENCE_SECONDS)
    assert found[0] is not None
    assert found[0].at(f"{parent}/{UUID}") is not None
    both = (expected, Expected(path=f"{parent}/x", active=True))
    assert view.wait(both, 0) is None


def test_newest_values_are_those_of_now(kernel: PlayedKernel) -> None:
    """Counts and profiles, which the kernel changes without an event; nothing else is read."""
    parent = mtty_parent(kernel)
    functions = vendor_card(kernel, small_card())
    before = scan(Sysroot(kernel.tree.root)).numbered(7)
    kernel.write(f"{parent}/mdev_supported_types/mtty-2/create", UUID)
    kernel.write(f"{functions[0]}/nvidia/current_vgpu_type", "1")
    newest, hanging = with_newest_values(kernel.tree.root, before, frozenset())
    assert hanging == frozenset()
    assert newest.generation == 7
    assert newest.find(UUID) is None
    device, vgpu = newest.at(parent), newest.at(functions[0])
    assert device is not None
    assert vgpu is not None
    types = device.capability(MdevParent)
    profile = vgpu.capability(Vgpu)
    assert types is not None
    assert profile is not None
    assert {one.id: one.available_instances for one in types.types}["mtty-1"] == 22
    assert profile.current is not None
    assert profile.current.id == "1"
    same, _ = with_newest_values(kernel.tree.root, before, frozenset([parent, functions[0]]))
    assert same.at(parent) is before.at(parent)


def test_value_that_cannot_be_read_stays_as_it_was(kernel: PlayedKernel) -> None:
    """A parent that has gone meanwhile is left to the write to fail."""
    parent = mtty_parent(kernel)
    before = scan(Sysroot(kernel.tree.root))
    kernel.tree.remove(parent)
    newest, _ = with_newest_values(kernel.tree.root, before, frozenset())
    assert newest.at(parent) == before.at(parent)


def test_driver_is_the_one_of_now(kernel: PlayedKernel) -> None:
    """The daemon hears of it when udevd is done with the event."""
    function = vendor_card(kernel, small_card())[0]
    driver = Path(kernel.tree.at(function), "driver")
    driver.unlink(missing_ok=True)
    before = scan(Sysroot(kernel.tree.root))
    for name in ("vfio-pci", "nvidia"):
        target = Path(kernel.tree.at(f"/sys/bus/pci/drivers/{name}"))
        target.mkdir(parents=True, exist_ok=True)
        driver.unlink(missing_ok=True)
        driver.symlink_to(os.path.relpath(target, driver.parent))
        newest, _ = with_newest_values(kernel.tree.root, before, frozenset())
        device = newest.at(function)
        assert device is not None
        assert device.driver == name
    driver.unlink()
    newest, _ = with_newest_values(kernel.tree.root, newest, frozenset())
    device = newest.at(function)
    assert device is not None
    assert device.driver is None
