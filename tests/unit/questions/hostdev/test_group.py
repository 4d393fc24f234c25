"""group: functions that cannot be assigned because of their IOMMU group."""

from __future__ import annotations

import pytest

from nodedevd.errors import NotAssignable
from nodedevd.host.assignment import read_assignment_facts
from nodedevd.host.sysroot import Sysroot
from nodedevd.questions.hostdev.answer import hostdev
from nodedevd.questions.hostdev.facts import HostDevFacts
from nodedevd.questions.hostdev.request import HostDev, HostDevRequest
from nodedevd.tree.read import scan
from tests.support.hostdev_cases import on
from tests.support.trees import Tree


def here(name: str) -> HostDev:
    """Assign a device of the host that the test has built."""
    sysroot = Sysroot()
    facts = HostDevFacts(machine="x86_64", host=read_assignment_facts(sysroot))
    return hostdev(scan(sysroot), HostDevRequest(name=name), facts)


def refusal(name: str) -> NotAssignable:
    """Return the error of a device of the host that the test has built."""
    with pytest.raises(NotAssignable) as refused:
        here(name)
    return refused.value


def test_function_behind_vmd_is_refused() -> None:
    """It exists only as long as its controller keeps the driver vmd."""
    with pytest.raises(NotAssignable) as refused:
        on("nvme-behind-vmd", "10000:e1:00.0")
    assert refused.value.reason == "behind-controller"
    assert refused.value.detail == (
        "it is behind the VMD controller pci_0000_00_0e_0, without whose driver it does not exist;"
        " assign pci_0000_00_0e_0 instead, or switch VMD off in the firmware"
    )


def test_what_goes_with_the_controller_needs_no_driver_of_its_own() -> None:
    """The members of the group that are below it disappear, and are named as lost."""
    (note, _) = on("nvme-behind-vmd", "0000:00:0e.0").notes
    assert note == (
        "libvirt unbinds it from its driver vmd; the host loses block_nvme0n1_EXS21,"
        " pci_10000_e0_06_0, pci_10000_e1_00_0"
    )


def test_function_below_a_member_of_its_group_is_refused(tree: Tree) -> None:
    """It may be another controller than VMD."""
    tree.pci("0000:00:03.0", vendor=1, device=1, class_=0x088000, driver="odd", iommu_group=1)
    tree.pci(
        "0001:01:00.0",
        vendor=1,
        device=1,
        class_=0x020000,
        iommu_group=1,
        parent="0000:00:03.0",
    )
    error = refusal("0001:01:00.0")
    assert error.reason == "behind-controller"
    assert "it is behind pci_0000_00_03_0, which is in its IOMMU group" in error.detail


def test_function_below_a_bridge_of_its_group_is_assigned(tree: Tree) -> None:
    """VFIO ignores bridges."""
    tree.pci("0000:00:03.0", vendor=1, device=1, class_=0x060400, driver="pcieport", iommu_group=1)
    tree.pci(
        "0000:01:00.0", vendor=1, device=1, class_=0x020000, iommu_group=1, parent="0000:00:03.0"
    )
    assert here("0000:01:00.0").notes == ()


def test_virtual_function_in_the_group_of_its_physical_one_is_refused(tree: Tree) -> None:
    """The driver that has to leave the physical function is the one that makes the virtual one."""
    tree.pci("0000:01:00.0", vendor=1, device=1, class_=0x020000, driver="ixgbe", iommu_group=1)
    tree.pci(
        "0000:01:10.0",
        vendor=1,
        device=2,
        class_=0x020000,
        iommu_group=1,
        physfn="0000:01:00.0",
    )
    error = refusal("0000:01:10.0")
    assert error.reason == "behind-controller"
    assert "its physical function pci_0000_01_00_0, without whose driver ixgbe" in error.detail


def test_virtual_function_in_a_group_of_its_own_is_assigned(tree: Tree) -> None:
    """As bridges with ACS make them."""
    tree.pci("0000:01:00.0", vendor=1, device=1, class_=0x020000, driver="ixgbe", iommu_group=1)
    tree.pci(
        "0000:01:10.0", vendor=1, device=2, class_=0x020000, iommu_group=2, physfn="0000:01:00.0"
    )
    assert here("0000:01:10.0").notes == ()


def member(tree: Tree, function: int, driver: str | None) -> str:
    """Make a function of group 7."""
    return tree.pci(
        f"0000:05:00.{function}",
        vendor=1,
        device=1,
        class_=0x020000,
        driver=driver,
        iommu_group=7,
    )


def test_members_that_are_ready_are_not_to_be_bound(tree: Tree) -> None:
    """Only those with a driver of the host are."""
    for function, driver in enumerate((None, "vfio-pci", None, "e1000e")):
        member(tree, function, driver)
    (note,) = here("05:00.0").notes
    assert note == (
        "IOMMU group 7 also has pci_0000_05_00_1 (vfio-pci), pci_0000_05_00_2 (no driver),"
        " pci_0000_05_00_3 (e1000e): bind pci_0000_05_00_3 to vfio-pci, or to no driver, before the"
        " guest starts"
    )


def test_vgpu_in_a_group_keeps_its_driver_and_the_others_leave(tree: Tree) -> None:
    """The host loses what is on the other members, as for a whole function."""
    tree.file(f"{member(tree, 0, 'nvidia')}/nvidia/current_vgpu_type", "1148\n")
    tree.file(f"{member(tree, 1, 'nvidia')}/nvidia/current_vgpu_type", "1148\n")
    tree.block("sda", above=f"{member(tree, 2, 'ahci')}/block", number=(8, 0))
    tree.file("/proc/self/mountinfo", "30 1 8:0 / / rw - ext4 /dev/sda rw\n")
    tree.file("/proc/swaps", "Filename Type Size Used Priority\n")
    group, loss, uses, profile = here("05:00.0").notes
    assert ": bind pci_0000_05_00_2 to vfio-pci, or to no driver" in group
    assert loss == "without the driver of pci_0000_05_00_2, the host loses block_sda"
    assert uses == "the host uses what it loses: / is mounted from sda"
    assert profile == "its vGPU profile is 1148"


def test_function_without_an_iommu_is_refused_although_vfio_has_it(tree: Tree) -> None:
    """In VFIO's no-IOMMU mode it has a group, which QEMU cannot open."""
    tree.pci("0000:00:03.0", vendor=1, device=1, class_=0x020000, driver="vfio-pci", iommu_group=0)
    assert here("0000:00:03.0").notes == ()
    tree.device("/sys/devices/virtual/vfio/noiommu-0", class_="vfio")
    error = refusal("0000:00:03.0")
    assert error.reason == "no-iommu"
    assert "no-IOMMU mode" in error.detail


@pytest.mark.parametrize("driver", [None, "nvidia", "vfio-pci"])
def test_function_that_does_not_answer_is_refused(tree: Tree, driver: str | None) -> None:
    """Its configuration space reads all ones; a guest with it would fail to start."""
    tree.pci(
        "0000:01:00.0",
        vendor=0x10DE,
        device=1,
        class_=0x030000,
        driver=driver,
        iommu_group=1,
        config=b"\xff" * 256,
    )
    error = refusal("0000:01:00.0")
    assert error.reason == "no-answer"
    assert "unknown PCI header type 127" in error.detail
    assert "echo 1 > /sys/bus/pci/devices/0000:01:00.0/remove" in error.detail


def test_configuration_space_that_is_cut_off_is_a_note(tree: Tree) -> None:
    """It could be a bridge."""
    tree.pci("0000:01:00.0", vendor=1, device=1, class_=0x020000, iommu_group=1, config=b"\0" * 16)
    assert here("0000:01:00.0").notes == (
        "its configuration space cannot be read in full: it may not work",
    )
