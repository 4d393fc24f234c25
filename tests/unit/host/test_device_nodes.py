"""device_nodes: the sysfs path of each node below /dev."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodedevd.host.archive.disk import write_archive
from nodedevd.host.archive.tree import Archive
from nodedevd.host.device_nodes import read_device_nodes
from nodedevd.host.sysroot import Sysroot
from tests.support.trees import Tree

FUNCTION = "0000:00:03.0"


def node(tree: Tree, path: str, number: str, name: str, class_: str = "misc") -> str:
    """Make a device with a node."""
    major, _, minor = number.partition(":")
    return tree.device(
        path,
        class_=class_,
        uevent={"MAJOR": major, "MINOR": minor, "DEVNAME": name},
        attributes={"dev": number},
    )


@pytest.fixture
def accelerator(tree: Tree) -> str:
    """Return a device below a PCI function, whose node has another name than the device."""
    above = tree.pci(FUNCTION, vendor=1, device=1, class_=0x120000)
    return node(tree, f"{above}/accel/accel0", "261:0", "accel/accel0", "accel")


def listed(tree: Tree, path: str, kind: str, number: str) -> None:
    """List a device in /sys/dev, as the kernel does."""
    tree.kernel_link(f"/sys/dev/{kind}/{number}", path)


def test_node_is_found_by_its_name_in_uevent(tree: Tree, accelerator: str) -> None:
    """As in a recording, which may lack /sys/dev."""
    assert read_device_nodes(Sysroot()).paths == {"/dev/accel/accel0": accelerator}


def test_device_that_sys_dev_lists_is_found(tree: Tree, accelerator: str) -> None:
    """Without a walk through all of /sys/devices."""
    other = tree.pci("0000:00:04.0", vendor=1, device=1, class_=0x120000)
    node(tree, f"{other}/accel/accel1", "261:1", "accel/accel1", "accel")
    listed(tree, accelerator, "char", "261:0")
    assert read_device_nodes(Sysroot()).paths == {"/dev/accel/accel0": accelerator}


def test_links_of_udev_are_found(tree: Tree, accelerator: str) -> None:
    """A link never hides a node."""
    other = node(tree, "/sys/devices/virtual/block/md0", "9:0", "md0", "block")
    tree.udev(accelerator, links=["accel/by-path/pci-0000:00:03.0-accel", "md0"])
    found = read_device_nodes(Sysroot()).paths
    assert found["/dev/accel/by-path/pci-0000:00:03.0-accel"] == accelerator
    assert found["/dev/md0"] == other


@pytest.mark.parametrize("number", ["1:3", "4:0", "4:9", "4:59", "4:63", "7:1"])
def test_nodes_of_no_device_are_not_read(tree: Tree, accelerator: str, number: str) -> None:
    """A host has some two hundred of them."""
    path = node(tree, "/sys/devices/virtual/tty/odd", number, "odd", "tty")
    listed(tree, path, "char", number)
    assert read_device_nodes(Sysroot()).paths == {}


@pytest.mark.parametrize("number", ["4:64", "4:100", "10:200", "71:0", "188:1"])
def test_nodes_of_devices_are_read(tree: Tree, accelerator: str, number: str) -> None:
    """Such as a serial port on a PCI card."""
    path = node(tree, f"{accelerator}/tty/ttyS4", number, "ttyS4", "tty")
    listed(tree, path, "char", number)
    assert read_device_nodes(Sysroot()).paths == {"/dev/ttyS4": path}


def test_device_without_a_name_or_with_a_broken_link_is_left_out(
    tree: Tree, accelerator: str
) -> None:
    """The others are found."""
    odd = tree.device(f"{accelerator}/odd", attributes={"dev": "261:9"})
    listed(tree, odd, "char", "261:9")
    tree.file("/sys/dev/char/261:8", "no link")
    listed(tree, f"{accelerator}/gone", "char", "261:7")
    listed(tree, accelerator, "char", "261:0")
    assert read_device_nodes(Sysroot()).paths == {"/dev/accel/accel0": accelerator}


def test_links_between_directories_are_not_followed(tree: Tree, accelerator: str) -> None:
    """A walk through the directories of a recording ends."""
    tree.kernel_link(f"{accelerator}/self", accelerator)
    assert len(read_device_nodes(Sysroot()).paths) == 1


@pytest.mark.exhaustive
def test_deep_directories_of_a_recording_are_read(tmp_path: Path) -> None:
    """A made-up host may be deeper than Python has stack."""
    archive = Archive()
    path = ""
    for part in ("sys", "devices", *["x"] * 1200):
        path += f"/{part}"
        archive.add_directory(path)
    archive.add_file(f"{path}/uevent", b"DEVNAME=deep\n")
    write_archive(archive, str(tmp_path / "deep.ttar"))
    found = read_device_nodes(Sysroot(str(tmp_path / "deep.ttar")))
    assert found.paths == {"/dev/deep": path}


def test_controllers_of_a_multipath_disk_are_found(tree: Tree, accelerator: str) -> None:
    """Also for its partitions, and for its generic node."""
    subsystem = "/sys/devices/virtual/nvme-subsystem/nvme-subsys0"
    controller = tree.device(f"{accelerator}/nvme/nvme0", class_="nvme")
    tree.kernel_link(f"{subsystem}/nvme0", controller)
    disk = node(tree, f"{subsystem}/nvme0n1", "259:0", "nvme0n1", "block")
    part = node(tree, f"{disk}/nvme0n1p1", "259:1", "nvme0n1p1", "block")
    generic = node(tree, f"{subsystem}/ng0n1", "241:0", "ng0n1", "nvme-generic")
    found = read_device_nodes(Sysroot()).controllers
    assert found == dict.fromkeys((disk, part, generic), (controller,))
