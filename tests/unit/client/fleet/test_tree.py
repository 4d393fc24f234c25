"""A tree that a host has published is of devices with a root, or it is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from nodedevd.client.fleet.errors import NoTree
from nodedevd.client.fleet.hosts import Host
from nodedevd.client.fleet.tree import DEPTH_AT_MOST, Tree
from nodedevd.kinds.drm import Drm
from nodedevd.model.device import Device
from nodedevd.model.listing import Devices
from tests.support.hosts import snapshot_of
from tests.unit.client.fleet.test_hosts import summary

CALLS: tuple[Callable[[Tree], object], ...] = (
    Tree.list,
    Tree.snapshot_json,
    Tree.dump_xml,
    lambda tree: tree.dump_xml(form="libvirt"),
    lambda tree: tree.describe("a"),
)


def tree(text: bytes) -> Tree:
    """Return the tree of this text."""
    return Tree(Host("a", "a", "alive"), summary(), text)


def below(name: str, parent: str) -> Device:
    """Return a device that libvirt does not show, below another one."""
    return Device(name, None, parent, None, None, None, (), (), None, ())


def tree_of(*devices: Device) -> Tree:
    """Return the tree of these devices, and of one that libvirt shows below the first of them."""
    drm = Device("c", "/sys/c", devices[0].name, "drm", "c", None, (Drm("primary"),), (), None, ())
    return tree(msgspec.json.encode(Devices(1, (*devices, drm))))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("text", [b"{", b'"\xff"', b"[" * 200_000, b'{"generation":1}'])
def test_text_that_is_no_tree_is_refused(text: bytes, call: Callable[[Tree], object]) -> None:
    """Also where all of it would be printed as it is."""
    with pytest.raises(NoTree):
        call(tree(text))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "devices",
    [
        [below("a", "a")],
        [below("a", "b"), below("b", "a")],
        [below(f"d{number}", f"d{number + 1}") for number in range(DEPTH_AT_MOST + 1)],
    ],
)
def test_tree_without_a_root_is_refused(
    devices: list[Device], call: Callable[[Tree], object]
) -> None:
    """A climb to its root would take for ever, or very long."""
    with pytest.raises(NoTree, match="ancestors"):
        call(tree_of(*devices))


def test_tree_of_a_host_is_read() -> None:
    """Whatever the order of its devices, and as deep as it may be."""
    deep = [below(f"d{number}", f"d{number + 1}") for number in range(DEPTH_AT_MOST - 1)]
    assert "<name>c</name>" in tree_of(*deep).dump_xml(form="libvirt")
    assert len(tree_of(*reversed(deep)).snapshot) == DEPTH_AT_MOST
    found = Devices(7, tuple(snapshot_of("vgpu-sriov")))
    one = tree(msgspec.json.encode(found))
    assert tuple(one.snapshot) == found.devices
    assert one.snapshot_json() == one.text
