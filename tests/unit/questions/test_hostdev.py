"""hostdev: the XML that assigns a device to a guest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, get_args

import msgspec
import pytest

from nodedevd.errors import DoesNotFit, InvalidParameter, NoSuchDevice, NotAssignable
from nodedevd.host.assignment import read_assignment_facts
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.pci import Pci
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.hostdev.answer import hostdev
from nodedevd.questions.hostdev.facts import HostDevFacts
from nodedevd.questions.hostdev.refusal import NotAssignableReason
from nodedevd.questions.hostdev.request import (
    MODELS,
    HostDev,
    HostDevRequest,
    parse_address,
    parse_new_mdev,
)
from nodedevd.tree.read import scan
from tests.support.golden import Golden
from tests.support.hostdev_cases import (
    ACCEPTED,
    CCW,
    CRYPTO,
    DASD,
    DEVICES,
    FUNCTION,
    MBOCHS,
    PCI,
    VGPU,
    combinations,
    label,
    on,
)
from tests.support.hosts import snapshot_of
from tests.support.running import REPOSITORY
from tests.support.trees import Tree
from tests.support.xml import attributes, find, parse

UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
NAME = "mdev_27b42a51_9f6b_4c0b_8f5f_4f3a1d0e8c01"
OTHER = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c02"


def here(name: str = UUID, *, machine: str = "x86_64", **options: Any) -> HostDev:
    """Assign a device of the host that the test has built."""
    sysroot = Sysroot()
    facts = HostDevFacts(machine=machine, host=read_assignment_facts(sysroot))
    return hostdev(scan(sysroot), HostDevRequest(name=name, **options), facts)


def refusal(host: str | None, name: str, **options: Any) -> NotAssignable:
    """Return the error that says why a device cannot be assigned."""
    with pytest.raises(NotAssignable) as refused:
        here(name, **options) if host is None else on(host, name, **options)
    assert refused.value.detail in str(refused.value)
    return refused.value


EVERYTHING: Mapping[str, tuple[Any, ...]] = {
    "model": (None, *MODELS),
    "managed": (None, True, False),
    "display": (None, True, False),
    "ramfb": (None, True),
    "iommufd": (None, True, False),
    "boot_order": (None, 1),
    "address": (None, PCI, CCW),
}


@pytest.mark.parametrize("host", sorted({host for host, _, _ in DEVICES}))
def test_assigned_devices_of_a_host_have_their_golden_xml(host: str, golden: Golden) -> None:
    """Every combination of options but iommufd, with its notes, equals the reviewed text."""
    text = ""
    for case in ACCEPTED:
        options = dict(case[2])
        shown = "model" not in options and ("iommufd" not in options or len(options) == 1)
        if case[0] == host and shown:
            found = on(host, case[1], **dict(case[2]))
            notes = "".join(f"note: {note}\n" for note in found.notes)
            text += f"$ nodedevctl hostdev {label(case)}\n{notes}{found.xml}\n"
    golden.check(f"{host}/hostdev.txt", text)


@pytest.mark.parametrize("device", DEVICES[:3], ids=str)
def test_model_that_is_the_device_api_changes_nothing(device: tuple[str, str, str]) -> None:
    """It is only a check; the XML has this model anyway."""
    host, name, model = device
    assert on(host, name, model=model) == on(host, name)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_ramfb_false_is_the_default(device: tuple[str, str, str | None]) -> None:
    """A client may pass false for any device."""
    assert on(*device[:2], ramfb=False) == on(*device[:2])


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_combination_that_is_not_accepted_is_refused(device: tuple[str, str, str | None]) -> None:
    """Of all values of all options, exactly the accepted combinations pass."""
    host, name, _ = device
    fits = {options for one, other, options in ACCEPTED if (one, other) == (host, name)}
    found = set()
    for options in combinations(**EVERYTHING):
        misfit = None
        try:
            on(host, name, **options)
        except DoesNotFit as error:
            misfit = error.parameter
        if misfit is None:
            found.add(tuple(sorted(options.items())))
        else:
            assert misfit in options
    assert found == fits


# -- names and addresses -----------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        MBOCHS[1],
        MBOCHS[1].upper(),
        f"mdev_{MBOCHS[1]}",
        "mdev_b1ae8bf6_38b0_4c81_9d44_78ce3f520013",
        "mdev_b1ae8bf6_38b0_4c81_9d44_78ce3f520013_mbochs",
        f"/sys/bus/mdev/devices/{MBOCHS[1]}",
        f"/sys/devices/virtual/mbochs/mbochs/{MBOCHS[1]}",
    ],
)
def test_mdev_goes_by_any_of_its_names(name: str) -> None:
    """For every form of its name, the XML has its UUID."""
    found = on("samples", name)
    assert (found.type, found.model) == ("mdev", "vfio-pci")
    assert find(parse(found.xml), "source/address").get("uuid") == MBOCHS[1]


@pytest.mark.parametrize("name", ["3b:00.5", "0000:3b:00.5", "pci_0000_3b_00_5"])
def test_pci_function_goes_by_any_of_its_names(name: str) -> None:
    """For every form of its name, the XML has its address."""
    found = on("vdpa-smartnic", name)
    assert (found.type, found.model) == ("pci", None)
    assert attributes(find(parse(found.xml), "source/address")) == {
        "domain": "0x0000",
        "bus": "0x3b",
        "slot": "0x00",
        "function": "0x5",
    }


def test_unknown_device_is_no_such_device() -> None:
    """The error has the nearest names."""
    with pytest.raises(NoSuchDevice) as missing:
        on("vdpa-smartnic", "0000:3b:00.6")
    assert "pci_0000_3b_00_5" in missing.value.nearest


@pytest.mark.parametrize(
    "text",
    [
        *("", "pci", "pci:", "0000:05:00.0", "pci:fe.0.0001", "pci:0000:05:20.0", "usb:1:2"),
        *("ccw:0000:05:00.0", "ccw:ff.0.0001", "ccw:fe.4.0001", "ccw:fe.0.1"),
        *("pci:0000:00:00.0", "pci:00:00.7"),
    ],
)
def test_address_that_is_none_is_an_invalid_parameter(text: str) -> None:
    """So is slot 0 of bus 0, which libvirt takes for no address."""
    with pytest.raises(InvalidParameter) as invalid:
        on(*MBOCHS[:2], address=text)
    assert invalid.value.parameter == "address"


def test_address_is_read_in_either_case() -> None:
    """The kernel and lspci write lower case, users may not."""
    assert parse_address("pci:0A:1F.7") == parse_address("pci:0000:0a:1f.7")
    assert parse_address("ccw:FE.0.00AB") == parse_address("ccw:fe.0.00ab")


# -- what cannot be handed over ----------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "name", "reason", "detail"),
    [
        ("samples", "b1ae8bf6-38b0-4c81-9d44-78ce3f520014", "inactive", "nodedevctl start b1ae8b"),
        ("samples", "b1ae8bf6-38b0-4c81-9d44-78ce3f520015", "inactive", "does not offer the type"),
        (
            "vgpu-sriov",
            "d9e0f3a6-1b4c-4d72-8c38-5e6b9a0f2d04",
            "inactive",
            "is not present: load its driver",
        ),
        ("broken", "aaaaaaaa-0000-4000-8000-000000000001", "incomplete", "nodedevctl wait"),
        ("broken", "aaaaaaaa-0000-4000-8000-000000000004", "removing", "create another one"),
        ("broken", "mdev_not_a_uuid", "no-address", "by its UUID"),
        ("broken", "pci_pci_thing", "no-address", "no PCI address"),
        ("vgpu-pf", "pci_0000_00_02_0", "bridge", "devices behind it"),
        ("igpu-gvtg", "0000:00:00.0", "bridge", "devices behind it"),
        ("vgpu-sriov", "0000:08:00.0", "vfs-enabled", "08:00.4, 0000:08:00.5, 0000:08:00.6 and 13"),
        ("vgpu-pf", "0000:02:00.0", "mdevs-active", "nodedevctl remove 5d4d1f0c-6d5b-45d5-9a64"),
        ("laptop-usb-wifi", "00:14.3", "no-iommu-group", "the IOMMU is off"),
        ("vdpa-smartnic", "vdpa_vdpa0", "kind", "behind it is pci_0000_3b_00_2"),
        ("laptop-usb-wifi", "usb_1_1_4", "kind", "behind it is pci_0000_00_14_0"),
        ("nvme-native-multipath", "block_nvme8n1", "kind", "is pci_0000_b0_00_0, pci_0000_b1_00_0"),
        ("server-storage-fc", "block_sr2", "kind", "behind it is pci_0000_00_17_0"),
        ("vgpu-vendor-vfio", "0000:26:00.0", "vfs-enabled", "nodedevctl vfs pci_0000_26_00_0 0"),
        ("vgpu-vendor-vfio", "0000:26:00.7", "no-profile", "create 1145 pci_0000_26_00_7"),
        ("s390x-ap-ccw", "ap_matrix", "kind", "nodedevctl create vfio_ap-passthrough ap_matrix"),
        ("s390x-ap-ccw", "css_0_0_0001", "kind", "neither a PCI function nor an mdev"),
        ("samples", "computer", "kind", "neither a PCI function nor an mdev"),
    ],
)
def test_device_that_cannot_be_assigned_says_why(
    host: str, name: str, reason: str, detail: str
) -> None:
    """The error has a reason for programs, and a sentence with the remedy."""
    error = refusal(host, name)
    assert (error.code, error.reason) == ("not-assignable", reason)
    assert error.name == snapshot_of(host).lookup(name).name
    assert detail in error.detail


def test_protocol_documents_every_reason() -> None:
    """The table has every reason, and no other."""
    text = (REPOSITORY / "docs" / "protocol.md").read_text(encoding="utf-8")
    section = text.partition("### HostDev\n")[2].partition("\n### ")[0]
    rows = section.partition("| reason | |\n| --- | --- |\n")[2].partition("\n\n")[0]
    words = re.findall("`([a-z-]+)`", " ".join(row.split("|")[1] for row in rows.splitlines()))
    assert sorted(words) == sorted(get_args(NotAssignableReason))


def test_definition_without_capacity_says_so() -> None:
    """The error has the command, and what it needs first."""
    error = refusal("vgpu-sriov", "mdev_c3d7b1e4_8f2a_4e60_9b15_7a4c2d1e5f03_c12a2c15")
    assert "its parent pci_0000_08_00_6 has no free instance of its type" in error.detail
    assert (
        "nodedevctl start c3d7b1e4-8f2a-4e60-9b15-7a4c2d1e5f03 --parent 0000:08:00.6"
        in error.detail
    )


@pytest.fixture
def card(tree: Tree) -> str:
    """Return a PCI function in an IOMMU group that offers one type."""
    path = tree.pci(
        "0000:00:02.0",
        vendor=0x10DE,
        device=0x25B6,
        class_=0x030200,
        driver="nvidia",
        iommu_group=1,
    )
    tree.mdev_type(path, "nvidia-746", name="NVIDIA A2-4Q")
    return tree.mdev_parent(path)


def test_mdev_without_a_driver_cannot_be_assigned(tree: Tree, card: str) -> None:
    """No driver would serve the guest."""
    tree.mdev(card, UUID, "nvidia-746")
    assert refusal(None, UUID).reason == "no-driver"


def test_mdev_without_a_group_is_assigned_with_a_note(tree: Tree, card: str) -> None:
    """Libvirt needs the group, the kernel does not."""
    tree.mdev(card, UUID, "nvidia-746", driver="nvidia", vfio=0)
    assert "CONFIG_VFIO_GROUP" in here().notes[0]


def test_mdev_with_a_group_that_cannot_be_read_is_assigned_with_a_note(
    tree: Tree, card: str
) -> None:
    """An unknown group is not a missing group."""
    path = tree.mdev(card, UUID, "nvidia-746", driver="nvidia")
    tree.kernel_link(f"{path}/iommu_group", "/sys/kernel/iommu_groups/odd")
    assert here().notes == ("its VFIO group cannot be read",)


def test_unknown_device_api_asks_for_the_model(tree: Tree, card: str) -> None:
    """For an existing mdev it is not guessed; the user may give it."""
    tree.mdev_type(card, "nvidia-747", device_api=None)
    tree.mdev(card, UUID, "nvidia-747", driver="nvidia", iommu_group=2)
    error = refusal(None, UUID)
    assert error.reason == "api-unknown"
    assert "--model" in error.detail
    found = here(model="vfio-pci")
    assert found.model == "vfio-pci"
    assert found.notes == ("its device_api cannot be read: the model vfio-pci is not checked",)


@pytest.mark.parametrize("api", ["vfio-platform", "vfio-amba", "vfio-odd"])
@pytest.mark.parametrize("model", [None, "vfio-pci"])
def test_device_api_without_a_model_cannot_be_assigned(
    tree: Tree, card: str, api: str, model: Any
) -> None:
    """Libvirt has no model for it, so no option helps."""
    tree.mdev_type(card, "odd-1", device_api=api)
    tree.mdev(card, UUID, "odd-1", driver="odd", iommu_group=2)
    error = refusal(None, UUID, model=model)
    assert error.reason == "api-unsupported"
    assert f"{api!r}, but libvirt supports only vfio-pci, vfio-ccw, vfio-ap" in error.detail


def test_model_that_is_not_the_device_api_does_not_fit(tree: Tree, card: str) -> None:
    """The error names the device_api."""
    tree.mdev(card, UUID, "nvidia-746", driver="nvidia", iommu_group=2)
    with pytest.raises(DoesNotFit) as misfit:
        here(model="vfio-ccw")
    assert misfit.value.code == "does-not-fit"
    assert str(misfit.value) == (
        f"model does not fit {NAME}: its device_api is vfio-pci; omit the model"
    )


def test_bridge_is_recognised_by_its_header_alone(tree: Tree) -> None:
    """Its class may be another one."""
    tree.pci(
        "0000:00:03.0",
        vendor=0x8086,
        device=0x1,
        class_=0x088000,
        iommu_group=1,
        config=bytes(0x0E) + b"\x01" + bytes(64 - 0x0F),
    )
    assert refusal(None, "00:03.0").reason == "bridge"


def test_function_that_the_iommu_does_not_cover_differs_from_no_iommu(
    tree: Tree, card: str
) -> None:
    """Other devices of the host are in groups."""
    tree.pci("0000:00:03.0", vendor=0x8086, device=0x1, class_=0x020000)
    error = refusal(None, "00:03.0")
    assert error.reason == "no-iommu-group"
    assert "the IOMMU does not cover it" in error.detail


@pytest.mark.parametrize(
    ("name", "options", "parameter", "detail"),
    [
        (MBOCHS, {"managed": True}, "managed", "but not mdevs"),
        (MBOCHS, {"ramfb": True}, "ramfb", "add --display on"),
        (MBOCHS, {"ramfb": True, "display": False}, "ramfb", "add --display on"),
        (MBOCHS, {"boot_order": 1}, "boot_order", "cannot boot from it"),
        (MBOCHS, {"address": CCW}, "address", "give an address pci:…"),
        (DASD, {"model": "vfio-pci"}, "model", "its device_api is vfio-ccw"),
        (DASD, {"display": True}, "display", "it is an mdev of vfio-ccw"),
        (DASD, {"address": PCI}, "address", "give an address ccw:…"),
        (CRYPTO, {"display": False}, "display", "it is an mdev of vfio-ap"),
        (CRYPTO, {"ramfb": True}, "ramfb", "it is an mdev of vfio-ap"),
        (CRYPTO, {"boot_order": 1}, "boot_order", "cannot boot from it"),
        (CRYPTO, {"address": CCW}, "address", "has no address in a guest"),
        (FUNCTION, {"model": "vfio-pci"}, "model", "only mdevs have a model"),
        (FUNCTION, {"display": True}, "display", "it is a PCI function"),
        (FUNCTION, {"ramfb": True}, "ramfb", "it is a PCI function"),
        (FUNCTION, {"address": CCW}, "address", "give an address pci:…"),
        (FUNCTION, {"display": False}, "display", "only vGPUs have a display"),
        (MBOCHS, {"iommufd": True}, "iommufd", "but not for mdevs"),
        (DASD, {"iommufd": False}, "iommufd", "but not for mdevs"),
        (VGPU, {"ramfb": True}, "ramfb", "add --display on"),
        (VGPU, {"managed": True}, "managed", "must stay with its driver nvidia"),
        (VGPU, {"model": "vfio-pci"}, "model", "only mdevs have a model"),
    ],
)
def test_option_that_does_not_fit_is_named(
    name: tuple[str, str, str | None], options: dict[str, Any], parameter: str, detail: str
) -> None:
    """The error says what the device is, or which option is missing."""
    with pytest.raises(DoesNotFit) as misfit:
        on(*name[:2], **options)
    assert misfit.value.parameter == parameter
    assert detail in misfit.value.detail


# -- notes -------------------------------------------------------------------------------


def test_group_with_others_names_them() -> None:
    """All devices of a group are assigned together; those outside the tree are named, too."""
    (note, _) = on("igpu-gvtg", "0000:00:1f.6").notes
    assert note == (
        "IOMMU group 3 also has pci_0000_00_1f_0 (no driver): this guest may have them, too, but no"
        " other guest"
    )


def test_group_names_devices_outside_the_tree_but_no_bridges(tree: Tree) -> None:
    """VFIO ignores bridges; a device outside the tree is still in the group."""
    tree.pci("0000:00:03.0", vendor=1, device=1, class_=0x020000, iommu_group=7)
    tree.pci("0000:00:04.0", vendor=1, device=1, class_=0x020000, iommu_group=7, driver="e1000e")
    tree.pci(
        "0000:00:05.0",
        vendor=1,
        device=1,
        class_=0x060400,
        iommu_group=7,
        config=bytes(0x0E) + b"\x01" + bytes(64 - 0x0F),
    )
    tree.kernel_link("/sys/kernel/iommu_groups/7/devices/stranger", "/sys/devices/stranger")
    (note,) = here("00:03.0").notes
    assert note.startswith("IOMMU group 7 also has pci_0000_00_04_0 (e1000e), stranger: ")


def test_group_that_cannot_be_read_is_a_note(tree: Tree) -> None:
    """An unknown group is not a missing group."""
    path = tree.pci("0000:00:03.0", vendor=1, device=1, class_=0x020000)
    tree.kernel_link(f"{path}/iommu_group", "/sys/kernel/iommu_groups/odd")
    assert here("00:03.0").notes == (
        "its IOMMU group cannot be read: other devices of the group are unknown",
    )


def test_class_that_cannot_be_read_is_a_note() -> None:
    """It could be a bridge."""
    (device,) = [one for one in snapshot_of("vdpa-smartnic") if one.name == "pci_0000_3b_00_5"]
    pci = device.capability(Pci)
    assert pci is not None
    pci = msgspec.structs.replace(pci, class_code=None)
    device = msgspec.structs.replace(device, capabilities=(pci,))
    facts = HostDevFacts(machine="x86_64")
    found = hostdev(Snapshot([device]), HostDevRequest(name=device.name), facts)
    assert found.notes == ("its class cannot be read: whether it is a bridge is not checked",)


def test_managed_function_notes_what_the_host_loses() -> None:
    """Libvirt unbinds the driver, and the devices below it disappear."""
    note, _ = on("vdpa-smartnic", "0000:3b:00.3").notes
    assert note == (
        "libvirt unbinds it from its driver mlx5_core;"
        " the host loses net_eth1_02_00_00_00_3b_01, vdpa_vdpa1"
    )


def test_function_that_is_not_managed_notes_how_to_unbind_it() -> None:
    """A function that is bound to vfio-pci needs nothing."""
    note, _ = on("vdpa-smartnic", "0000:3b:00.3", managed=False).notes
    assert "virsh nodedev-detach pci_0000_3b_00_3; the host loses" in note
    assert on("vdpa-smartnic", "0000:3b:00.5", managed=False).notes == ()


@pytest.mark.parametrize("driver", [None, "vfio-pci", "mlx5_vfio_pci"])
def test_function_without_a_driver_of_the_host_needs_no_note(
    tree: Tree, driver: str | None
) -> None:
    """It has no driver, or one of the VFIO drivers."""
    tree.pci("0000:00:03.0", vendor=1, device=1, class_=0x020000, iommu_group=7, driver=driver)
    assert here("00:03.0").notes == here("00:03.0", managed=False).notes == ()


def test_parent_of_mdevs_has_a_note(tree: Tree, card: str) -> None:
    """While it is in a guest, the host cannot divide it."""
    assert "it is an mdev parent" in here("00:02.0").notes[0]


# -- a vGPU without an mdev --------------------------------------------------------------


def test_function_with_a_profile_keeps_its_driver() -> None:
    """It is bound to VFIO already, so libvirt must not bind it."""
    found = on("vgpu-two-generations", "0000:26:00.7")
    assert parse(found.xml).get("managed") == "no"
    assert found.notes == ("its vGPU profile is 1152, NVIDIA L40S-8Q",)
    assert on("vgpu-two-generations", "0000:26:00.7", managed=False) == found


@pytest.mark.parametrize(
    ("creatable", "detail"),
    [
        (
            "ID    : vGPU Name\n1148  : NVIDIA L40S-2Q\n",
            "for example NVIDIA L40S-2Q: nodedevctl create 1148 pci_0000_00_03_4",
        ),
        ("ID    : vGPU Name\n", "none fits now; `nodedevctl fits` shows"),
        (None, "set one: nodedevctl create TYPE pci_0000_00_03_4"),
    ],
)
def test_function_without_a_profile_has_the_command(
    tree: Tree, creatable: str | None, detail: str
) -> None:
    """The error also names a profile, if one can be read."""
    path = tree.pci(
        "0000:00:03.4", vendor=0x10DE, device=1, class_=0x030200, driver="nvidia", iommu_group=3
    )
    tree.file(f"{path}/nvidia/current_vgpu_type", "0\n")
    if creatable is not None:
        tree.file(f"{path}/nvidia/creatable_vgpu_types", creatable)
    error = refusal(None, "00:03.4")
    assert error.reason == "no-profile"
    assert detail in error.detail


def test_profile_that_cannot_be_read_is_a_note(tree: Tree) -> None:
    """An unknown profile is not a missing profile; the function keeps its driver."""
    path = tree.pci(
        "0000:00:03.4", vendor=0x10DE, device=1, class_=0x030200, driver="nvidia", iommu_group=3
    )
    tree.file(f"{path}/nvidia/current_vgpu_type", "odd\n")
    found = here("00:03.4")
    assert parse(found.xml).get("managed") == "no"
    assert found.notes == ("its vGPU profile cannot be read: whether one is set is not checked",)


# -- an mdev that is not created yet -----------------------------------------------------


@pytest.mark.parametrize(
    ("host", "options", "model", "note"),
    [
        ("samples", {"type": "mtty-1"}, "vfio-pci", None),
        ("samples", {"type": "Single port serial"}, "vfio-pci", None),
        ("samples", {"type": "single_port-serial"}, "vfio-pci", None),
        ("samples", {"type": "mtty-1", "model": "vfio-pci"}, "vfio-pci", None),
        ("samples", {"model": "vfio-ap"}, "vfio-ap", None),
        ("s390x-ap-ccw", {"type": "vfio_ap-passthrough"}, "vfio-ap", None),
        ("s390x-ap-ccw", {"type": "vfio_ccw-io", "arch": "x86_64"}, "vfio-ccw", None),
        (
            "vgpu-vendor-vfio",
            {"type": "L40S-2Q", "model": "vfio-pci"},
            "vfio-pci",
            "without an mdev",
        ),
        ("vgpu-two-generations", {"type": "P40-8C"}, "vfio-pci", None),
        (
            "samples",
            {"type": "odd-1", "model": "vfio-ccw"},
            "vfio-ccw",
            "no parent on this host offers",
        ),
        ("samples", {}, "vfio-pci", "the architecture x86_64 of this host; give --type or --model"),
        (
            "samples",
            {"arch": "s390x"},
            "vfio-ccw",
            "the architecture s390x; give --type or --model",
        ),
        (
            "samples",
            {"arch": "aarch64"},
            "vfio-pci",
            "the architecture aarch64; give --type or --model",
        ),
    ],
)
def test_model_of_a_new_mdev_is_found(
    host: str, options: dict[str, Any], model: str, note: str | None
) -> None:
    """It comes from the options, the offered type, or the architecture."""
    found = on(host, UUID.upper(), not_created=True, **options)
    assert (found.type, found.model) == ("mdev", model)
    assert find(parse(found.xml), "source/address").get("uuid") == UUID
    said = [one for one in found.notes if not one.startswith("a domain takes")]
    assert said == [] if note is None else note in said[-1]


def test_guess_is_from_the_machine_it_runs_on(tree: Tree) -> None:
    """The default architecture is that of this host."""
    found = here(machine="s390x", not_created=True)
    assert found.model == "vfio-ccw"
    (note,) = found.notes
    assert note.startswith("the model vfio-ccw is a guess from the architecture s390x of this host")


def test_type_that_is_offered_as_two_apis_asks_for_the_model(tree: Tree, card: str) -> None:
    """Either of the two is accepted, a third is not."""
    other = tree.pci("0000:00:03.0", vendor=1, device=1, class_=0x020000)
    tree.mdev_type(other, "odd-1", name="NVIDIA A2-4Q", device_api="vfio-ccw")
    tree.mdev_parent(other)
    error = refusal(None, UUID, not_created=True, type="NVIDIA A2-4Q")
    assert error.reason == "api-unknown"
    assert (
        "this host offers the type 'NVIDIA A2-4Q' as vfio-ccw, vfio-pci; choose with --model"
        in error.detail
    )
    asked: dict[str, Any] = {"not_created": True, "type": "NVIDIA A2-4Q"}
    assert here(model="vfio-ccw", **asked).model == "vfio-ccw"
    with pytest.raises(DoesNotFit, match="as vfio-ccw, vfio-pci"):
        here(model="vfio-ap", **asked)


def test_type_that_is_offered_as_another_api_does_not_fit() -> None:
    """The type of the host decides."""
    with pytest.raises(DoesNotFit, match="its device_api is vfio-pci"):
        on("samples", UUID, not_created=True, type="mtty-1", model="vfio-ccw")


def test_new_mdev_that_exists_is_refused() -> None:
    """Its XML needs no guess."""
    error = refusal("samples", MBOCHS[1], not_created=True)
    assert error.reason == "exists"
    assert "omit --not-created" in error.detail


def test_new_mdev_with_a_definition_takes_its_type() -> None:
    """A definition does not make the mdev exist."""
    found = on("vgpu-sriov", "c3d7b1e4-8f2a-4e60-9b15-7a4c2d1e5f03", not_created=True, arch="s390x")
    assert found.model == "vfio-pci"
    (note,) = found.notes
    assert note == "mdevctl has a definition of it, of type nvidia-746 on 0000:08:00.5"


@pytest.mark.parametrize("name", ["", "gpu", "0000:3b:00.5", f"mdev_{UUID}_parent", UUID[:-1]])
def test_new_mdev_without_a_uuid_is_an_invalid_parameter(name: str) -> None:
    """Only the UUID identifies a device that does not exist yet."""
    with pytest.raises(InvalidParameter) as invalid:
        on("samples", name, not_created=True)
    assert invalid.value.parameter == "name"


def test_uuid_of_a_new_mdev_may_have_its_prefix() -> None:
    """That is the name of the future device."""
    assert parse_new_mdev(NAME) == parse_new_mdev(f"mdev_{UUID}") == UUID


@pytest.mark.parametrize("parameter", ["type", "arch"])
def test_type_and_arch_of_an_existing_mdev_are_invalid(parameter: str) -> None:
    """Both are read from the host."""
    with pytest.raises(InvalidParameter) as invalid:
        on("samples", MBOCHS[1], **{parameter: "x86_64"})
    assert invalid.value.parameter == parameter


@pytest.mark.parametrize("host", ["broken", "samples", "vgpu-sriov", "s390x-full", "empty"])
def test_every_device_is_assigned_or_says_why(host: str) -> None:
    """No device, however broken, raises another error."""
    for device in snapshot_of(host):
        with suppress(NotAssignable):
            found = on(host, device.name)
            assert parse(found.xml).tag == "hostdev"
            assert found.xml.endswith("</hostdev>\n")
