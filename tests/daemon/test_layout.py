"""Layout files, followed by a daemon: what clients see of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nodedevd.client import Client
from nodedevd.layout.directories import DIRECTORIES
from tests.support.running import running
from tests.support.trees import Tree
from tests.support.watcher import Watcher

CARD, NAME = "0000:01:00.0", "pci_0000_01_00_0"
FILE = f"{DIRECTORIES[0]}/card.toml"


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Tree, Watcher]]:
    """Return a host with one card, and a watcher of a daemon on it, which does not reconcile."""
    tree = Tree(tmp_path / "host")
    tree.pci(CARD, vendor=0x8086, device=0x1572, class_=0x020000, driver="i40e")
    tree.sriov(CARD, total=8)
    with (
        running(tmp_path, tmp_path / "host", "--reconcile", "0"),
        Watcher(tmp_path / "nodedevd.sock") as watcher,
    ):
        yield tree, watcher


def test_daemon_reports_a_change_of_state_alone(
    tmp_path: Path, watched: tuple[Tree, Watcher]
) -> None:
    """It is an event of the card, and so is the end of the file; libvirt's XML has none of it."""
    tree, watcher = watched
    tree.file(FILE, f'[[card]]\naddress = "{CARD}"\nvirtual_functions = 4\n')
    watcher.expect(f"changed {NAME} layout")
    layout = watcher.devices[NAME].layout
    assert layout is not None
    assert (layout.state, layout.file) == ("drifted", FILE)
    with Client(str(tmp_path / "nodedevd.sock")) as client:
        assert "<layout state='drifted'>" in client.dump_xml([NAME])
        assert "layout" not in client.dump_xml([NAME], form="libvirt")
        assert client.describe(CARD).layout == layout
    tree.file(FILE, f'[[card]]\naddress = "{CARD}"\nvirtual_functions = 0\n')
    watcher.expect(f"changed {NAME} layout")
    tree.file(FILE, "[[card]]\naddress = 1\n")
    watcher.expect(f"changed {NAME} layout")
    assert watcher.devices[NAME].layout is None
    shown = watcher.status().layout
    assert shown is not None
    assert [(one.file, one.line, one.key) for one in shown.problems] == [(FILE, 2, "address")]
    tree.remove(FILE)
    watcher.until_status(lambda status: status.layout is None)
    assert watcher.status().missed_changes == 0
