"""hostdev: the XML that hands a device to a guest, and what libvirt says to it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from itertools import product
from typing import Any, get_args

import msgspec
import pytest
from lxml import etree

from nodedevd.errors import DoesNotFit, InvalidParameter, NoSuchDevice, NotAssignable
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.pci import Pci
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.hostdev import (
    MODELS,
    HostDev,
    HostDevRequest,
    NotAssignableReason,
    hostdev,
    parse_address,
    parse_planned,
)
from nodedevd.tree.read import scan
from tests.support import domains
from tests.support.domains import HAS_QEMU_DRIVER, SCHEMA, VIRSH, hostdev_of
from tests.support.golden import Golden
from tests.support.hosts import FIXTURES
from tests.support.running import REPOSITORY
from tests.support.trees import Tree
from tests.support.xml import attributes, find, parse

UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
NAME = "mdev_27b42a51_9f6b_4c0b_8f5f_4f3a1d0e8c01"
OTHER = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c02"
PCI = "pci:0000:05:00.0"
CCW = "ccw:fe.0.0001"

MBOCHS = ("samples", "b1ae8bf6-38b0-4c81-9d44-78ce3f520013", "vfio-pci")
DASD = ("s390x-ap-ccw", "d8a5e2f1-0c7b-4d36-8e19-5f2a7b6c3d03", "vfio-ccw")
CRYPTO = ("s390x-ap-ccw", "6b8a0c39-7b3f-4a0e-b9b6-2f3f1c9d0a01", "vfio-ap")
FUNCTION = ("vdpa-smartnic", "0000:3b:00.5", None)
VGPU = ("vgpu-vendor-vfio", "0000:26:00.4", None)
DEVICES = (MBOCHS, DASD, CRYPTO, FUNCTION, VGPU)


@cache
def snapshot_of(host: str) -> Snapshot:
    """Scan a recorded host."""
    return scan(Sysroot(str(FIXTURES / host)))


@cache
def schema() -> etree.RelaxNG:
    """Return libvirt's schema of domains."""
    return etree.RelaxNG(etree.parse(str(SCHEMA)))


def on(host: str, name: str, **options: Any) -> HostDev:
    """Hand over a device of a recorded host."""
    return hostdev(snapshot_of(host), HostDevRequest(name=name, **options), machine="x86_64")


def here(name: str = UUID, *, machine: str = "x86_64", **options: Any) -> HostDev:
    """Hand over a device of the host that a test has built."""
    return hostdev(scan(Sysroot()), HostDevRequest(name=name, **options), machine=machine)


def refusal(host: str | None, name: str, **options: Any) -> NotAssignable:
    """Return the error that says why a device cannot be handed over."""
    with pytest.raises(NotAssignable) as refused:
        here(name, **options) if host is None else on(host, name, **options)
    assert refused.value.detail in str(refused.value)
    return refused.value


# -- every combination -------------------------------------------------------------------

Case = tuple[str, str, tuple[tuple[str, Any], ...]]


def combinations(**options: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    """Return every choice of values; None is left out."""
    for values in product(*options.values()):
        chosen = dict(zip(options, values, strict=True))
        yield {name: value for name, value in chosen.items() if value is not None}


def accepted() -> Iterator[Case]:
    """Return all that can be asked of each kind of device."""
    for host, name, model in DEVICES:
        options: dict[str, tuple[Any, ...]] = {"model": (None, model)}
        if model is None:
            options |= {"managed": (None, False) if host == VGPU[0] else (None, True, False)}
        if model in (None, "vfio-pci"):
            options |= {"address": (None, PCI)}
        if model == "vfio-ccw":
            options |= {"address": (None, CCW)}
        if model in (None, "vfio-ccw"):
            options |= {"boot_order": (None, 1)}
        if model != "vfio-pci":
            chosen = list(combinations(**options))
        else:
            shown = [{}, {"display": False}, {"display": True}, {"display": True, "ramfb": True}]
            chosen = [{**one, **other} for one in combinations(**options) for other in shown]
        for one in {tuple(sorted(one.items())) for one in chosen}:
            yield host, name, one


ACCEPTED = sorted(accepted(), key=str)
EVERYTHING: Mapping[str, tuple[Any, ...]] = {
    "model": (None, *MODELS),
    "managed": (None, True, False),
    "display": (None, True, False),
    "ramfb": (None, True),
    "boot_order": (None, 1),
    "address": (None, PCI, CCW),
}


def label(case: Case) -> str:
    """Return a case as its command line."""
    _, name, options = case
    words = [name]
    for option, value in options:
        text = {True: "on", False: "off"}.get(value, str(value)) if option == "display" else value
        if option == "managed":
            text = "yes" if value else "no"
        flag = f"--{option.replace('_', '-')}"
        words.append(flag if option == "ramfb" else f"{flag} {text}")
    return " ".join(words)


def xml_of(case: Case) -> str:
    """Return the XML of a case."""
    host, name, options = case
    return on(host, name, **dict(options)).xml


@pytest.mark.parametrize("host", sorted({host for host, _, _ in DEVICES}))
def test_devices_of_host_handed_over_give_their_golden_xml(host: str, golden: Golden) -> None:
    """Every combination of options, with its notes, is the text that was read by a person."""
    text = ""
    for case in ACCEPTED:
        if case[0] == host and "model" not in dict(case[2]):
            found = on(host, case[1], **dict(case[2]))
            notes = "".join(f"note: {note}\n" for note in found.notes)
            text += f"$ nodedevctl hostdev {label(case)}\n{notes}{found.xml}\n"
    golden.check(f"{host}/hostdev.txt", text)


@pytest.mark.parametrize("device", DEVICES[:3], ids=str)
def test_model_that_is_the_device_api_changes_nothing(device: tuple[str, str, str]) -> None:
    """It is a check; the XML has it anyway."""
    host, name, model = device
    assert on(host, name, model=model) == on(host, name)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_no_ramfb_is_what_there_is_anyway(device: tuple[str, str, str | None]) -> None:
    """A client may say so of any device."""
    assert on(*device[:2], ramfb=False) == on(*device[:2])


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_combination_that_is_not_accepted_is_refused(device: tuple[str, str, str | None]) -> None:
    """All values of all options, with each other: what does not fit is never let through."""
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


@pytest.mark.skipif(not SCHEMA.exists(), reason="needs Debian's package libvirt0")
@pytest.mark.parametrize("case", ACCEPTED, ids=label)
def test_libvirts_schema_takes_the_device(case: Case) -> None:
    """Inside of a minimal domain."""
    schema().assertValid(parse(domains.domain("guest", xml_of(case), kind="kvm")))


@pytest.mark.skipif(not SCHEMA.exists(), reason="needs Debian's package libvirt0")
def test_libvirts_schema_refuses_what_is_no_device() -> None:
    """A schema that takes everything would tell nothing."""
    text = domains.domain("guest", on(*MBOCHS[:2]).xml, kind="kvm")
    assert schema().validate(parse(text))
    assert not schema().validate(parse(text.replace("<source>", "<source><odd/>")))
    assert not schema().validate(parse(text.replace("vfio-pci", "vfio-platform")))


def same(one: etree._Element, other: etree._Element) -> bool:
    """Tell whether two elements are the same, but for white space and order of attributes."""
    return (
        (one.tag, attributes(one), (one.text or "").strip())
        == (other.tag, attributes(other), (other.text or "").strip())
        and len(one) == len(other)
        and all(map(same, one, other))
    )


@pytest.fixture(scope="module")
def defined() -> dict[str, str]:
    """Return what libvirt's test driver makes of all cases."""
    return domains.defined({label(case): xml_of(case) for case in ACCEPTED})


@pytest.mark.skipif(VIRSH is None, reason="virsh is not installed")
@pytest.mark.parametrize("case", ACCEPTED, ids=label)
def test_virsh_defines_a_domain_with_the_device(case: Case, defined: dict[str, str]) -> None:
    """And the domain has it as it was written."""
    assert same(hostdev_of(defined[label(case)]), parse(xml_of(case)))


PLAIN = [case for case in ACCEPTED if case[0] != "s390x-ap-ccw"]


@pytest.fixture(scope="module")
def defined_by_qemu() -> dict[str, str]:
    """Return what libvirt's QEMU driver makes of the cases of an x86_64 guest."""
    return domains.defined({label(case): xml_of(case) for case in PLAIN}, kind="qemu")


@pytest.mark.skipif(not HAS_QEMU_DRIVER, reason="needs Debian's package qemu-system-x86")
@pytest.mark.parametrize("case", PLAIN, ids=label)
def test_qemu_driver_defines_a_domain_with_the_device(
    case: Case, defined_by_qemu: dict[str, str]
) -> None:
    """It, too, has what was written; it adds an address, and that there is no display."""
    wanted, found = parse(xml_of(case)), hostdev_of(defined_by_qemu[label(case)])
    assert attributes(wanted).items() <= attributes(found).items()
    for element in wanted:
        assert same(find(found, str(element.tag)), element)


@pytest.mark.skipif(not HAS_QEMU_DRIVER, reason="needs Debian's package qemu-system-x86")
def test_qemu_driver_boots_from_no_mdev_of_vfio_pci() -> None:
    """So hostdev refuses what the schema and the test driver take."""
    text = on(*MBOCHS[:2]).xml.replace("</source>\n", "</source>\n<boot order='1'/>\n")
    assert "booting from assigned devices" in domains.defined({"boot": text}, kind="qemu")["boot"]
    with pytest.raises(DoesNotFit, match="boots from no such mdev"):
        on(*MBOCHS[:2], boot_order=1)


@pytest.mark.skipif(VIRSH is None, reason="virsh is not installed")
@pytest.mark.parametrize(("device", "address"), [(MBOCHS, CCW), (DASD, PCI), (FUNCTION, CCW)])
def test_address_of_another_bus_is_refused_by_libvirt_as_by_hostdev(
    device: tuple[str, str, str | None], address: str
) -> None:
    """The error comes before the domain is written."""
    host, name, _ = device
    with pytest.raises(DoesNotFit, match="in a guest its address is"):
        on(host, name, address=address)
    element = "<address type='ccw' cssid='0xfe' ssid='0x0' devno='0x0001'/>"
    if address == PCI:
        element = "<address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/>"
    text = on(host, name).xml.replace("</source>\n", f"</source>\n{element}\n")
    assert "error: Failed to define domain" in domains.defined({"guest": text})["guest"]


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
    """Whatever it is called, it is handed over by its uuid."""
    found = on("samples", name)
    assert (found.type, found.model) == ("mdev", "vfio-pci")
    assert find(parse(found.xml), "source/address").get("uuid") == MBOCHS[1]


@pytest.mark.parametrize("name", ["3b:00.5", "0000:3b:00.5", "pci_0000_3b_00_5"])
def test_pci_function_goes_by_any_of_its_names(name: str) -> None:
    """Whatever it is called, it is handed over by its address."""
    found = on("vdpa-smartnic", name)
    assert (found.type, found.model) == ("pci", None)
    assert attributes(find(parse(found.xml), "source/address")) == {
        "domain": "0x0000",
        "bus": "0x3b",
        "slot": "0x00",
        "function": "0x5",
    }


def test_unknown_device_is_no_such_device() -> None:
    """With the nearest names."""
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
    """So is slot 0 of bus 0, which libvirt takes for none at all."""
    with pytest.raises(InvalidParameter) as invalid:
        on(*MBOCHS[:2], address=text)
    assert invalid.value.parameter == "address"


def test_address_is_read_in_either_case() -> None:
    """As the kernel and lspci write it."""
    assert parse_address("pci:0A:1F.7") == parse_address("pci:0000:0a:1f.7")
    assert parse_address("ccw:FE.0.00AB") == parse_address("ccw:fe.0.00ab")


# -- what cannot be handed over ----------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "name", "reason", "detail"),
    [
        ("samples", "b1ae8bf6-38b0-4c81-9d44-78ce3f520014", "inactive", "mdevctl start -u b1ae8b"),
        ("samples", "b1ae8bf6-38b0-4c81-9d44-78ce3f520015", "inactive", "has to offer its type"),
        ("vgpu-sriov", "d9e0f3a6-1b4c-4d72-8c38-5e6b9a0f2d04", "inactive", "has to be there"),
        ("broken", "aaaaaaaa-0000-4000-8000-000000000001", "incomplete", "nodedevctl wait"),
        ("broken", "aaaaaaaa-0000-4000-8000-000000000004", "removing", "create another one"),
        ("broken", "mdev_not_a_uuid", "no-address", "by its UUID"),
        ("broken", "pci_pci_thing", "no-address", "no PCI address"),
        ("vgpu-pf", "pci_0000_00_02_0", "bridge", "devices behind it"),
        ("igpu-gvtg", "0000:00:00.0", "bridge", "devices behind it"),
        ("vgpu-sriov", "0000:08:00.0", "vfs-enabled", "08:00.4, 0000:08:00.5, 0000:08:00.6 and 13"),
        ("vgpu-pf", "0000:02:00.0", "mdevs-active", "mdevctl stop -u 5d4d1f0c-6d5b-45d5-9a64"),
        ("laptop-usb-wifi", "00:14.3", "no-iommu-group", "the IOMMU is off"),
        ("vdpa-smartnic", "vdpa_vdpa0", "kind", "behind it is pci_0000_3b_00_2"),
        ("laptop-usb-wifi", "usb_1_1_4", "kind", "behind it is pci_0000_00_14_0"),
        ("server-storage-fc", "block_sr2", "kind", "behind it is pci_0000_00_17_0"),
        ("vgpu-vendor-vfio", "0000:26:00.0", "vfs-enabled", "echo 0 > /sys/bus/pci/devices/0000"),
        ("vgpu-vendor-vfio", "0000:26:00.7", "no-profile", "0000:26:00.7/nvidia/current_vgpu_type"),
        ("s390x-ap-ccw", "ap_matrix", "kind", "-p matrix -t vfio_ap-passthrough"),
        ("s390x-ap-ccw", "css_0_0_0001", "kind", "neither a PCI function nor an mdev"),
        ("samples", "computer", "kind", "neither a PCI function nor an mdev"),
    ],
)
def test_device_that_cannot_be_handed_over_says_why(
    host: str, name: str, reason: str, detail: str
) -> None:
    """By a word for programs, and by a sentence with what to do next."""
    error = refusal(host, name)
    assert (error.code, error.reason) == ("not-assignable", reason)
    assert error.name == snapshot_of(host).lookup(name).name
    assert detail in error.detail


def test_protocol_tells_of_every_reason() -> None:
    """Each of them, and no other."""
    text = (REPOSITORY / "docs" / "protocol.md").read_text(encoding="utf-8")
    section = text.partition("### HostDev\n")[2].partition("\n### ")[0]
    rows = section.partition("| reason | |\n| --- | --- |\n")[2].partition("\n\n")[0]
    words = re.findall("`([a-z-]+)`", " ".join(row.split("|")[1] for row in rows.splitlines()))
    assert sorted(words) == sorted(get_args(NotAssignableReason))


def test_definition_without_capacity_says_so() -> None:
    """What mdevctl needs first is told with its command."""
    error = refusal("vgpu-sriov", "mdev_c3d7b1e4_8f2a_4e60_9b15_7a4c2d1e5f03_c12a2c15")
    assert "0000:08:00.6 needs a free instance of its type" in error.detail
    assert "mdevctl start -u c3d7b1e4-8f2a-4e60-9b15-7a4c2d1e5f03 -p 0000:08:00.6" in error.detail


@pytest.fixture
def card(tree: Tree) -> str:
    """Return a PCI function that offers one type; it is in an IOMMU group."""
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


def test_mdev_without_a_driver_cannot_be_handed_over(tree: Tree, card: str) -> None:
    """Nobody would answer the guest."""
    tree.mdev(card, UUID, "nvidia-746")
    assert refusal(None, UUID).reason == "no-driver"


def test_mdev_without_a_group_is_handed_over_with_a_note(tree: Tree, card: str) -> None:
    """Libvirt asks for the group, the kernel can do without."""
    tree.mdev(card, UUID, "nvidia-746", driver="nvidia", vfio=0)
    assert "CONFIG_VFIO_GROUP" in here().notes[0]


def test_mdev_with_a_group_that_cannot_be_read_is_handed_over_with_a_note(
    tree: Tree, card: str
) -> None:
    """Unknown is not the same as none."""
    path = tree.mdev(card, UUID, "nvidia-746", driver="nvidia")
    tree.kernel_link(f"{path}/iommu_group", "/sys/kernel/iommu_groups/odd")
    assert here().notes == ("its VFIO group cannot be read",)


def test_unknown_device_api_asks_for_the_model(tree: Tree, card: str) -> None:
    """It is not guessed for an mdev that is there; who knows may say."""
    tree.mdev_type(card, "nvidia-747", device_api=None)
    tree.mdev(card, UUID, "nvidia-747", driver="nvidia", iommu_group=2)
    error = refusal(None, UUID)
    assert error.reason == "api-unknown"
    assert "--model" in error.detail
    found = here(model="vfio-pci")
    assert found.model == "vfio-pci"
    assert found.notes == ("its device_api cannot be read: that it is vfio-pci is not checked",)


@pytest.mark.parametrize("api", ["vfio-platform", "vfio-amba", "vfio-odd"])
@pytest.mark.parametrize("model", [None, "vfio-pci"])
def test_device_api_without_a_model_cannot_be_handed_over(
    tree: Tree, card: str, api: str, model: Any
) -> None:
    """Whatever is asked for: libvirt has no word for it."""
    tree.mdev_type(card, "odd-1", device_api=api)
    tree.mdev(card, UUID, "odd-1", driver="odd", iommu_group=2)
    error = refusal(None, UUID, model=model)
    assert error.reason == "api-unsupported"
    assert f"{api!r}, and libvirt knows vfio-pci, vfio-ccw, vfio-ap alone" in error.detail


def test_model_that_is_not_the_device_api_does_not_fit(tree: Tree, card: str) -> None:
    """The error names what it is."""
    tree.mdev(card, UUID, "nvidia-746", driver="nvidia", iommu_group=2)
    with pytest.raises(DoesNotFit) as misfit:
        here(model="vfio-ccw")
    assert misfit.value.code == "does-not-fit"
    assert str(misfit.value) == (
        f"model does not fit {NAME}: its device_api is vfio-pci; leave the model out"
    )


def test_bridge_is_told_by_its_header_alone(tree: Tree) -> None:
    """Whatever class it says it has."""
    tree.pci(
        "0000:00:03.0",
        vendor=0x8086,
        device=0x1,
        class_=0x088000,
        iommu_group=1,
        config=bytes(0x0E) + b"\x01" + bytes(64 - 0x0F),
    )
    assert refusal(None, "00:03.0").reason == "bridge"


def test_function_that_the_iommu_does_not_reach_is_told_from_no_iommu(
    tree: Tree, card: str
) -> None:
    """The others of the host are in groups."""
    tree.pci("0000:00:03.0", vendor=0x8086, device=0x1, class_=0x020000)
    error = refusal(None, "00:03.0")
    assert error.reason == "no-iommu-group"
    assert "the IOMMU does not reach it" in error.detail


@pytest.mark.parametrize(
    ("name", "options", "parameter", "detail"),
    [
        (MBOCHS, {"managed": True}, "managed", "says nothing for an mdev"),
        (MBOCHS, {"ramfb": True}, "ramfb", "add --display on"),
        (MBOCHS, {"ramfb": True, "display": False}, "ramfb", "add --display on"),
        (MBOCHS, {"boot_order": 1}, "boot_order", "boots from no such mdev"),
        (MBOCHS, {"address": CCW}, "address", "in a guest its address is pci:…"),
        (DASD, {"model": "vfio-pci"}, "model", "its device_api is vfio-ccw"),
        (DASD, {"display": True}, "display", "it is vfio-ccw"),
        (DASD, {"address": PCI}, "address", "in a guest its address is ccw:…"),
        (CRYPTO, {"display": False}, "display", "it is vfio-ap"),
        (CRYPTO, {"ramfb": True}, "ramfb", "it is vfio-ap"),
        (CRYPTO, {"boot_order": 1}, "boot_order", "boots from no such mdev"),
        (CRYPTO, {"address": CCW}, "address", "in a guest it has no address"),
        (FUNCTION, {"model": "vfio-pci"}, "model", "mdevs alone have a model"),
        (FUNCTION, {"display": True}, "display", "it is a PCI function"),
        (FUNCTION, {"ramfb": True}, "ramfb", "it is a PCI function"),
        (FUNCTION, {"address": CCW}, "address", "in a guest its address is pci:…"),
        (VGPU, {"managed": True}, "managed", "its driver nvidia gives to VFIO"),
        (VGPU, {"model": "vfio-pci"}, "model", "mdevs alone have a model"),
    ],
)
def test_option_that_does_not_fit_is_named(
    name: tuple[str, str, str | None], options: dict[str, Any], parameter: str, detail: str
) -> None:
    """With what the device is, or what has to go with it."""
    with pytest.raises(DoesNotFit) as misfit:
        on(*name[:2], **options)
    assert misfit.value.parameter == parameter
    assert detail in misfit.value.detail


# -- notes -------------------------------------------------------------------------------


def test_group_with_others_names_them() -> None:
    """All of them have to go with the function; one that is not in the tree is named, too."""
    (note, _) = on("igpu-gvtg", "0000:00:1f.6").notes
    assert note.startswith("IOMMU group 3 has pci_0000_00_1f_0 (no driver), too: each has to be")


def test_group_names_bridges_not_and_strangers_as_the_kernel_does(tree: Tree) -> None:
    """VFIO lets bridges alone; what is not in the tree is still in the group."""
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
    assert note.startswith("IOMMU group 7 has pci_0000_00_04_0 (e1000e), stranger, too: ")


def test_group_that_cannot_be_read_is_a_note(tree: Tree) -> None:
    """Unknown is not the same as none."""
    path = tree.pci("0000:00:03.0", vendor=1, device=1, class_=0x020000)
    tree.kernel_link(f"{path}/iommu_group", "/sys/kernel/iommu_groups/odd")
    assert here("00:03.0").notes == (
        "its IOMMU group cannot be read: what has to go with it is unknown",
    )


def test_class_that_cannot_be_read_is_a_note() -> None:
    """It could be a bridge."""
    (device,) = [one for one in snapshot_of("vdpa-smartnic") if one.name == "pci_0000_3b_00_5"]
    pci = device.capability(Pci)
    assert pci is not None
    pci = msgspec.structs.replace(pci, class_code=None)
    device = msgspec.structs.replace(device, capabilities=(pci,))
    found = hostdev(Snapshot([device]), HostDevRequest(name=device.name), machine="x86_64")
    assert found.notes == ("its class cannot be read: that it is no bridge is not checked",)


def test_managed_function_tells_what_the_host_loses() -> None:
    """Libvirt takes it from its driver, and all that hangs on it."""
    (note,) = on("vdpa-smartnic", "0000:3b:00.3").notes
    assert note == (
        "libvirt takes it from its driver mlx5_core:"
        " the host loses vdpa_vdpa1, net_eth1_02_00_00_00_3b_01"
    )


def test_function_that_is_not_managed_tells_how_to_take_it_from_its_driver() -> None:
    """One that vfio-pci has already needs nothing."""
    (note,) = on("vdpa-smartnic", "0000:3b:00.3", managed=False).notes
    assert "virsh nodedev-detach pci_0000_3b_00_3: the host loses" in note
    assert on("vdpa-smartnic", "0000:3b:00.5", managed=False).notes == ()


@pytest.mark.parametrize("driver", [None, "vfio-pci", "mlx5_vfio_pci"])
def test_function_without_a_driver_of_the_host_needs_no_note(
    tree: Tree, driver: str | None
) -> None:
    """It has none, or one of VFIO, of which there are several."""
    tree.pci("0000:00:03.0", vendor=1, device=1, class_=0x020000, iommu_group=7, driver=driver)
    assert here("00:03.0").notes == here("00:03.0", managed=False).notes == ()


def test_parent_of_mdevs_is_told_to_be_one(tree: Tree, card: str) -> None:
    """Whole in a guest, it cannot be divided here."""
    assert "it is an mdev parent" in here("00:02.0").notes[0]


# -- a vGPU without an mdev --------------------------------------------------------------


def test_function_with_a_profile_keeps_its_driver() -> None:
    """It is VFIO's already: libvirt must not touch it, and there is nothing to be done before."""
    found = on("vgpu-two-generations", "0000:26:00.7")
    assert parse(found.xml).get("managed") == "no"
    assert found.notes == ()
    assert on("vgpu-two-generations", "0000:26:00.7", managed=False) == found


@pytest.mark.parametrize(
    ("creatable", "detail"),
    [
        (
            "ID    : vGPU Name\n1148  : NVIDIA L40S-2Q\n",
            "nvidia/current_vgpu_type, 1148 for NVIDIA",
        ),
        ("ID    : vGPU Name\n", "none fits now"),
        (None, "write the id of one to /sys/bus/pci/devices/0000:00:03.4/nvidia/current_vgpu_type"),
    ],
)
def test_function_without_a_profile_names_the_file(
    tree: Tree, creatable: str | None, detail: str
) -> None:
    """And a profile, if there is one to be had, or to be read."""
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
    """Unknown is not the same as none; the driver is left where it is in any case."""
    path = tree.pci(
        "0000:00:03.4", vendor=0x10DE, device=1, class_=0x030200, driver="nvidia", iommu_group=3
    )
    tree.file(f"{path}/nvidia/current_vgpu_type", "odd\n")
    found = here("00:03.4")
    assert parse(found.xml).get("managed") == "no"
    assert found.notes == ("its vGPU profile cannot be read: that one is set is not checked",)


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
        ("samples", {"type": "vfio_ap-passthrough"}, "vfio-ap", "the type's driver, vfio_ap"),
        ("samples", {"type": "vfio_ccw-io"}, "vfio-ccw", "the type's driver, vfio_ccw"),
        ("samples", {"type": "nvidia-746", "arch": "s390x"}, "vfio-pci", "type's driver, nvidia"),
        ("samples", {"type": "odd-1", "model": "vfio-ccw"}, "vfio-ccw", "no parent here offers"),
        ("samples", {"type": "odd-1"}, "vfio-pci", "the architecture x86_64, this machine's"),
        ("samples", {}, "vfio-pci", "the architecture x86_64, this machine's"),
        ("samples", {"arch": "s390x"}, "vfio-ccw", "the architecture s390x; --type or --model"),
        ("samples", {"arch": "aarch64"}, "vfio-pci", "the architecture aarch64; --type or --model"),
    ],
)
def test_model_of_an_mdev_to_come_is_found(
    host: str, options: dict[str, Any], model: str, note: str | None
) -> None:
    """As asked for, by the type as it is offered, by its driver, by the architecture."""
    found = on(host, UUID.upper(), not_created=True, **options)
    assert (found.type, found.model) == ("mdev", model)
    assert find(parse(found.xml), "source/address").get("uuid") == UUID
    said = [one for one in found.notes if not one.startswith("a domain takes")]
    assert said == [] if note is None else note in said[-1]


def test_guess_is_from_the_machine_it_runs_on(tree: Tree) -> None:
    """If nothing else is said."""
    found = here(machine="s390x", not_created=True)
    assert found.model == "vfio-ccw"
    (note,) = found.notes
    assert note.startswith("the model vfio-ccw is a guess from the architecture s390x, this mach")


def test_type_that_is_offered_as_two_apis_asks_for_the_model(tree: Tree, card: str) -> None:
    """There is nothing to prefer; one of the two is right, a third is not."""
    other = tree.pci("0000:00:03.0", vendor=1, device=1, class_=0x020000)
    tree.mdev_type(other, "odd-1", name="NVIDIA A2-4Q", device_api="vfio-ccw")
    tree.mdev_parent(other)
    error = refusal(None, UUID, not_created=True, type="NVIDIA A2-4Q")
    assert error.reason == "api-unknown"
    assert "is offered here as vfio-ccw, vfio-pci; choose with --model" in error.detail
    asked: dict[str, Any] = {"not_created": True, "type": "NVIDIA A2-4Q"}
    assert here(model="vfio-ccw", **asked).model == "vfio-ccw"
    with pytest.raises(DoesNotFit, match="offered here as vfio-ccw, vfio-pci"):
        here(model="vfio-ap", **asked)


def test_type_that_is_offered_as_another_api_does_not_fit() -> None:
    """The host knows better than who asks."""
    with pytest.raises(DoesNotFit, match="its device_api is vfio-pci"):
        on("samples", UUID, not_created=True, type="mtty-1", model="vfio-ccw")


def test_mdev_to_come_that_is_there_is_refused() -> None:
    """Its XML is to be had without a guess."""
    error = refusal("samples", MBOCHS[1], not_created=True)
    assert error.reason == "exists"
    assert "leave out --not-created" in error.detail


def test_mdev_to_come_that_is_defined_takes_the_type_of_its_definition() -> None:
    """It is not there yet, which is what was said."""
    found = on("vgpu-sriov", "c3d7b1e4-8f2a-4e60-9b15-7a4c2d1e5f03", not_created=True, arch="s390x")
    assert found.model == "vfio-pci"
    (note,) = found.notes
    assert note == "mdevctl has a definition of it, of type nvidia-746 on 0000:08:00.5"


@pytest.mark.parametrize("name", ["", "gpu", "0000:3b:00.5", f"mdev_{UUID}_parent", UUID[:-1]])
def test_mdev_to_come_without_a_uuid_is_an_invalid_parameter(name: str) -> None:
    """Nothing else names a device that is not there."""
    with pytest.raises(InvalidParameter) as invalid:
        on("samples", name, not_created=True)
    assert invalid.value.parameter == "name"


def test_uuid_of_an_mdev_to_come_may_have_its_prefix() -> None:
    """As the device will be called."""
    assert parse_planned(NAME) == parse_planned(f"mdev_{UUID}") == UUID


@pytest.mark.parametrize("parameter", ["type", "arch"])
def test_type_and_arch_of_an_mdev_that_is_there_are_invalid(parameter: str) -> None:
    """They would say what the host says better."""
    with pytest.raises(InvalidParameter) as invalid:
        on("samples", MBOCHS[1], **{parameter: "x86_64"})
    assert invalid.value.parameter == parameter


@pytest.mark.parametrize("host", ["broken", "samples", "vgpu-sriov", "s390x-full", "empty"])
def test_every_device_is_handed_over_or_says_why(host: str) -> None:
    """No device of a host, however broken, brings about anything else."""
    for device in snapshot_of(host):
        with suppress(NotAssignable):
            found = on(host, device.name)
            assert parse(found.xml).tag == "hostdev"
            assert found.xml.endswith("</hostdev>\n")
