"""doctor: cards that should offer vGPUs and offer none, and cards that need not."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from nodedevd.host.facts import read_host
from nodedevd.questions.doctor import Finding, Severity, diagnose
from nodedevd.tree.read import scan
from tests.support.doctor import codes, examined
from tests.support.faulty import FaultySysroot
from tests.support.hosts import unpacked
from tests.support.mdev_card import CARD, CARD_NAME, NVIDIA_CARD, UUID, mdev_card
from tests.support.trees import Tree

VFS = ("0000:3b:00.4", "0000:3b:00.5")
VF_NAMES = ["pci_0000_3b_00_4", "pci_0000_3b_00_5"]
HOST_DRIVER = "/sys/module/nvidia_vgpu_vfio"
GPU = "0000:00:02.0"
GPU_NAME = "pci_0000_00_02_0"
HEADING = "ID : vGPU Name\n"


def card(
    tree: Tree, *, driver: str | None = "nvidia", vfs: str | None = "nvidia", enabled: bool = True
) -> list[str]:
    """Make a card of NVIDIA and its two virtual functions; return their paths."""
    tree.pci(CARD, driver=driver, iommu_group=1, **NVIDIA_CARD)
    paths = []
    if enabled:
        for number, vf in enumerate(VFS):
            paths.append(tree.pci(vf, driver=vfs, iommu_group=2 + number, **NVIDIA_CARD))
    tree.sriov(CARD, paths, total=2)
    return paths


def vendor_vfio(tree: Tree, path: str, types: str = "", current: int = 0) -> None:
    """Give a virtual function NVIDIA's interface without mdevs."""
    tree.file(f"{path}/nvidia/creatable_vgpu_types", HEADING + types)
    tree.file(f"{path}/nvidia/current_vgpu_type", f"{current}\n")


def only(findings: tuple[Finding, ...]) -> Finding:
    """Return the one finding."""
    (found,) = findings
    return found


# -- virtual functions -----------------------------------------------------------------


@pytest.mark.parametrize("mdev", [True, False])
def test_functions_on_vfio_pci_are_found_with_or_without_mdev(tmp_path: Path, mdev: bool) -> None:
    """The card is right, and so is its driver: the functions are bound elsewhere."""
    tree = unpacked("l40s-vfs-on-vfio-pci", tmp_path / "host")
    if mdev:
        tree.directory("/sys/bus/mdev/devices")
        tree.directory("/sys/class/mdev_bus")
    found = examined(tree)
    assert {(one.severity, one.code) for one in found} == {("warning", "function-wrong-driver")}
    assert [one.device for one in found] == [f"pci_0000_ae_00_{n}" for n in (4, 5, 6, 7)]
    assert {one.card for one in found} == {"pci_0000_ae_00_0"}
    assert all("bound to vfio-pci, not to nvidia" in one.text for one in found)
    assert found[0].mend == (
        "echo nvidia > /sys/bus/pci/devices/0000:ae:00.4/driver_override",
        "echo 0000:ae:00.4 > /sys/bus/pci/devices/0000:ae:00.4/driver/unbind",
        "echo 0000:ae:00.4 > /sys/bus/pci/drivers_probe",
    )


@pytest.mark.parametrize("driver", ["vfio-pci", "nouveau", "pci-stub", None])
def test_function_with_another_driver_or_none_is_found(tree: Tree, driver: str | None) -> None:
    """Without a driver there is nothing to unbind."""
    card(tree, vfs=driver)
    found = examined(tree)
    assert codes(found) == [("warning", "function-wrong-driver", name) for name in VF_NAMES]
    assert f"bound to {driver or 'no driver'}, not to nvidia" in found[0].text
    assert any("unbind" in command for command in found[0].mend) is (driver is not None)


def test_function_with_another_driver_beside_one_with_types_is_found(tree: Tree) -> None:
    """The other functions of the card are as they should be."""
    first, second = card(tree)
    vendor_vfio(tree, first, "1155 : NVIDIA L40S-8Q\n")
    tree.kernel_link(f"{second}/driver", "/sys/bus/pci/drivers/vfio-pci")
    assert codes(examined(tree)) == [("warning", "function-wrong-driver", VF_NAMES[1])]


@pytest.mark.parametrize("loaded", [True, False])
@pytest.mark.parametrize("mdev", [True, False])
def test_functions_without_types_are_found(tree: Tree, mdev: bool, loaded: bool) -> None:
    """They are bound to the right driver, and it offers neither mdevs nor vendor VFIO."""
    card(tree)
    if mdev:
        tree.directory("/sys/bus/mdev/devices")
    if loaded:
        tree.directory(HOST_DRIVER)
    found = examined(tree)
    assert codes(found) == [("warning", "function-without-types", name) for name in VF_NAMES]
    assert ("nvidia_vgpu_vfio is not loaded" in found[0].text) is not loaded
    assert any("nvidia-vgpu-mgr" in command for command in found[0].mend)
    assert ("modprobe nvidia_vgpu_vfio" in found[0].mend) is not loaded


def test_functions_of_a_card_with_another_driver_are_one_finding(tree: Tree) -> None:
    """The card comes first: nothing can be said of its functions."""
    card(tree, driver="nouveau", vfs=None)
    found = only(examined(tree))
    assert (found.severity, found.code, found.device) == ("warning", "card-wrong-driver", CARD_NAME)
    assert "bound to nouveau, not to nvidia" in found.text
    assert f"/usr/lib/nvidia/sriov-manage -e {CARD}" in found.mend


@pytest.mark.parametrize("vendor", [0x10DE, 0x15B3])
def test_functions_of_a_card_without_driver_are_one_finding(tree: Tree, vendor: int) -> None:
    """Virtual functions outlive the driver of their card, of any vendor, and are of no use."""
    about: dict[str, Any] = {**NVIDIA_CARD, "vendor": vendor}
    tree.pci(CARD, iommu_group=1, **about)
    tree.sriov(CARD, [tree.pci(VFS[0], iommu_group=2, **about)])
    assert codes(examined(tree)) == [("warning", "card-without-driver", CARD_NAME)]


@pytest.mark.parametrize("driver", ["vfio-pci", "mlx5_core"])
def test_functions_of_other_vendors_need_no_vgpus(tree: Tree, driver: str) -> None:
    """They are assigned as they are."""
    about: dict[str, Any] = {"vendor": 0x15B3, "device": 1, "class_": 0x020000}
    tree.pci(CARD, driver="mlx5_core", iommu_group=1, **about)
    tree.sriov(CARD, [tree.pci(VFS[0], driver=driver, iommu_group=2, **about)])
    assert examined(tree) == ()


# -- cards -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("driver", "severity"), [("nvidia", "warning"), ("nouveau", "note"), ("vfio-pci", None)]
)
def test_card_without_virtual_functions_is_found(
    tree: Tree, driver: str, severity: Severity | None
) -> None:
    """Cards since Ampere need virtual functions, unless they are assigned as a whole."""
    tree.directory(HOST_DRIVER)
    card(tree, driver=driver, enabled=False)
    found = examined(tree)
    assert codes(found) == (
        [] if severity is None else [(severity, "no-virtual-functions", CARD_NAME)]
    )
    assert all(one.mend == (f"/usr/lib/nvidia/sriov-manage -e {CARD}",) for one in found)


def test_card_without_virtual_functions_beside_one_with_vgpus_is_found(tree: Tree) -> None:
    """The other card proves that the vGPU host driver is loaded."""
    for path in card(tree):
        vendor_vfio(tree, path, "1155 : NVIDIA L40S-8Q\n")
    tree.pci("0000:5e:00.0", driver="nvidia", iommu_group=9, **NVIDIA_CARD)
    tree.sriov("0000:5e:00.0", total=32)
    assert codes(examined(tree)) == [("warning", "no-virtual-functions", "pci_0000_5e_00_0")]


@pytest.mark.parametrize("sriov", [True, False])
@pytest.mark.parametrize("class_", [0x030000, 0x030200])
def test_card_with_the_plain_driver_has_no_findings(tree: Tree, class_: int, sriov: bool) -> None:
    """It computes: no host driver and no virtual function shows that vGPUs are wanted."""
    tree.pci(CARD, driver="nvidia", iommu_group=1, **{**NVIDIA_CARD, "class_": class_})
    if sriov:
        tree.sriov(CARD, total=32)
    tree.directory("/sys/module/nvidia")
    assert examined(tree) == ()


@pytest.mark.parametrize("class_", [0x030000, 0x030200])
@pytest.mark.parametrize("driver", ["nvidia", "nouveau", None])
def test_card_that_offers_nothing_to_the_host_driver_is_found(
    tree: Tree, driver: str | None, class_: int
) -> None:
    """Without SR-IOV the card itself would be an mdev parent; some display modes prevent it."""
    tree.directory(HOST_DRIVER)
    tree.pci(CARD, driver=driver, iommu_group=1, **{**NVIDIA_CARD, "class_": class_})
    found = only(examined(tree))
    assert (found.severity, found.code) == ("warning", "card-without-types")
    assert f"bound to {driver or 'no driver'}" in found.text
    display = driver == "nvidia" and class_ == 0x030000
    assert ("displaymodeselector" in found.advice) is display


def test_second_card_for_the_console_is_a_note(tree: Tree) -> None:
    """Another card offers vGPUs; this one may be a plain graphics card."""
    tree.directory(HOST_DRIVER)
    for path in card(tree):
        vendor_vfio(tree, path, "1155 : NVIDIA L40S-8Q\n")
    tree.pci("0000:01:00.0", driver="nvidia", vendor=0x10DE, device=1, class_=0x030000)
    assert codes(examined(tree)) == [("note", "card-without-types", "pci_0000_01_00_0")]


@pytest.mark.parametrize("class_", [0x040300, 0x068000, 0x0C0330])
def test_other_functions_of_nvidia_need_no_vgpus(tree: Tree, class_: int) -> None:
    """Sound, bridges of NVLink, and USB."""
    tree.directory(HOST_DRIVER)
    tree.pci(CARD, driver="nvidia", iommu_group=1, **{**NVIDIA_CARD, "class_": class_})
    assert examined(tree) == ()


# -- nothing can be created ------------------------------------------------------------


def test_card_in_mig_mode_without_gpu_instances_is_found(tree: Tree) -> None:
    """With vendor VFIO its functions list no type, and none has one."""
    paths = card(tree)
    for path in paths:
        vendor_vfio(tree, path)
    found = only(examined(tree))
    assert (found.severity, found.code, found.device) == ("warning", "none-available", CARD_NAME)
    assert "GPU instances" in found.advice
    assert f"nvidia-smi mig -i {CARD} -lgip" in found.mend
    vendor_vfio(tree, paths[0], "1155 : NVIDIA L40S-8Q\n")
    assert examined(tree) == ()


def test_card_with_all_types_at_zero_is_found(tree: Tree) -> None:
    """With mdevs the types stay, and none is available."""
    for path in card(tree):
        tree.mdev_parent(path)
        tree.mdev_type(path, "nvidia-474", available=0)
    assert codes(examined(tree)) == [("warning", "none-available", CARD_NAME)]


def test_full_card_has_no_findings(tree: Tree) -> None:
    """One function has the whole card, so that no other lists a type."""
    first, second = card(tree)
    vendor_vfio(tree, first, current=1155)
    vendor_vfio(tree, second)
    assert examined(tree) == ()


def test_card_whose_mdevs_are_all_being_removed_has_no_such_finding(tmp_path: Path) -> None:
    """The capacity is taken until the VM lets go."""
    tree = mdev_card(tmp_path / "host")
    tree.mdev_type(CARD, "nvidia-1", available=0)
    path = tree.mdev(CARD, UUID, "nvidia-1", driver="nvidia", iommu_group=2)
    tree.remove(f"{path}/remove")
    assert [one.code for one in examined(tree)] == ["mdev-removing"]


def test_card_whose_counts_are_unknown_has_no_such_finding(tree: Tree) -> None:
    """The fault is reported, and nothing is concluded from it."""
    for path in card(tree):
        tree.mdev_parent(path)
        tree.mdev_type(path, "nvidia-474", available="")
    assert {one.code for one in examined(tree)} == {"attribute-unreadable"}


def test_hostile_name_of_a_function_is_quoted(tree: Tree) -> None:
    """A command that is pasted does what it says."""
    name = "x; reboot"
    card(tree)
    tree.device(
        f"/sys/devices/pci0000:00/{name}",
        bus="pci",
        driver="vfio-pci",
        uevent={"PCI_CLASS": "30200", "PCI_ID": "10DE:2235"},
    )
    path = f"/sys/devices/pci0000:00/{name}"
    tree.kernel_link(f"{path}/physfn", tree.resolve(CARD))
    (found,) = [one for one in examined(tree) if one.code == "function-wrong-driver"]
    assert found.mend[0] == f"echo nvidia > /sys/bus/pci/devices/'{name}'/driver_override"


def test_function_whose_types_cannot_be_read_is_a_warning(tree: Tree) -> None:
    """What it offers is unknown, so nothing is concluded from it."""
    for path in card(tree):
        tree.file(f"{path}/nvidia/current_vgpu_type", "0\n")
    found = examined(tree)
    assert {(one.severity, one.code) for one in found} == {("warning", "attribute-unreadable")}


def test_function_without_a_vgpu_answers_enxio_and_has_no_findings(tree: Tree) -> None:
    """The driver has no placement and no GPU instance for it yet."""
    errors = {}
    for path in card(tree):
        vendor_vfio(tree, path, "1155 : NVIDIA L40S-8Q\n")
        for name in ("placement_id", "gpu_instance_id", "vgpu_params"):
            errors[tree.file(f"{path}/nvidia/{name}")] = errno.ENXIO
    sysroot = FaultySysroot(tree.root, errors=errors)
    assert diagnose(scan(sysroot), read_host(sysroot)) == ()


# -- GVT-g -----------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["Y", "1", "N", None])
@pytest.mark.parametrize("kvmgt", [True, False])
def test_gvt_that_was_asked_for_without_a_parent_is_found(
    tree: Tree, value: str | None, kvmgt: bool
) -> None:
    """The parameter alone makes no parent, and neither does the module."""
    tree.pci(GPU, vendor=0x8086, device=0x3E98, class_=0x030000, driver="i915", iommu_group=1)
    if value is not None:
        tree.file("/sys/module/i915/parameters/enable_gvt", f"{value}\n")
    if kvmgt:
        tree.directory("/sys/module/kvmgt")
    asked = value in ("Y", "1")
    found = examined(tree)
    expected = [("warning", "gvt-without-parent", GPU_NAME)] if asked or kvmgt else []
    assert codes(found) == expected
    for one in found:
        assert any("modprobe kvmgt" in command for command in one.mend) is not kvmgt
        assert any("enable_gvt=1" in command for command in one.mend) is not asked
    tree.mdev_type(GPU, "i915-GVTg_V5_4", name="GVTg_V5_4")
    tree.mdev_parent(GPU)
    assert examined(tree) == ()


@pytest.mark.parametrize(
    ("driver", "severity"), [("xe", "warning"), (None, "warning"), ("vfio-pci", "note")]
)
def test_gvt_on_a_gpu_without_i915_is_found(
    tree: Tree, driver: str | None, severity: Severity
) -> None:
    """Only i915 has GVT-g; a GPU that is assigned as a whole has none on purpose."""
    tree.pci(GPU, vendor=0x8086, device=0x3E98, class_=0x030000, driver=driver, iommu_group=1)
    tree.directory("/sys/module/kvmgt")
    assert codes(examined(tree)) == [(severity, "gvt-without-parent", GPU_NAME)]


def test_gvt_without_room_is_found(tree: Tree) -> None:
    """The aperture of the GPU is too small for any type."""
    tree.pci(GPU, vendor=0x8086, device=0x3E98, class_=0x030000, driver="i915", iommu_group=1)
    tree.mdev_type(GPU, "i915-GVTg_V5_4", name="GVTg_V5_4", available=0)
    tree.mdev_parent(GPU)
    found = only(examined(tree))
    assert (found.code, found.device) == ("none-available", GPU_NAME)
    assert "aperture" in found.advice


# -- IBM Z -----------------------------------------------------------------------------


def test_subchannel_with_vfio_ccw_and_without_types_is_found(tree: Tree) -> None:
    """The driver took it, and registered no parent."""
    path = "/sys/devices/css0/0.0.0313"
    tree.device(path, bus="css", driver="vfio_ccw", attributes={"type": 0})
    assert codes(examined(tree)) == [("warning", "parent-without-types", "css_0_0_0313")]
    tree.device("/sys/devices/css0/0.0.0314", bus="css", driver="io_subchannel")
    tree.mdev_parent(path)
    tree.mdev_type(path, "vfio_ccw-io", device_api="vfio-ccw")
    assert examined(tree) == ()


def test_matrix_without_types_is_found(tree: Tree) -> None:
    """The module is loaded, and its device offers nothing, or is missing."""
    tree.directory("/sys/module/vfio_ap")
    assert codes(examined(tree)) == [("warning", "parent-without-types", None)]
    tree.device("/sys/devices/vfio_ap/matrix", bus="matrix", driver="vfio_ap")
    assert codes(examined(tree)) == [("warning", "parent-without-types", "ap_matrix")]


@pytest.mark.parametrize(("defined", "severity"), [(True, "warning"), (False, "note")])
def test_queues_that_the_host_keeps_are_found(
    tree: Tree, defined: bool, severity: Severity
) -> None:
    """No guest can be given one; it may not be wanted either."""
    matrix = tree.device("/sys/devices/vfio_ap/matrix", bus="matrix", driver="vfio_ap")
    tree.mdev_parent(matrix)
    tree.mdev_type(matrix, "vfio_ap-passthrough", device_api="vfio-ap", available=65536)
    queue = "/sys/devices/ap/card05/05.0004"
    tree.device(queue, bus="ap", driver="cex4queue")
    if defined:
        tree.definition("matrix", UUID, "vfio_ap-passthrough")
    assert codes(examined(tree)) == [(severity, "queues-reserved", "ap_matrix")]
    tree.kernel_link(f"{queue}/driver", "/sys/bus/ap/drivers/vfio_ap")
    assert examined(tree) == ()
