"""drm: the nodes of a graphics device, whatever their minor numbers."""

from __future__ import annotations

import errno

import pytest

from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.drm import Drm, MinorType
from nodedevd.tree.read import read_device, scan
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree
from tests.support.xml import native_xml, validate

DIRECTORY = "/sys/devices/pci0000:00/0000:00:02.0/drm"


def minor(tree: Tree, name: str, number: int) -> str:
    """Make a node of the GPU."""
    return tree.device(
        f"{DIRECTORY}/{name}",
        class_="drm",
        uevent={
            "MAJOR": 226,
            "MINOR": number,
            "DEVNAME": f"dri/{name}",
            "DEVTYPE": "drm_minor",
        },
        attributes={"dev": f"226:{number}"},
    )


@pytest.mark.parametrize(
    ("name", "number", "minor_type"),
    [
        ("card0", 0, "primary"),
        ("controlD64", 64, "control"),
        ("renderD128", 128, "render"),
        ("card200", 200, "primary"),
        ("renderD300", 300, "render"),
        ("card255", 255, "primary"),
    ],
)
def test_type_of_a_node_is_told_by_its_name(
    tree: Tree, name: str, number: int, minor_type: MinorType
) -> None:
    """Minors from 192 on are of any type."""
    path = minor(tree, name, number)
    found = scan(Sysroot()).lookup(f"drm_{name}")
    assert (found.path, found.types, found.errors) == (path, ("drm",), ())
    assert found.capability(Drm) == Drm(minor_type=minor_type)
    text = native_xml(found)
    validate(text)
    assert f"  <devnode type='dev'>/dev/dri/{name}</devnode>\n" in text
    assert text.endswith(
        f"  <capability type='drm'>\n    <type>{minor_type}</type>\n  </capability>\n</device>\n"
    )


def test_links_to_a_node_are_udevs(tree: Tree) -> None:
    """Paths that stay the same from boot to boot are known to udevd alone."""
    tree.udev(minor(tree, "card0", 0), links=["dri/by-path/pci-0000:00:02.0-card"])
    found = scan(Sysroot()).lookup("drm_card0")
    assert found.devlinks == ("/dev/dri/by-path/pci-0000:00:02.0-card",)


@pytest.mark.parametrize(
    "name", ["card0-HDMI-A-1", "card", "cardX", "renderD128-1", "ttm", "card٣"]
)
def test_connector_and_all_else_of_the_class_is_no_device(tree: Tree, name: str) -> None:
    """The class holds more than nodes, among it a plain file."""
    tree.device(f"{DIRECTORY}/{name}", class_="drm", uevent={"DEVTYPE": "drm_connector"})
    tree.file("/sys/class/drm/version", "drm 1.1.0 20060810\n")
    assert scan(Sysroot()).names == ("computer",)


def test_uevent_that_cannot_be_read_costs_only_the_node(tree: Tree) -> None:
    """The type does not depend on it."""
    path = minor(tree, "renderD128", 128)
    snapshot = scan(FaultySysroot(errors={f"{path}/uevent": errno.EIO}))
    found = snapshot.lookup("drm_renderD128")
    assert (found.capability(Drm), found.devnode) == (Drm(minor_type="render"), None)
    assert [(one.attribute, one.code) for one in found.errors] == [("uevent", "unreadable")]


def test_node_removed_while_read_is_no_device(tree: Tree) -> None:
    """A node removed at any point of its read is dropped, without an error."""
    for at in (1, 2):  # itself, uevent
        path = minor(tree, "card0", 0)
        sysroot = FaultySysroot(vanishing=path, at=at)
        assert read_device(sysroot, path, ["/sys/class/drm"]) is None
