"""What a plan is made from besides the tree: only what the request needs, and never a guess."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.requests import (
    Bind,
    Create,
    Define,
    Remove,
    Request,
    SetVirtualFunctions,
    Undefine,
)
from nodedevd.control import facts as module
from nodedevd.control.facts import read_facts
from nodedevd.host.job import Unanswered
from nodedevd.host.sysroot import Sysroot
from nodedevd.names import is_uuid
from nodedevd.tree.read import scan
from tests.support.played_kernel import PlayedKernel, mtty_parent, small_card, vendor_card
from tests.support.trees import Tree

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
TEXT = '{\n  "mdev_type": "mtty-1",\n  "start": "manual",\n  "attrs": []\n}'


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a host without devices."""
    return Tree(tmp_path)


def facts_for(tree: Tree, request: Request) -> ActionFacts:
    """Read the facts for a request."""
    return read_facts(tree.root, scan(Sysroot(tree.root)), request, {}, 1000)


@pytest.mark.parametrize("name", [UUID, UUID.upper(), f"mdev_{UUID.replace('-', '_')}"])
def test_definitions_of_the_uuid_are_read_on_all_parents(tree: Tree, name: str) -> None:
    """By whichever name of the mdev; others are not."""
    mtty_parent(PlayedKernel(tree))
    for parent in ("mtty", "absent"):
        tree.file(f"/etc/mdevctl.d/{parent}/{UUID}", TEXT)
    tree.file(f"/etc/mdevctl.d/mtty/{UUID[:-1]}2", TEXT)
    tree.file(f"/etc/mdevctl.d/scripts.d/{UUID}", TEXT)
    found = facts_for(tree, Undefine(name=name)).definitions
    assert found == {("absent", UUID): TEXT, ("mtty", UUID): TEXT}
    assert facts_for(tree, Undefine(name="computer")).definitions == {}
    given = Define(type="mtty-1", parent="mtty", uuid=UUID.upper())
    assert facts_for(tree, given).definitions == found


def test_processes_are_named_to_root_alone(tree: Tree) -> None:
    """And not in what others see, too."""
    snapshot, request = scan(Sysroot(tree.root)), Undefine(name="computer")
    for uid, public, named in ((0, False, True), (0, True, False), (1000, False, False)):
        found = read_facts(tree.root, snapshot, request, {}, uid, public=public)
        assert found.names_processes == named


def test_new_uuids_are_as_many_as_may_be_needed(tree: Tree) -> None:
    """And random ones, each time others."""
    request = Create(type="mtty-1", count=3)
    first, second = (facts_for(tree, request).new_uuids for _ in range(2))
    assert len({*first, *second}) == 6
    assert all(map(is_uuid, first))
    assert len(facts_for(tree, Define(type="x", parent="y")).new_uuids) == 1
    for given in (Create(type="x", uuid=UUID), Define(type="x", parent="y", uuid=UUID)):
        assert facts_for(tree, given).new_uuids == ()


def test_processes_are_read_for_what_may_be_in_use(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To create needs no look at all processes of a host."""
    looks = []
    monkeypatch.setattr(module, "look_in_time", lambda sysroot: looks.append(sysroot))
    facts_for(tree, Create(type="x"))
    facts_for(tree, Define(type="x", parent="y"))
    assert looks == []
    facts_for(tree, Remove(name=UUID))
    facts_for(tree, Bind(name="x", driver="y"))
    assert len(looks) == 2


def test_attributes_of_a_function_are_those_of_now(tree: Tree) -> None:
    """What the plan replaces; one that is absent has no entry."""
    kernel = PlayedKernel(tree)
    [function, *_] = vendor_card(kernel, small_card())
    found = facts_for(tree, Bind(name=function, driver="vfio-pci"))
    assert found.attributes[f"{function}/driver_override"] == "(null)"
    assert "nvidia" in found.drivers
    card = "0000:41:00.0"
    found = facts_for(tree, SetVirtualFunctions(name=card, number=2))
    # A read of the number waits while it is set; the tree has it.
    assert [path for path in found.attributes if path.endswith("numvfs")] == []
    assert facts_for(tree, Remove(name=function)).attributes == {}


def test_programs_of_others_are_noticed(tree: Tree) -> None:
    """The scripts of mdevctl, and NVIDIA's sriov-manage."""
    found = facts_for(tree, Create(type="x"))
    assert (found.callouts, found.sriov_manage) == (False, None)
    tree.file("/usr/lib/nvidia/sriov-manage")
    tree.file("/etc/mdevctl.d/scripts.d/notifiers/10-x")
    found = facts_for(tree, Create(type="x"))
    assert (found.callouts, found.sriov_manage) == (True, "/usr/lib/nvidia/sriov-manage")
    assert found.uid == 1000
    assert found.now.endswith("Z")


def test_processes_that_cannot_be_looked_at_may_use_the_device(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error is no answer that nobody does; with force, the change goes on."""

    def fail(sysroot: Sysroot) -> None:
        raise Unanswered("/sys/kernel/iommu_groups/1/devices")

    monkeypatch.setattr(module, "look_in_time", fail)
    usage = facts_for(tree, Remove(name=UUID)).usage
    assert usage.use("x", "/sys/devices/x").open == "unknown"
