"""resolve: the devices that another tool's identifier refers to."""

from __future__ import annotations

import pytest

from nodedevd.errors import NoSuchDevice
from nodedevd.host.device_nodes import read_device_nodes
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.shared.vfio import VfioDevice
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.resolve import Resolved, find_in_steps, needs_nodes, resolve
from nodedevd.steps import finish
from nodedevd.tree.read import scan
from tests.support.hosts import host_file, snapshot_of
from tests.support.trees import Tree

MDEV = "mdev_27b42a51_9f6b_4c0b_8f5f_4f3a1d0e8c01"


def names(snapshot: Snapshot, text: str) -> list[str]:
    """Return the names of the resolved devices."""
    return [one.name for one in resolve(snapshot, text).devices]


@pytest.mark.parametrize(
    "text",
    [
        *("64", "/dev/vfio/64", "/sys/kernel/iommu_groups/64", "/dev/vfio/devices/vfio0"),
        *("27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01", "27B42A51-9F6B-4C0B-8F5F-4F3A1D0E8C01"),
        *(MDEV, f"{MDEV}_0000_08_00_4"),
        "/sys/bus/mdev/devices/27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01",
    ],
)
def test_mdev_is_found_by_group_node_and_name(text: str) -> None:
    """The answer has its type, group, node and parent."""
    (found,) = resolve(snapshot_of("vgpu-sriov"), text).devices
    assert found == Resolved(
        name=MDEV,
        parent="pci_0000_08_00_4",
        path=found.path,
        state="active",
        capabilities=("mdev_child",),
        driver="nvidia-vgpu-vfio",
        pci_function="pci_0000_08_00_4",
        uuid="27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01",
        type="nvidia-746",
        type_name="NVIDIA A2-4Q",
        iommu_group=64,
        vfio_device=VfioDevice("vfio0", "/dev/vfio/devices/vfio0"),
    )
    assert (found.path or "").endswith("/0000:08:00.4/27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01")


@pytest.mark.parametrize("text", ["32", "/dev/vfio/devices/vfio0", "0000:26:00.4", "26:00.4"])
def test_function_with_a_profile_has_that_for_its_type(text: str) -> None:
    """With vendor VFIO, the virtual function is what a guest gets."""
    (found,) = resolve(snapshot_of("vgpu-vendor-vfio"), text).devices
    assert (found.name, found.pci_function) == ("pci_0000_26_00_4", "pci_0000_26_00_4")
    assert (found.type, found.type_name) == ("1148", "NVIDIA L40S-2Q")
    assert found.vfio_device == VfioDevice("vfio0", "/dev/vfio/devices/vfio0")


def test_group_of_several_devices_means_all_of_them(tree: Tree) -> None:
    """They can only be assigned together."""
    for function in range(3):
        tree.pci(
            f"0000:05:00.{function}", vendor=1, device=2, class_=0, iommu_group=7 + (function > 1)
        )
    assert names(scan(Sysroot()), "7") == ["pci_0000_05_00_0", "pci_0000_05_00_1"]
    assert names(scan(Sysroot()), "/dev/vfio/noiommu-8") == ["pci_0000_05_00_2"]


@pytest.mark.parametrize("text", ["sda", "/dev/sda", "/sys/class/block/sda"])
def test_disk_is_found_by_kernel_name_and_node(text: str) -> None:
    """The answer has the PCI function above it."""
    (found,) = resolve(snapshot_of("server-storage-fc"), text).devices
    assert found.capabilities == ("storage",)
    assert found.pci_function == "pci_0000_00_17_0"


def test_disk_is_found_by_a_link_of_udev() -> None:
    """The links of /dev/disk/by-id, for example."""
    snapshot = snapshot_of("server-storage-fc")
    device = next(one for one in snapshot if "storage" in one.types and one.devlinks)
    for link in device.devlinks:
        assert names(snapshot, link) == [device.name]


def test_interface_is_found_by_its_name() -> None:
    """Below a vDPA device, the PCI function is the virtual function."""
    (found,) = resolve(snapshot_of("vdpa-smartnic"), "eth1").devices
    assert (found.capabilities, found.pci_function) == (("net",), "pci_0000_3b_00_3")


def test_mdev_that_is_only_defined_is_found_by_its_uuid() -> None:
    """It has a type, but neither group nor node."""
    (found,) = resolve(snapshot_of("vgpu-sriov"), "d9e0f3a6-1b4c-4d72-8c38-5e6b9a0f2d04").devices
    assert (found.type, found.iommu_group, found.vfio_device) == ("nvidia-746", None, None)


# -- nodes that are not of a device itself -------------------------------------------------


def found_by_node(text: str, snapshot: Snapshot | None = None) -> list[tuple[str, str | None]]:
    """Return name and PCI function of what a node means, on the host that the test has built."""
    sysroot = Sysroot()
    snapshot = snapshot or scan(sysroot)
    assert needs_nodes(finish(find_in_steps(snapshot, text)), text)
    found = resolve(snapshot, text, read_device_nodes(sysroot)).devices
    return [(one.name, one.pci_function) for one in found]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("nvme/nvme0", "nvme0"),
        ("tty/ttyS4", "ttyS4"),
        ("host0/target0:0:3/0:0:3:0/scsi_tape/st0", "st0"),
        ("host0/target0:0:4/0:0:4:0/scsi_changer/sch0", "sch0"),
        ("infiniband_verbs/uverbs0", "infiniband/uverbs0"),
        ("infiniband_mad/umad0", "infiniband/umad0"),
        ("dsa0/wq0.1", "dsa/wq0.1"),
        ("drm/card0/card0-DP-1/drm_dp_aux0", "drm_dp_aux0"),
        ("sound/card0/pcmC0D0p", "snd/pcmC0D0p"),
        ("usb1/1-1/1-1:1.0/ttyUSB0/tty/ttyUSB0", "ttyUSB0"),
        ("uio/uio0", "uio0"),
        ("ptp/ptp0", "ptp0"),
        ("kfd/kfd", "kfd"),
        ("misc/mshv", "mshv/one"),
    ],
)
def test_node_below_a_function_is_found(tree: Tree, path: str, name: str) -> None:
    """Of any class, and however deep; the node may have another name than the device."""
    function = tree.pci("0000:05:00.0", vendor=1, device=2, class_=0x010802)
    tree.device(f"{function}/{path}", class_="odd", uevent={"DEVNAME": name})
    assert found_by_node(f"/dev/{name}") == [("pci_0000_05_00_0", "pci_0000_05_00_0")]


def test_node_of_a_partition_is_of_its_disk(tree: Tree) -> None:
    """The disk is the nearest device of the tree."""
    function = tree.pci("0000:05:00.0", vendor=1, device=2, class_=0x010802)
    disk = tree.block("nvme0n1", above=f"{function}/nvme/nvme0", number=(259, 0))
    tree.partition(disk, "nvme0n1p1")
    assert found_by_node("/dev/nvme0n1p1") == [("block_nvme0n1", "pci_0000_05_00_0")]


def test_node_of_a_vdpa_device_belongs_to_its_child(tree: Tree) -> None:
    """The device is bound to vhost_vdpa; with the node's own entry or without."""
    function = tree.pci("0000:03:00.0", vendor=1, device=2, class_=0x020000)
    device = tree.device(f"{function}/mlx5_core.sf.4/vdpa0", bus="vdpa", driver="vhost_vdpa")
    tree.directory(f"{device}/vhost-vdpa-0")
    (found,) = resolve(scan(Sysroot()), "/dev/vhost-vdpa-0").devices
    assert (found.name, found.pci_function) == ("vdpa_vdpa0", "pci_0000_03_00_0")


def test_node_of_a_device_that_is_not_in_the_tree_is_no_such_device(tree: Tree) -> None:
    """It lies below no device, as /dev/kvm."""
    tree.device("/sys/devices/virtual/misc/kvm", class_="misc", uevent={"DEVNAME": "kvm"})
    with pytest.raises(NoSuchDevice):
        found_by_node("/dev/kvm")


@pytest.mark.parametrize("text", ["nvme8n1", "/dev/nvme8n1", "block_nvme8n1"])
def test_functions_of_a_multipath_disk_are_found(text: str) -> None:
    """By name and by node: the path of the disk has none of them."""
    snapshot = snapshot_of("nvme-native-multipath")
    assert needs_nodes(finish(find_in_steps(snapshot, text)), text)
    nodes = read_device_nodes(Sysroot(str(host_file("nvme-native-multipath"))))
    (found,) = resolve(snapshot, text, nodes).devices
    assert (found.name, found.parent) == ("block_nvme8n1", "computer")
    assert found.pci_function == "pci_0000_b0_00_0"
    assert found.other_pci_functions == ("pci_0000_b1_00_0",)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/dev/nvme7", "pci_0000_af_00_0"),
        ("/dev/ng7n1", "pci_0000_af_00_0"),
        ("/dev/nvme7n1p1", "block_nvme7n1_Dell_Ent_NVMe_PM1735_MU_3_2TB_EXS20"),
        ("/dev/disk/by-partlabel/pv", "block_nvme7n1_Dell_Ent_NVMe_PM1735_MU_3_2TB_EXS20"),
    ],
)
def test_nodes_around_a_multipath_disk_are_found(text: str, name: str) -> None:
    """Controller, generic node, partition, and a link to one."""
    nodes = read_device_nodes(Sysroot(str(host_file("nvme-native-multipath"))))
    (found,) = resolve(snapshot_of("nvme-native-multipath"), text, nodes).devices
    assert (found.name, found.pci_function) == (name, "pci_0000_af_00_0")


@pytest.mark.parametrize("text", ["sda", "0000:00:17.0", "64", "/dev/sda", "/sys/class/block/sda"])
def test_device_of_the_tree_needs_no_look_at_nodes(text: str) -> None:
    """A request for it costs no read of the host."""
    assert not needs_nodes(finish(find_in_steps(snapshot_of("server-storage-fc"), text)), text)


@pytest.mark.parametrize(
    "text",
    [
        *("9999", "/dev/vfio/9999", "/dev/vfio/vfio", "/dev/vfio/devices/vfio99", "/dev/vfio/"),
        *("/dev/nothing", "nothing", "", "/", "١٢", "99999999999999999999999", "-1", "x" * 100_000),
        *("vfio0", "0000:08:00.4/..", "/dev/vfio/devices/../64"),
    ],
)
def test_unknown_identifier_is_no_such_device(text: str) -> None:
    """Hostile texts are among the examples."""
    with pytest.raises(NoSuchDevice):
        resolve(snapshot_of("vgpu-sriov"), text)
