"""resolve: the devices that another tool's identifier refers to."""

from __future__ import annotations

import pytest

from nodedevd.errors import NoSuchDevice
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.shared.vfio import VfioDevice
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.resolve import Resolved, resolve
from nodedevd.tree.read import scan
from tests.support.hosts import snapshot_of
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
