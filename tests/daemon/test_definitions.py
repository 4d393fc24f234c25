"""mdevctl's definitions, followed by a daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.shared.mdevctl import DIRECTORY
from tests.support.running import running
from tests.support.trees import Tree
from tests.support.watcher import Watcher

UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
NAME = "mdev_27b42a51_9f6b_4c0b_8f5f_4f3a1d0e8c01"
PARENT, PARENT_NAME = "0000:01:00.4", "pci_0000_01_00_4"
TYPE = "nvidia-746"
ABSENT = "0000:99:00.0"


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Tree, Watcher]]:
    """Return a host, and a watcher of a daemon on it, which does not reconcile."""
    tree = Tree(tmp_path / "host")
    tree.pci(PARENT, vendor=0x10DE, device=0x25B6, class_=0x030200)
    tree.mdev_type(PARENT, TYPE, name="A2-4Q")
    tree.mdev_parent(PARENT)
    options = ("--reconcile", "0", "--count-age", "0")
    with (
        running(tmp_path, tmp_path / "host", *options),
        Watcher(tmp_path / "nodedevd.sock") as watcher,
    ):
        yield tree, watcher


def test_daemon_tells_of_definitions_as_they_change(watched: tuple[Tree, Watcher]) -> None:
    """From before the first of them to after the last."""
    tree, watcher = watched
    path = tree.definition(PARENT, UUID, TYPE)
    watcher.expect(f"added {NAME}")
    assert watcher.devices[NAME].parent == PARENT_NAME
    tree.definition(PARENT, UUID, TYPE, start="auto", attributes=[("a", "1")])
    watcher.until(lambda: _mdev(watcher).attributes != ())
    assert _mdev(watcher).autostart is True
    tree.file(path, "{")
    watcher.until(lambda: watcher.devices[NAME].errors != ())
    assert _mdev(watcher).mdev_type is None
    tree.definition(ABSENT, UUID, TYPE)
    watcher.until(lambda: len(watcher.devices) == 4)
    tree.remove(DIRECTORY)
    watcher.until(lambda: len(watcher.devices) == 2)
    tree.definition(PARENT, UUID, TYPE)
    watcher.expect(f"added {NAME}")
    assert watcher.status().missed_changes == 0


def test_daemon_has_an_mdev_read_again_when_it_is_defined(
    tmp_path: Path, watched: tuple[Tree, Watcher]
) -> None:
    """There is no uevent for it."""
    tree, watcher = watched
    tree.mdev(PARENT, UUID, TYPE)
    path = tree.definition(PARENT, UUID, TYPE)
    watcher.expect(f"added {NAME}")
    assert (_mdev(watcher).state, _mdev(watcher).defined) == ("complete", True)
    tree.remove(path)
    watcher.until(lambda: not _mdev(watcher).defined)


def _mdev(watcher: Watcher) -> MdevChild:
    found = watcher.devices[NAME].capability(MdevChild)
    assert found is not None
    return found
