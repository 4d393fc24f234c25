"""vdpa: a vDPA device, whichever driver has it."""

from __future__ import annotations

import pytest

from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.vdpa import Vdpa
from nodedevd.model.device import Device
from nodedevd.tree.read import read_device, scan
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree
from tests.support.xml import native_xml, validate

PATH = "/sys/devices/pci0000:3a/0000:3b:00.2/vdpa0"


def vdpa(tree: Tree, *children: str, driver: str | None = None) -> Device:
    """Make a device with these children, scan, and return it."""
    tree.device(PATH, bus="vdpa", driver=driver)
    for child in children:
        tree.device(f"{PATH}/{child}")
    return scan(Sysroot()).lookup("vdpa_vdpa0")


def test_device_of_vhost_vdpa_shows_its_node(tree: Tree) -> None:
    """The node is named as the child that the driver makes."""
    found = vdpa(tree, "vhost-vdpa-12", driver="vhost_vdpa")
    assert (found.path, found.driver, found.errors) == (PATH, "vhost_vdpa", ())
    assert found.capability(Vdpa) == Vdpa(chardev="/dev/vhost-vdpa-12")
    text = native_xml(found)
    validate(text)
    assert text.endswith(
        "  <capability type='vdpa'>\n"
        "    <chardev>/dev/vhost-vdpa-12</chardev>\n"
        "  </capability>\n"
        "</device>\n"
    )


@pytest.mark.parametrize("children", [(), ("virtio0",), ("vhost-vdpa",), ("vhost-vdpa-x",)])
def test_device_without_such_a_child_has_no_node(tree: Tree, children: tuple[str, ...]) -> None:
    """Bound to virtio_vdpa or unbound, it is a device all the same."""
    found = vdpa(tree, *children)
    assert (found.capability(Vdpa), found.errors) == (Vdpa(chardev=None), ())
    assert native_xml(found).endswith("  <capability type='vdpa'>\n  </capability>\n</device>\n")
    validate(native_xml(found))


def test_device_removed_while_read_is_no_device(tree: Tree) -> None:
    """A device removed at any point of its read is dropped, without an error."""
    for at in (1, 2):  # itself, driver
        vdpa(tree, "vhost-vdpa-0", driver="vhost_vdpa")
        sysroot = FaultySysroot(vanishing=PATH, at=at)
        assert read_device(sysroot, PATH, ["/sys/bus/vdpa/devices"]) is None
