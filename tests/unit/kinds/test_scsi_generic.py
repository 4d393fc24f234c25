"""scsi_generic: the node for direct commands to a SCSI device."""

from __future__ import annotations

import errno
from pathlib import Path

from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.scsi_generic import ScsiGeneric
from nodedevd.tree.read import read_device, scan
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree
from tests.support.xml import native_xml, validate

PATH = "/sys/devices/pci0000:00/0000:00:17.0/host0/target0:0:0/0:0:0:0/scsi_generic/sg0"


def node(tree: Tree, name: str = "sg0") -> str:
    """Make a node."""
    return tree.device(
        f"{PATH.rpartition('/')[0]}/{name}",
        class_="scsi_generic",
        uevent={"MAJOR": 21, "MINOR": 0, "DEVNAME": name},
        attributes={"dev": "21:0"},
    )


def test_node_shows_its_path(tree: Tree) -> None:
    """The node stands in the capability, as libvirt has it, and in the device."""
    node(tree)
    found = scan(Sysroot()).lookup("scsi_generic_sg0")
    assert (found.path, found.devnode, found.errors) == (PATH, "/dev/sg0", ())
    assert found.capability(ScsiGeneric) == ScsiGeneric(char="/dev/sg0")
    text = native_xml(found)
    validate(text)
    assert text.endswith(
        "  <capability type='scsi_generic'>\n"
        "    <char>/dev/sg0</char>\n"
        "  </capability>\n"
        "</device>\n"
    )


def test_uevent_that_cannot_be_read_leaves_the_kernels_name(tree: Tree) -> None:
    """Where the kernel does not name the node, it is named as the device."""
    node(tree)
    snapshot = scan(FaultySysroot(errors={f"{PATH}/uevent": errno.EACCES}))
    found = snapshot.lookup("scsi_generic_sg0")
    assert found.capability(ScsiGeneric) == ScsiGeneric(char="/dev/sg0")
    assert [(one.attribute, one.code) for one in found.errors] == [("uevent", "refused")]


def test_device_of_odd_name_can_be_shown(tmp_path: Path) -> None:
    r"""Bytes that are no text are shown as \xNN."""
    tree = Tree(tmp_path)
    tree.file(f"{node(tree, 'sg' + chr(0xDCFF))}/uevent")
    (found,) = scan(Sysroot(str(tmp_path))).select(["scsi_generic"])
    assert found.capability(ScsiGeneric) == ScsiGeneric(char=r"/dev/sg\xff")
    validate(native_xml(found))


def test_node_removed_while_read_is_no_device(tree: Tree) -> None:
    """A node removed at any point of its read is dropped, without an error."""
    for at in (1, 2):  # itself, uevent
        node(tree)
        sysroot = FaultySysroot(vanishing=PATH, at=at)
        assert read_device(sysroot, PATH, ["/sys/class/scsi_generic"]) is None
