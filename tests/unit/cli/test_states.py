"""A device that is not active is marked wherever it shows, and counted apart."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from nodedevd.cli.events import line_of
from nodedevd.client import DeviceList, Event, Resolution, Status
from tests.support.ctl import Ctl
from tests.support.trees import Tree

PARENT = "0000:00:02.0"
RUNNING, LEAVING, DEFINED = (f"27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c0{number}" for number in "123")


def name_of(uuid: str) -> str:
    """Return the name of an mdev."""
    return f"mdev_{uuid.replace('-', '_')}"


@pytest.fixture
def host(tmp_path: Path) -> Ctl:
    """Return nodedevctl for a host with an mdev in each state."""
    tree = Tree(tmp_path)
    path = tree.pci(PARENT, vendor=0x10DE, device=0x25B6, class_=0x030200)
    tree.mdev_type(path, "nvidia-746", name="NVIDIA A2-4Q", available=1)
    tree.mdev_parent(path)
    for uuid in (RUNNING, LEAVING):
        tree.mdev(PARENT, uuid, "nvidia-746", driver="nvidia-vgpu-vfio")
    tree.begin_removal(tree.resolve(PARENT) + f"/{LEAVING}")
    tree.definition(PARENT, DEFINED, "nvidia-746")
    return Ctl(["--sysroot", str(tmp_path)])


def test_list_of_all_marks_them(host: Ctl) -> None:
    """Other lists have one state, or names alone for scripts."""
    assert host.out("list", "--cap", "mdev", "--all").splitlines() == [
        name_of(RUNNING),
        f"{name_of(LEAVING)} (removing)",
        f"{name_of(DEFINED)} (inactive)",
    ]
    assert host.out("list", "--cap", "mdev").splitlines() == [name_of(RUNNING), name_of(LEAVING)]
    assert host.out("list", "--cap", "mdev", "--inactive").splitlines() == [name_of(DEFINED)]


def test_tree_marks_them(host: Ctl) -> None:
    """What is being removed is marked in every drawing, since it shows in every one."""
    drawn = host.out("tree", "--all").splitlines()
    assert [line.partition("+- ")[2] for line in drawn if "mdev_" in line] == [
        name_of(RUNNING),
        f"{name_of(LEAVING)} (removing)",
        f"{name_of(DEFINED)} (inactive)",
    ]
    assert f"{name_of(LEAVING)} (removing)\n" in host.out("tree")
    assert "inactive" not in host.out("tree")


def test_status_counts_them_apart(host: Ctl) -> None:
    """The counts by capability are of what is present."""
    status = msgspec.json.decode(host.out("status", "--json"), type=Status)
    assert msgspec.structs.asdict(status.state_counts) == {
        "active": 3,
        "inactive": 1,
        "removing": 1,
    }
    assert status.capability_counts["mdev_child"] == 2
    assert (
        "Devices:     3 active, 1 inactive, 1 removing\n"
        "Kinds:       1 system, 1 pci, 1 mdev_parent, 2 mdev_child\n" in host.out("status")
    )


def test_json_has_the_state_of_every_device(host: Ctl) -> None:
    """`list`, `tree`, `show` and `resolve` agree."""
    expected = {
        name_of(RUNNING): "active",
        name_of(LEAVING): "removing",
        name_of(DEFINED): "inactive",
    }
    for command in (["list", "--all", "--json"], ["tree", "--all", "--json"]):
        entries = msgspec.json.decode(host.out(*command), type=DeviceList).devices
        assert {one.name: one.state for one in entries if "mdev_" in one.name} == expected
    for name, state in expected.items():
        [shown] = host.json("show", name)["devices"]
        assert shown["state"] == state
        found = msgspec.json.decode(host.out("resolve", name, "--json"), type=Resolution)
        assert [one.state for one in found.devices] == [state]


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Event(1, "i", "present", "a", state="inactive"), "present a (inactive)"),
        (Event(1, "i", "added", "a", state="active"), "added   a"),
        (
            Event(2, "i", "changed", "a", state="removing", parts=("state", "mdev_child")),
            "changed a (removing) (state, mdev_child)",
        ),
        (Event(3, "i", "removed", "a", state="inactive"), "removed a (inactive)"),
        (Event(1, "i", "ready"), "ready"),
    ],
)
def test_line_of_an_event_marks_them(event: Event, line: str) -> None:
    """The state follows the name; the changed parts come after it."""
    assert line_of(event) == line
