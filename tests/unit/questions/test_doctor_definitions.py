"""doctor: definitions that cannot be started as they are, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodedevd.questions.doctor import Code, Finding, Severity
from tests.support.doctor import codes, examined
from tests.support.mdev_card import CARD, MDEV, NVIDIA_CARD, UUID, mdev_card
from tests.support.trees import Tree

OTHER = "83c32df7-d52e-4ec1-9668-1f3c7e4df107"
VF = "0000:3b:00.4"
UNDEFINE = f"mdevctl undefine -u {UUID} -p"


@pytest.fixture
def card(tmp_path: Path) -> Tree:
    """Return a host with one card, which is an mdev parent with one type."""
    return mdev_card(tmp_path / "host")


def about(findings: tuple[Finding, ...], code: Code) -> Finding:
    """Return the one finding of a code."""
    (found,) = [one for one in findings if one.code == code]
    return found


# -- the parent is another device now --------------------------------------------------


@pytest.mark.parametrize(("start", "severity"), [("auto", "warning"), ("manual", "note")])
def test_definition_of_a_function_that_went_to_vendor_vfio_is_found(
    tree: Tree, start: str, severity: Severity
) -> None:
    """The host driver runs, and mdev is not wanted: the type is set on the function itself."""
    tree.pci(CARD, driver="nvidia", iommu_group=1, **NVIDIA_CARD)
    path = tree.pci(VF, driver="nvidia", iommu_group=2, **NVIDIA_CARD)
    tree.sriov(CARD, [path])
    tree.file(f"{path}/nvidia/creatable_vgpu_types", "1155 : NVIDIA L40S-8Q\n")
    tree.file(f"{path}/nvidia/current_vgpu_type", "0\n")
    tree.definition(VF, UUID, "nvidia-1155", start=start)
    found = examined(tree)
    assert codes(found) == [(severity, "definition-not-a-parent", MDEV)]
    assert "vendor VFIO" in found[0].text
    assert "nvidia/current_vgpu_type" in found[0].advice
    assert found[0].mend[0] == f"{UNDEFINE} {VF}"
    echo = f"echo 1155 > /sys/bus/pci/devices/{VF}/nvidia/current_vgpu_type"
    assert found[0].mend[1:] == ((echo,) if start == "auto" else ())


def test_number_of_a_type_that_is_not_listed_is_not_suggested(tree: Tree) -> None:
    """Another release of the driver has other numbers."""
    path = tree.pci(VF, driver="nvidia", iommu_group=2, **NVIDIA_CARD)
    tree.file(f"{path}/nvidia/creatable_vgpu_types", "1155 : NVIDIA L40S-8Q\n")
    tree.file(f"{path}/nvidia/current_vgpu_type", "0\n")
    tree.definition(VF, UUID, "nvidia-474", start="auto")
    assert about(examined(tree), "definition-not-a-parent").mend == (f"{UNDEFINE} {VF}",)


def test_definition_of_a_subchannel_that_the_host_uses_is_found(tree: Tree) -> None:
    """The remedy names the device that the host loses by it."""
    path = "/sys/devices/css0/0.0.0314"
    tree.device(
        path,
        bus="css",
        driver="io_subchannel",
        attributes={"type": 0, "dev_busid": "0.0.2b0a"},
    )
    tree.directory("/sys/bus/mdev")
    tree.definition("0.0.0314", UUID, "vfio_ccw-io", start="auto")
    found = examined(tree)
    assert codes(found) == [("warning", "definition-not-a-parent", MDEV)]
    assert "bound to io_subchannel, not to vfio_ccw" in found[0].text
    assert "0.0.2b0a" in found[0].advice
    assert "driverctl -b css set-override 0.0.0314 vfio_ccw" in found[0].mend


@pytest.mark.parametrize(("kind", "driver"), [(1, "chsc_subchannel"), (3, "eadm_subchannel")])
def test_definition_of_another_kind_of_subchannel_is_found(
    tree: Tree, kind: int, driver: str
) -> None:
    """vfio_ccw takes I/O subchannels alone."""
    tree.device("/sys/devices/css0/0.0.0314", bus="css", driver=driver, attributes={"type": kind})
    tree.definition("0.0.0314", UUID, "vfio_ccw-io")
    found = about(examined(tree), "definition-not-a-parent")
    assert found.mend == (f"{UNDEFINE} 0.0.0314",)


@pytest.mark.parametrize(
    ("driver", "total", "modules", "text", "command"),
    [
        ("vfio-pci", 0, (), "bound to vfio-pci, not to nvidia", "drivers_probe"),
        ("nvidia", 32, (), "virtual functions take the vGPUs", "sriov-manage -e"),
        ("nvidia", 0, (), "its driver offers no vGPUs", UNDEFINE),
        ("nvidia", 0, ("nvidia_vgpu_vfio",), "although the vGPU host driver", "nvidia-vgpu-mgr"),
    ],
)
def test_definition_of_a_card_that_is_no_parent_is_found(
    tree: Tree, driver: str, total: int, modules: tuple[str, ...], text: str, command: str
) -> None:
    """By its driver, its virtual functions, and whether the host driver is loaded."""
    tree.pci(CARD, driver=driver, iommu_group=1, **NVIDIA_CARD)
    if total:
        tree.sriov(CARD, total=total)
    for module in modules:
        tree.directory(f"/sys/module/{module}")
    tree.definition(CARD, UUID, "nvidia-46")
    found = about(examined(tree), "definition-not-a-parent")
    assert found.severity == "note"
    assert text in found.text
    assert any(command in one for one in found.mend)


def test_definition_of_a_gpu_without_gvt_is_found(tree: Tree) -> None:
    """It names the parameter and the module."""
    tree.pci("0000:00:02.0", vendor=0x8086, device=1, class_=0x030000, driver="i915", iommu_group=1)
    tree.definition("0000:00:02.0", UUID, "i915-GVTg_V5_4", start="auto")
    found = examined(tree)
    assert about(found, "no-mdev").mend == ("modprobe kvmgt",)
    assert "modprobe kvmgt" in about(found, "definition-not-a-parent").mend


def test_definition_of_any_other_device_is_found(tree: Tree) -> None:
    """Nothing is known but its driver."""
    tree.pci("0000:01:00.0", vendor=0x15B3, device=1, class_=0x020000, iommu_group=1)
    tree.definition("0000:01:00.0", UUID, "mtty-1")
    found = about(examined(tree), "definition-not-a-parent")
    assert "bound to no driver, and offers no types" in found.text


# -- the parent is absent --------------------------------------------------------------


def test_parent_that_would_be_a_virtual_function_is_explained_by_its_card(tree: Tree) -> None:
    """The card is present, and has its virtual functions switched off."""
    tree.pci(CARD, driver="nvidia", iommu_group=1, **NVIDIA_CARD)
    tree.sriov(CARD, total=16)
    tree.directory("/sys/module/mdev")
    tree.definition(VF, UUID, "nvidia-474", start="auto")
    found = about(examined(tree), "definition-without-parent")
    assert f"the card {CARD} has virtual functions, and none is enabled" in found.text
    assert found.mend == (f"/usr/lib/nvidia/sriov-manage -e {CARD}",)


def test_definition_in_a_directory_with_the_name_of_a_node_device_is_explained(card: Tree) -> None:
    """Mdevctl goes by kernel names, libvirt's names are not understood."""
    card.definition("pci_0000_3b_00_0", UUID, "nvidia-1")
    found = about(examined(card), "definition-without-parent")
    assert f"the name of the device {CARD}, not its kernel name" in found.text
    assert found.mend[-1].endswith(f"/etc/mdevctl.d/{CARD}/")


def test_parents_that_offer_the_type_of_an_absent_one_are_named(card: Tree) -> None:
    """The card may have moved to another slot."""
    card.definition("0000:99:00.0", UUID, "nvidia-1", start="auto")
    found = about(examined(card), "definition-without-parent")
    assert f"the same type is offered by {CARD}" in found.text
    card.definition("0000:99:00.0", UUID, "nvidia-2", start="auto")
    assert "offered" not in about(examined(card), "definition-without-parent").text


def test_module_of_an_absent_parent_is_named(tree: Tree) -> None:
    """The id of the type says which driver offers it."""
    tree.directory("/sys/bus/mdev")
    tree.definition("matrix", UUID, "vfio_ap-passthrough", start="auto")
    found = about(examined(tree), "definition-without-parent")
    assert found.mend == ("modprobe vfio_ap", f"{UNDEFINE} matrix")


def test_hostile_name_of_a_parent_is_quoted(tree: Tree) -> None:
    """A command that is pasted does what it says."""
    tree.directory("/sys/bus/mdev")
    tree.definition("x; reboot", UUID, "nvidia-1")
    assert about(examined(tree), "definition-without-parent").mend == (f"{UNDEFINE} 'x; reboot'",)


# -- mdev, where it is wanted ----------------------------------------------------------


@pytest.mark.parametrize(
    ("type_id", "module"),
    [("i915-GVTg_V5_4", "kvmgt"), ("vfio_ccw-io", "vfio_ccw"), ("unknown-1", None)],
)
def test_definition_on_a_host_without_mdev_is_found(
    tree: Tree, type_id: str, module: str | None
) -> None:
    """A definition needs mdev, but the kernel does not have it."""
    tree.definition("gone", UUID, type_id)
    found = about(examined(tree), "no-mdev")
    assert found.mend == (() if module is None else (f"modprobe {module}",))
    tree.directory("/sys/module/mdev")
    assert codes(examined(tree)) == [("note", "definition-without-parent", MDEV)]


def test_definition_for_nvidia_needs_no_mdev(tree: Tree) -> None:
    """The driver may offer vGPUs by vendor VFIO; the definition is what is wrong."""
    tree.pci(CARD, driver="nvidia", iommu_group=1, **NVIDIA_CARD)
    tree.definition(CARD, UUID, "nvidia-1")
    assert codes(examined(tree)) == [("note", "definition-not-a-parent", MDEV)]


# -- uuids -----------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "severity"), [("auto", "warning"), ("manual", "note")])
def test_definition_whose_uuid_is_active_elsewhere_is_found(
    card: Tree, start: str, severity: Severity
) -> None:
    """The kernel refuses it with EEXIST, whatever the parent."""
    card.pci("0000:af:00.0", driver="nvidia", iommu_group=7, **NVIDIA_CARD)
    card.mdev_parent("0000:af:00.0")
    card.mdev_type("0000:af:00.0", "nvidia-1")
    card.mdev(CARD, UUID, "nvidia-1", driver="nvidia", iommu_group=2)
    card.definition("0000:af:00.0", UUID, "nvidia-1", start=start)
    (found,) = examined(card)
    assert (found.severity, found.code) == (severity, "definition-uuid-in-use")
    assert f"active as {MDEV}" in found.text
    assert found.mend == (f"{UNDEFINE} 0000:af:00.0",)


@pytest.mark.parametrize(
    ("starts", "severity"), [(("auto", "auto"), "warning"), (("auto", "manual"), "note")]
)
def test_uuid_that_is_defined_twice_is_found(
    card: Tree, starts: tuple[str, str], severity: Severity
) -> None:
    """Two with autostart cannot both be started. No command removes both."""
    card.pci("0000:af:00.0", driver="nvidia", iommu_group=7, **NVIDIA_CARD)
    card.mdev_parent("0000:af:00.0")
    card.mdev_type("0000:af:00.0", "nvidia-1")
    for parent, start in zip((CARD, "0000:af:00.0"), starts, strict=True):
        card.definition(parent, UUID, "nvidia-1", start=start)
    found = [one for one in examined(card) if one.code == "definition-ambiguous"]
    assert [one.severity for one in found] == [severity, severity]
    assert all(f"{CARD} and 0000:af:00.0" in one.text for one in found)
    assert all(one.mend == () for one in found)


def test_mdev_that_runs_with_another_type_than_it_is_defined_with_is_a_note(card: Tree) -> None:
    """The definition counts when it is started the next time."""
    card.mdev_type(CARD, "nvidia-2")
    card.mdev(CARD, UUID, "nvidia-1", driver="nvidia", iommu_group=2)
    card.definition(CARD, UUID, "nvidia-1")
    assert examined(card) == ()
    card.definition(CARD, UUID, "nvidia-2")
    assert codes(examined(card)) == [("note", "definition-differs", MDEV)]


# -- files -----------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["", "{", "[]", '{"start": "auto"}', '{"mdev_type": 1}', "\0"])
def test_definition_that_is_not_what_mdevctl_reads_is_a_problem(card: Tree, content: str) -> None:
    """Every command of mdevctl fails for it, whichever definition is meant."""
    card.mdev(CARD, UUID, "nvidia-1", driver="nvidia", iommu_group=2)
    for uuid in (UUID, OTHER):
        card.file(f"/etc/mdevctl.d/{CARD}/{uuid}", content)
    found = examined(card)
    assert {(one.severity, one.code) for one in found} == {("problem", "definition-unreadable")}
    assert [one.mend for one in found] == [
        (f"mv {path} {path}.broken",)
        for path in (f"/etc/mdevctl.d/{CARD}/{UUID}", f"/etc/mdevctl.d/{CARD}/{OTHER}")
    ]
    assert all("all other commands" in one.text for one in found)


def test_definition_with_a_uuid_in_upper_case_is_found(card: Tree) -> None:
    """Mdevctl writes them in lower case, and looks for those."""
    card.file(f"/etc/mdevctl.d/{CARD}/{OTHER.upper()}", "{}")
    assert codes(examined(card)) == [("warning", "definition-unreadable", None)]
