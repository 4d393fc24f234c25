"""nodedevctl status and doctor, on a host with layout files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.ctl import Ctl
from tests.support.trees import Tree

FILES = {
    "10-network.toml": """\
[[card]]
address = "0000:3b:00.0"
virtual_functions = 4
driver = "vfio-pci"

[[card]]
address = "0000:5e:00.0"
virtual_functions = 0

[[card]]
address = "0000:99:00.0"
virtual_functions = 2
""",
    "20-wrong.toml": """\
[[card]]
address = "0000:3b:00.1"
virtual_function = 4

[[card]]
address = "0000:3b"
virtual_functions = 1
""",
}

DOCTOR = """\
Found 2 problems and 2 warnings; 3 devices checked.

This host
  problem: /etc/nodedevd/layout.d/20-wrong.toml, line 3, virtual_function: there
    is no key virtual_function [layout-wrong]
    Correct it: write virtual_functions. Until then the file has no cards.
      nodedevctl layout check
  problem: /etc/nodedevd/layout.d/20-wrong.toml, line 6, address: '0000:3b' is
    no PCI address [layout-wrong]
    Correct it: write address = "0000:3b:00.0". Until then the file has no
    cards.
      nodedevctl layout check
  warning: /etc/nodedevd/layout.d/10-network.toml, line 10, names the card
    0000:99:00.0, which this host does not have [layout-pending]
    Name a card of this host, or take the card out of the file.
      nodedevctl list --cap pci

pci_0000_3b_00_0
  warning: it is not as /etc/nodedevd/layout.d/10-network.toml says; to do: set
    4 virtual functions on pci_0000_3b_00_0; to do: bind the virtual functions
    to vfio-pci [layout-drifted]
    See what would be done, and do it.
      nodedevctl layout diff
      nodedevctl layout apply --card pci_0000_3b_00_0
"""


@pytest.fixture
def host(tmp_path: Path) -> Ctl:
    """Return a host of which one card is in sync, one drifted, one absent, and one file wrong."""
    tree = Tree(tmp_path / "host")
    for card in ("0000:3b:00.0", "0000:5e:00.0"):
        words = {"vendor": 0x8086, "device": 0x1572, "class_": 0x020000}
        tree.pci(card, driver="i40e", iommu_group=1, **words)  # type: ignore[arg-type]
        tree.sriov(card, total=8)
    for name, text in FILES.items():
        tree.file(f"/etc/nodedevd/layout.d/{name}", text)
    return Ctl(["--sysroot", str(tmp_path / "host")], columns=80)


def test_status_counts_cards_and_lists_problems(host: Ctl) -> None:
    """The numbers in the head, the problems at the end."""
    out = host.out("status")
    assert "Layout:      1 in sync, 1 drifted, 1 pending, 2 problems in files\n" in out
    assert out.partition("\n\n")[2].splitlines() == [
        "/etc/nodedevd/layout.d/20-wrong.toml:3: virtual_function: there is no key",
        "  virtual_function; write virtual_functions",
        "/etc/nodedevd/layout.d/20-wrong.toml:6: address: '0000:3b' is no PCI address;",
        '  write address = "0000:3b:00.0"',
    ]


def test_status_as_json_has_the_same(host: Ctl) -> None:
    """Absent cards with file and line."""
    layout = host.json("status", "--json")["layout"]
    assert layout["counts"] == {"in_sync": 1, "drifted": 1, "blocked": 0, "pending": 1}
    assert layout["awaited"] == [
        {"card": "0000:99:00.0", "file": "/etc/nodedevd/layout.d/10-network.toml", "line": 10}
    ]
    assert layout["problem_count"] == 2
    assert [one["key"] for one in layout["problems"]] == ["virtual_function", "address"]


def test_doctor_says_what_is_not_as_wanted(host: Ctl) -> None:
    """Each finding has the command that goes on."""
    assert host.run("doctor", status=5).stdout == DOCTOR


def test_show_has_the_state_of_a_card(host: Ctl) -> None:
    """Null for a device that no file names."""
    assert host.json("show", "0000:3b:00.0")["devices"][0]["layout"]["state"] == "drifted"
    assert host.json("show", "computer")["devices"][0]["layout"] is None
