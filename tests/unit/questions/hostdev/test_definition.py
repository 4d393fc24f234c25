"""definition: what prevents the start of an mdev that is defined, and the command that helps."""

from __future__ import annotations

import pytest

from nodedevd.errors import InvalidParameter, NotAssignable
from nodedevd.host.sysroot import Sysroot
from nodedevd.questions.hostdev.answer import hostdev
from nodedevd.questions.hostdev.facts import HostDevFacts
from nodedevd.questions.hostdev.request import HostDevRequest
from nodedevd.tree.read import scan
from tests.support.trees import Tree

UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
GPU = "0000:00:02.0"
OTHER = "0000:00:03.0"
START = f"nodedevctl start {UUID} --parent {GPU}"


def detail(name: str = UUID) -> str:
    """Return why an inactive mdev cannot be assigned."""
    with pytest.raises(NotAssignable) as refused:
        hostdev(scan(Sysroot()), HostDevRequest(name=name), HostDevFacts(machine="x86_64"))
    assert refused.value.reason == "inactive"
    return refused.value.detail


def gpu(tree: Tree, address: str = GPU, *, available: int = 1) -> str:
    """Make an mdev parent."""
    path = tree.pci(address, vendor=0x10DE, device=1, class_=0x030200, driver="nvidia")
    tree.mdev_type(path, "nvidia-746", available=available)
    return tree.mdev_parent(path)


def test_definition_that_can_be_started_has_the_command(tree: Tree) -> None:
    """Its XML can be printed before."""
    gpu(tree)
    tree.definition(GPU, UUID, "nvidia-746")
    assert detail() == (
        f"it is defined but not started; start it: {START};"
        f" nodedevctl hostdev --not-created {UUID} prints the XML without starting it"
    )


def test_name_of_a_definition_is_quoted_in_its_command(tree: Tree) -> None:
    """Its directory can have any name, and the command is there to be pasted."""
    tree.definition("$(reboot)", UUID, "nvidia-746")
    assert detail().endswith(f"nodedevctl start {UUID} --parent '$(reboot)'")


def test_uuid_that_is_active_on_another_parent_is_named(tree: Tree) -> None:
    """The kernel creates no second mdev of a UUID, so the start would fail."""
    gpu(tree)
    tree.mdev(gpu(tree, OTHER), UUID, "nvidia-746", driver="nvidia")
    tree.definition(GPU, UUID, "nvidia-746")
    text = detail(f"mdev_{UUID}_{GPU}")
    assert f"mdev_{UUID.replace('-', '_')} on pci_0000_00_03_0 has it" in text
    assert text.endswith(f"nodedevctl remove mdev_{UUID.replace('-', '_')}; then: {START}")


def test_parent_without_mdevs_by_now_is_assigned_instead(tree: Tree) -> None:
    """A kernel update has replaced mdevs by vendor VFIO."""
    path = tree.pci(GPU, vendor=0x10DE, device=1, class_=0x030200, driver="nvidia")
    tree.file(f"{path}/nvidia/current_vgpu_type", "0\n")
    tree.definition(GPU, UUID, "nvidia-746")
    text = detail()
    assert "its parent pci_0000_00_02_0 creates vGPUs without mdevs" in text
    assert "nodedevctl create TYPE pci_0000_00_02_0, assign pci_0000_00_02_0 instead" in text
    assert text.endswith(f"nodedevctl undefine {UUID} --parent {GPU}")


@pytest.mark.parametrize(("driver", "bound"), [("io_subchannel", "io_subchannel"), (None, "no dr")])
def test_subchannel_with_another_driver_has_the_command(
    tree: Tree, driver: str | None, bound: str
) -> None:
    """The subchannel is present; a CCW device of the same bus id is another device."""
    tree.device("/sys/devices/css0/0.0.0314", bus="css", driver=driver)
    tree.device("/sys/devices/css0/0.0.0001/0.0.0314", bus="ccw", driver="dasd-eckd")
    tree.definition("0.0.0314", UUID, "vfio_ccw-io")
    text = detail()
    assert f"its parent css_0_0_0314 is no mdev parent: it is bound to {bound}" in text
    assert "driverctl -b css set-override 0.0.0314 vfio_ccw; then: nodedevctl start" in text


@pytest.mark.parametrize("driver", ["nvidia", None])
def test_parent_that_is_present_is_not_called_missing(tree: Tree, driver: str | None) -> None:
    """What it lacks is the driver that registers it."""
    tree.pci(GPU, vendor=0x10DE, device=1, class_=0x030200, driver=driver)
    tree.definition(GPU, UUID, "nvidia-746")
    text = detail()
    assert "its parent pci_0000_00_02_0 is no mdev parent: load the driver" in text
    assert f"(its driver is {driver or 'missing'})" in text


def test_parent_that_is_missing_is_named(tree: Tree) -> None:
    """It may be a virtual function that is not enabled."""
    tree.definition(GPU, UUID, "nvidia-746")
    assert f"since its parent {GPU} is not present: load its driver, or enable" in detail()


def test_type_that_is_not_offered_names_those_that_are(tree: Tree) -> None:
    """Another release of the driver has other types."""
    gpu(tree)
    tree.definition(GPU, UUID, "nvidia-700")
    text = detail()
    assert "does not offer the type nvidia-700: choose one of nvidia-746" in text
    assert f"nodedevctl modify {UUID} --parent {GPU} --type TYPE" in text


def test_parent_without_capacity_is_named(tree: Tree) -> None:
    """The start would fail."""
    gpu(tree, available=0)
    tree.definition(GPU, UUID, "nvidia-746")
    assert "pci_0000_00_02_0 has no free instance of its type: stop another mdev" in detail()


def test_definition_gives_the_type_of_a_new_mdev(tree: Tree) -> None:
    """Its type has been offered once: the driver in its id gives the model."""
    tree.definition(GPU, UUID, "nvidia-700")
    request = HostDevRequest(name=UUID, not_created=True, arch="s390x")
    found = hostdev(scan(Sysroot()), request, HostDevFacts(machine="s390x"))
    assert (found.model, found.open) == ("vfio-pci", "no")
    assert found.notes[1:] == (
        "no parent on this host offers the type 'nvidia-700'",
        "the model vfio-pci is a guess from the type's driver, nvidia",
    )


def test_name_with_a_parent_is_no_name_of_a_new_mdev(tree: Tree) -> None:
    """The error has the UUID to give instead."""
    request = HostDevRequest(name=f"mdev_{UUID}_{GPU}", not_created=True)
    with pytest.raises(InvalidParameter, match=f"give its UUID alone: {UUID}"):
        hostdev(scan(Sysroot()), request, HostDevFacts(machine="x86_64"))
