"""tree_drawing: the tree as `virsh nodedev-list --tree` draws it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.cli.tree_drawing import draw, sort_key


def lines(*drawn: str) -> str:
    """Join lines; `~` stands for a trailing blank."""
    return "".join(f"{line.replace('~', ' ')}\n" for line in drawn)


def test_tree_is_drawn_as_virsh_does() -> None:
    """The output is that of virsh 11.3, except for its final empty line."""
    assert draw(
        {
            "USB_upper": "computer",
            "computer": None,
            "net_eth0_52_54_00_12_34_56": "pci_0000_00_03_0",
            "pci_0000_00_03_0": "computer",
            "pci_0000_00_02_0": "computer",
        }
    ) == lines(
        "computer",
        "  |",
        "  +- pci_0000_00_02_0",
        "  +- pci_0000_00_03_0",
        "  |   |",
        "  |   +- net_eth0_52_54_00_12_34_56",
        "  |~~~~~",
        "  +- USB_upper",
        "~~~~",
    )


def test_single_root_is_a_name_and_an_empty_line() -> None:
    """A host may have no device but itself."""
    assert draw({"computer": None}) == "computer\n\n"


def test_no_device_draws_nothing() -> None:
    """The output is empty."""
    assert draw({}) == ""


def test_deep_tree_is_indented_by_four_a_level() -> None:
    """There is no line beside the children of a last child."""
    assert draw({"a": None, "b": "a", "c": "b", "d": "c"}) == lines(
        "a",
        "  |",
        "  +- b",
        "      |",
        "      +- c",
        "          |",
        "          +- d",
        "~~~~~~~~~~~~",
    )


def test_siblings_below_siblings_keep_their_lines_apart() -> None:
    """A line continues beside the children of every child but the last."""
    assert draw({"a": None, "b": "a", "c": "b", "d": "b", "e": "a", "f": "e"}) == lines(
        "a",
        "  |",
        "  +- b",
        "  |   |",
        "  |   +- c",
        "  |   +- d",
        "  |~~~~~",
        "  +- e",
        "      |",
        "      +- f",
        "~~~~~~~~",
    )


def test_orphan_is_drawn_as_a_root() -> None:
    """A device whose parent is not drawn is not left out."""
    assert draw({"computer": None, "orphan": "gone", "child": "orphan"}) == lines(
        "computer", "", "orphan", "  |", "  +- child", "~~~~"
    )


def test_names_are_sorted_without_regard_to_case() -> None:
    """Virsh sorts this way; among equal names, capitals come first."""
    assert sorted(["b", "B", "a", "C"], key=sort_key) == ["a", "B", "b", "C"]


@given(st.lists(st.integers(0, 30), max_size=30))
def test_every_device_of_any_tree_is_drawn_once(above: list[int]) -> None:
    """Each name has a line of its own, four blanks deeper than its parent."""
    parents: dict[str, str | None] = {"d0": None}
    for number, parent in enumerate(above, start=1):
        parents[f"d{number}"] = f"d{parent % number}"
    depths = {}
    for line in draw(parents).splitlines():
        if "d" in line:
            depths[line[line.index("d") :]] = line.index("d")
    assert sorted(depths) == sorted(parents)
    for name, above_it in parents.items():
        if above_it is not None:
            assert depths[name] == depths[above_it] + (5 if above_it == "d0" else 4)


@pytest.mark.exhaustive
def test_chain_of_5000_devices_is_drawn() -> None:
    """Python lets functions nest 1,000 times."""
    parents = {f"d{number:04}": f"d{number - 1:04}" if number else None for number in range(5000)}
    drawn = draw(parents).splitlines()
    assert drawn[0] == "d0000"
    assert [line.strip() for line in drawn[2::2]] == [f"+- {name}" for name in [*parents][1:]]
