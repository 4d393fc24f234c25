"""doctor: cards that are not as their layout file says, and files that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodedevd.follow.in_time import scan_in_time
from nodedevd.host.facts import read_host
from nodedevd.host.sysroot import Sysroot
from nodedevd.questions.doctor import Finding, diagnose
from tests.support.trees import Tree

CARD, NAME = "0000:3b:00.0", "pci_0000_3b_00_0"
FILE = "/etc/nodedevd/layout.d/card.toml"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a host with one card, which can have virtual functions."""
    tree = Tree(tmp_path)
    tree.pci(CARD, vendor=0x8086, device=0x1572, class_=0x020000, driver="i40e", iommu_group=1)
    tree.sriov(CARD, total=8)
    return tree


def found(tree: Tree, *lines: str) -> tuple[Finding, ...]:
    """Return the findings about layouts on a host with one file of these lines."""
    tree.file(FILE, "\n".join(("[[card]]", *lines)))
    sysroot = Sysroot(tree.root)
    snapshot, _ = scan_in_time(sysroot)
    return tuple(
        one for one in diagnose(snapshot, read_host(sysroot)) if one.code.startswith("layout-")
    )


def test_card_in_sync_is_no_finding(tree: Tree) -> None:
    """Nor is a host without layout files."""
    assert found(tree, f'address = "{CARD}"', "virtual_functions = 0") == ()


def test_drifted_card_is_found_with_the_command_that_mends_it(tree: Tree) -> None:
    """First what would be done, then the command that does it."""
    (one,) = found(tree, f'address = "{CARD}"', "virtual_functions = 4")
    assert (one.severity, one.code, one.device, one.card) == (
        "warning",
        "layout-drifted",
        NAME,
        NAME,
    )
    assert one.text == (f"it is not as {FILE} says; to do: set 4 virtual functions on {NAME}")
    assert one.mend == (
        "nodedevctl layout diff",
        f"nodedevctl layout apply --card {NAME}",
    )


def test_blocked_card_is_found(tree: Tree) -> None:
    """With the reason."""
    (one,) = found(tree, f'address = "{CARD}"', "virtual_functions = 9")
    assert (one.severity, one.code, one.device) == ("warning", "layout-blocked", NAME)
    assert "it can have 8 virtual functions at most" in one.text
    assert one.mend[0] == "nodedevctl layout diff"


def test_card_without_its_driver_is_pending(tree: Tree) -> None:
    """With what to look at."""
    tree.remove(f"{tree.resolve(CARD)}/driver")
    (one,) = found(tree, f'address = "{CARD}"', "virtual_functions = 4")
    assert (one.severity, one.code, one.device) == ("warning", "layout-pending", NAME)
    assert "no driver is bound to it" in one.text


def test_card_that_the_host_does_not_have_is_found(tree: Tree) -> None:
    """It has no device, so the text names the file and the line."""
    (one,) = found(tree, 'address = "0000:99:00.0"', "virtual_functions = 4")
    assert (one.severity, one.code, one.device) == ("warning", "layout-pending", None)
    assert one.text.startswith(f"{FILE}, line 1, names the card 0000:99:00.0")


def test_wrong_file_is_found_with_its_place(tree: Tree) -> None:
    """And with what to write instead."""
    (one,) = found(tree, f'address = "{CARD}"', "virtual_functions = -1")
    assert (one.severity, one.code, one.device) == ("problem", "layout-wrong", None)
    assert one.text.startswith(f"{FILE}, line 3, virtual_functions: ")
    assert "virtual_functions = 4" in one.advice
    assert one.mend == ("nodedevctl layout check",)
