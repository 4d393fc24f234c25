"""mdev_parent: the types that a device offers, including malformed ones."""

from __future__ import annotations

import errno

import msgspec
import pytest

from nodedevd.host.faults import Fault
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.mdev_parent import MdevParent, MdevType, reread_volatile
from nodedevd.kinds.pci import Pci
from nodedevd.model.device import Device
from nodedevd.tree.read import read_device, scan
from nodedevd.tree.record import RecordingSysroot
from tests.support.faulty import ANSWERS, FaultySysroot
from tests.support.trees import Tree
from tests.support.xml import find, native_xml, validate

UUIDS = (
    "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01",
    "a2c1a9b0-5c3e-4f27-b6d4-0d6e2f9b7c02",
)
PARENT = "/sys/devices/virtual/mtty/mtty"
TYPES = f"{PARENT}/mdev_supported_types"
TYPE_ATTRIBUTES = ["name", "description", "device_api", "available_instances"]


@pytest.fixture
def parent(tree: Tree) -> str:
    """Return a parent that is not on PCI, with one complete type."""
    path = tree.device(PARENT, class_="mtty")
    tree.mdev_type(path, "mtty-1", name="Single port serial", description="one port", available=24)
    return tree.mdev_parent(path)


def device(sysroot: Sysroot | None = None, path: str = PARENT) -> Device:
    """Scan the host and return the device at a path."""
    return scan(sysroot or Sysroot()).lookup(path)


def types(of: Device) -> dict[str, MdevType]:
    """Return a parent's types by id."""
    found = of.capability(MdevParent)
    assert found is not None
    return {one.id: one for one in found.types}


def test_count_without_a_line_feed_is_the_same_count(tree: Tree, parent: str) -> None:
    """Not every driver ends its text with one."""
    capability = device().capability(MdevParent)
    assert capability is not None
    tree.file(f"{TYPES}/mtty-1/available_instances", "24")
    assert reread_volatile(Sysroot(), PARENT, capability) is capability


def test_parent_with_active_mdevs_shows_each_field(tree: Tree, parent: str) -> None:
    """Every attribute of a type lands in its field; XML follows suit."""
    tree.mdev_type(parent, "mtty-2", name="Dual port serial", available=10)
    for uuid in reversed(UUIDS):
        tree.mdev(parent, uuid, "mtty-2")
    found = device()
    assert found.capabilities == (
        MdevParent(
            types=(
                MdevType("mtty-1", "Single port serial", "one port", None, "vfio-pci", 24, ()),
                MdevType("mtty-2", "Dual port serial", None, None, "vfio-pci", 10, UUIDS),
            ),
            children=UUIDS,
        ),
    )
    assert (found.name, found.parent, found.errors) == ("mtty_mtty", "computer", ())
    text = native_xml(found)
    validate(text)
    assert text == (
        "<device>\n"
        "  <name>mtty_mtty</name>\n"
        "  <path>/sys/devices/virtual/mtty/mtty</path>\n"
        "  <parent>computer</parent>\n"
        "  <capability type='mdev_parent'>\n"
        "    <type id='mtty-1'>\n"
        "      <name>Single port serial</name>\n"
        "      <description>one port</description>\n"
        "      <deviceAPI>vfio-pci</deviceAPI>\n"
        "      <availableInstances>24</availableInstances>\n"
        "      <activeInstances>0</activeInstances>\n"
        "    </type>\n"
        "    <type id='mtty-2'>\n"
        "      <name>Dual port serial</name>\n"
        "      <deviceAPI>vfio-pci</deviceAPI>\n"
        "      <availableInstances>10</availableInstances>\n"
        "      <activeInstances>2</activeInstances>\n"
        f"      <device uuid='{UUIDS[0]}'/>\n"
        f"      <device uuid='{UUIDS[1]}'/>\n"
        "    </type>\n"
        "    <children>\n"
        f"      <device uuid='{UUIDS[0]}'/>\n"
        f"      <device uuid='{UUIDS[1]}'/>\n"
        "    </children>\n"
        "  </capability>\n"
        "</device>\n"
    )


def test_pci_parent_has_two_capabilities_side_by_side(tree: Tree) -> None:
    """A PCI function that is a parent stays a PCI function."""
    path = tree.pci("0000:00:02.0", vendor=0x8086, device=0x3E98, class_=0x030000)
    tree.mdev_type(path, "i915-GVTg_V5_4")
    found = device(path=tree.mdev_parent(path))
    assert found.types == ("pci", "mdev_parent")
    validate(native_xml(found))


def test_device_without_types_is_no_parent(tree: Tree) -> None:
    """A PCI function alone has its one capability."""
    path = tree.pci("0000:00:02.0", vendor=0x8086, device=0x3E98, class_=0x030000)
    found = device(path=path)
    assert found.types == ("pci",)
    assert found.errors == ()


def test_parent_on_mdev_bus_without_types_keeps_the_capability(tree: Tree) -> None:
    """The kernel lists it as a parent: that its types are missing is a fault."""
    path = tree.pci("0000:00:02.0", vendor=0x8086, device=0x3E98, class_=0x030000)
    tree.mdev_parent(path)
    found = device(path=path)
    assert found.capability(MdevParent) == MdevParent(types=(), children=())
    assert found.errors == (Fault("mdev_supported_types", "absent", ""),)
    validate(native_xml(found))


@pytest.mark.parametrize("listing", ["class", "bus", "pci", "mdev", "none"])
def test_parent_missing_from_mdev_bus_is_found(tree: Tree, listing: str) -> None:
    """A directory of types makes a parent; any directory of devices leads to it."""
    if listing == "class":
        path = tree.device("/sys/devices/virtual/mdpy/mdpy", class_="mdpy")
    elif listing == "bus":
        path = tree.device("/sys/devices/vfio_ap/matrix", bus="matrix")
    elif listing == "pci":
        path = tree.pci("0000:00:02.0", vendor=0x8086, device=0x3E98, class_=0x030000)
    else:
        path = tree.device("/sys/devices/bare")
    tree.mdev_type(path, "mdpy-vga", name="mdpy-vga", available=4)
    if listing == "mdev":
        tree.mdev(path, UUIDS[0], "mdpy-vga")
    snapshot = scan(Sysroot())
    found = [one for one in snapshot if one.capability(MdevParent) is not None]
    assert [one.path for one in found] == ([] if listing == "none" else [path])
    assert snapshot.errors == ()


def test_type_without_name_keeps_the_type(tree: Tree, parent: str) -> None:
    """Kernels before 6.1 leave the name to the driver: its absence is no fault."""
    tree.mdev_type(parent, "i915-GVTg_V5_4", available=1)
    found = device()
    assert types(found)["i915-GVTg_V5_4"] == MdevType(
        "i915-GVTg_V5_4", None, None, None, "vfio-pci", 1, ()
    )
    assert found.errors == ()


def test_description_of_several_lines_stays_as_it_is(tree: Tree, parent: str) -> None:
    """Only the last newline is the kernel's; all else is the driver's text."""
    tree.mdev_type(parent, "mtty-3", description="low_gm_size: 128MB\nfence: 4\n\n")
    found = device()
    assert types(found)["mtty-3"].description == "low_gm_size: 128MB\nfence: 4\n\n"
    root = validate(native_xml(found))
    assert root.findtext(".//type[@id='mtty-3']/description") == (
        "low_gm_size: 128MB\nfence: 4\n\n"
    )


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 70000])
def test_description_of_any_length_is_whole(tree: Tree, parent: str, size: int) -> None:
    """A text as long as a page, the limit of an attribute, is read whole."""
    tree.mdev_type(parent, "mtty-3", description=b"d" * size)
    assert types(device())["mtty-3"].description == "d" * size


def test_empty_name_and_description_are_values(tree: Tree, parent: str) -> None:
    """An empty file is not an absent file."""
    tree.mdev_type(parent, "mtty-3", name=b"", description=b"\n")
    found = device()
    assert (types(found)["mtty-3"].name, types(found)["mtty-3"].description) == ("", "")
    root = validate(native_xml(found))
    assert root.find(".//type[@id='mtty-3']/name") is not None


def test_texts_that_are_no_utf8_are_shown_escaped(tree: Tree, parent: str) -> None:
    """Odd bytes are kept legible and blamed on their attribute; the type stays."""
    tree.mdev_type(parent, "mtty-3", name=b"Gr\xf6\xdfe\n", description=b"\xed\xa0\x80")
    found = device()
    assert types(found)["mtty-3"].name == "Gr\\xf6\\xdfe"
    assert types(found)["mtty-3"].description == "\\xed\\xa0\\x80"
    assert found.errors == (
        Fault("mdev_supported_types/mtty-3/name", "malformed", "not UTF-8"),
        Fault("mdev_supported_types/mtty-3/description", "malformed", "not UTF-8"),
    )
    validate(native_xml(found))


def test_control_characters_are_replaced_in_xml_alone(tree: Tree, parent: str) -> None:
    """JSON has the characters that XML cannot represent."""
    tree.mdev_type(parent, "mtty-3", name=b"Bell\x07 \x1b[31m \x00\n")
    found = device()
    assert types(found)["mtty-3"].name == "Bell\x07 \x1b[31m \x00"
    root = validate(native_xml(found))
    assert root.findtext(".//type[@id='mtty-3']/name") == "Bell\ufffd \ufffd[31m \ufffd"
    assert msgspec.json.decode(msgspec.json.encode(found), type=Device) == found


@pytest.mark.parametrize("type_id", ["odd <&>\"' id", "odd\nline", "Größe-日本", "-", ".odd"])
def test_type_id_of_any_characters_passes_through(tree: Tree, parent: str, type_id: str) -> None:
    """An id is a file name and may be anything that one may."""
    tree.mdev_type(parent, type_id, name="Odd")
    found = device()
    assert sorted(types(found)) == sorted(["mtty-1", type_id])
    root = validate(native_xml(found))
    assert type_id in [one.get("id") for one in root.findall("capability/type")]


@pytest.mark.parametrize("api", ["vfio-ap", "vfio-ccw", "vfio-platform", "vfio-quantum"])
def test_device_api_passes_through(tree: Tree, parent: str, api: str) -> None:
    """An unknown API is shown all the same."""
    tree.mdev_type(parent, "mtty-3", device_api=api)
    assert types(device())["mtty-3"].device_api == api


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"many\n", "many"),
        (b"-1\n", "-1"),
        (b"0x10\n", "0x10"),
        (b"1_0\n", "1_0"),
        (b"+1\n", "+1"),
        (b" 1\n", " 1"),
        (b"1 \n", "1 "),
        (b"1\n\n", "1\n"),
        (b"1.0\n", "1.0"),
        ("\u0664\n".encode(), "\u0664"),
        (b"10000000000000000000\n", "10000000000000000000"),
        (b"9" * 5000, "9" * 80),
        (b"", "empty"),
        (b"\n", "empty"),
    ],
)
def test_available_instances_that_is_no_number_is_unknown(
    tree: Tree, parent: str, content: bytes, detail: str
) -> None:
    """A count that is not a number in the kernel's form is unknown, never 0; the type stays."""
    tree.mdev_type(parent, "mtty-3", name="Odd", available=content)
    found = device()
    assert types(found)["mtty-3"] == MdevType("mtty-3", "Odd", None, None, "vfio-pci", None, ())
    assert types(found)["mtty-1"].available_instances == 24
    attribute = "mdev_supported_types/mtty-3/available_instances"
    assert found.errors == (Fault(attribute, "malformed", detail),)
    root = validate(native_xml(found))
    shown = find(root, ".//type[@id='mtty-3']/availableInstances")
    assert (shown.get("state"), shown.text) == ("unknown", None)


@pytest.mark.parametrize("content", ["0", "00", "9223372036854775807"])
def test_available_instances_of_any_size_is_a_number(tree: Tree, parent: str, content: str) -> None:
    """Numbers up to 64 bits with a sign are read."""
    tree.mdev_type(parent, "mtty-3", available=content)
    found = device()
    assert (types(found)["mtty-3"].available_instances, found.errors) == (int(content), ())
    validate(native_xml(found))


@pytest.mark.parametrize("missing", ["device_api", "available_instances"])
def test_promised_attribute_that_is_absent_is_a_fault(
    tree: Tree, parent: str, missing: str
) -> None:
    """The ABI promises these two: without one the type stays, and is blamed."""
    tree.remove(f"{TYPES}/mtty-1/{missing}")
    found = device()
    assert getattr(types(found)["mtty-1"], missing) is None
    assert types(found)["mtty-1"].description == "one port"
    assert found.errors == (Fault(f"mdev_supported_types/mtty-1/{missing}", "absent", ""),)
    validate(native_xml(found))


@pytest.mark.parametrize("attribute", TYPE_ATTRIBUTES)
@ANSWERS
def test_one_attribute_that_fails_costs_no_other(
    tree: Tree, parent: str, attribute: str, number: int, code: str, detail: str
) -> None:
    """A driver that answers with an error makes one field unknown, in XML and JSON."""
    tree.mdev_type(parent, "mtty-2", name="Dual", description="two", available=12)
    path = f"{TYPES}/mtty-1/{attribute}"
    found = device(FaultySysroot(errors={path: number}))
    whole = MdevType("mtty-1", "Single port serial", "one port", None, "vfio-pci", 24, ())
    assert types(found)["mtty-1"] == msgspec.structs.replace(whole, **{attribute: None})
    assert types(found)["mtty-2"] == MdevType("mtty-2", "Dual", "two", None, "vfio-pci", 12, ())
    relative = f"mdev_supported_types/mtty-1/{attribute}"
    assert [msgspec.structs.astuple(fault) for fault in found.errors] == [(relative, code, detail)]
    element = {"device_api": "deviceAPI", "available_instances": "availableInstances"}
    root = validate(native_xml(found))
    unknown = root.findall(".//*[@state='unknown']")
    assert [one.tag for one in unknown] == [element.get(attribute, attribute)]
    data = msgspec.json.decode(msgspec.json.encode(found))
    member = {"name": "type_name", "available_instances": "available"}.get(attribute, attribute)
    assert data["capabilities"][0]["types"][0][member] is None
    assert data["errors"][0]["attribute"] == relative


def test_types_that_cannot_be_listed_are_a_fault(tree: Tree, parent: str) -> None:
    """A parent whose types are refused is still a parent, with its mdevs."""
    tree.mdev(parent, UUIDS[0], "mtty-1")
    found = device(FaultySysroot(errors={TYPES: errno.EACCES}))
    assert found.capability(MdevParent) == MdevParent(types=(), children=(UUIDS[0],))
    assert found.errors == (Fault("mdev_supported_types", "refused", "EACCES"),)
    validate(native_xml(found))


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV])
def test_type_that_goes_between_list_and_read_costs_no_other(
    tree: Tree, parent: str, number: int
) -> None:
    """A type that its driver takes back while it is read is gone; its siblings stay."""
    tree.mdev_type(parent, "mtty-2", name="Dual")
    files = ("", "/name", "/description", "/device_api", "/available_instances")
    found = device(FaultySysroot(errors={f"{TYPES}/mtty-1{file}": number for file in files}))
    assert list(types(found)) == ["mtty-2"]
    assert "internal" not in [fault.code for fault in found.errors]
    validate(native_xml(found))


def test_type_directory_removed_while_read_costs_no_other(tree: Tree, parent: str) -> None:
    """When a type is removed at any point of the read, the parent and its other types stay."""
    tree.mdev_type(parent, "mtty-2", name="Dual", available=12)
    type_path = f"{TYPES}/mtty-1"
    reads = FaultySysroot()
    device(reads)
    count = len([path for path in reads.reads if path.startswith(type_path)])
    assert count == 4  # its attributes; without children no type has devices
    for at in range(1, count + 1):
        found = device(FaultySysroot(vanishing=type_path, at=at))
        assert types(found)["mtty-2"] == MdevType("mtty-2", "Dual", None, None, "vfio-pci", 12, ())
        assert "internal" not in [fault.code for fault in found.errors]
        validate(native_xml(found))
        tree.mdev_type(
            parent, "mtty-1", name="Single port serial", description="one port", available=24
        )


def test_parent_removed_while_read_is_no_device(tree: Tree, parent: str) -> None:
    """A parent removed at any point of its read is dropped, without an error."""
    listed_in = ["/sys/class/mdev_bus"]
    reads = FaultySysroot()
    whole = read_device(reads, PARENT, listed_in)
    assert whole is not None
    count = len(reads.reads)
    assert count > 6
    for at in range(1, count + 1):
        assert read_device(FaultySysroot(vanishing=PARENT, at=at), PARENT, listed_in) is None
        assert PARENT not in [one.path for one in scan(Sysroot())]
        tree.device(PARENT, class_="mtty")
        tree.mdev_type(
            PARENT, "mtty-1", name="Single port serial", description="one port", available=24
        )
    assert read_device(Sysroot(), PARENT, listed_in) == whole


def test_type_that_is_no_directory_is_no_type(tree: Tree, parent: str) -> None:
    """A file, an empty directory and a dangling link are not types."""
    tree.file(f"{TYPES}/stray", "a file\n")
    tree.directory(f"{TYPES}/nothing")
    tree.link(f"{TYPES}/dangling", "gone")
    found = device()
    assert list(types(found)) == ["mtty-1"]
    assert "internal" not in [fault.code for fault in found.errors]


def test_type_without_devices_directory_has_none(tree: Tree, parent: str) -> None:
    """A sample host has no empty directories: this is not a fault."""
    tree.remove(f"{TYPES}/mtty-1/devices")
    found = device()
    assert (types(found)["mtty-1"].devices, found.errors) == ((), ())


def test_half_made_mdev_is_a_child_of_no_type(tree: Tree, parent: str) -> None:
    """An mdev without its links is below the parent already, not below a type."""
    tree.mdev(parent, UUIDS[0], None)
    tree.directory(f"{parent}/power")
    found = device()
    capability = found.capability(MdevParent)
    assert capability is not None
    assert (capability.children, types(found)["mtty-1"].devices) == ((UUIDS[0],), ())
    root = validate(native_xml(found))
    assert [one.get("uuid") for one in root.findall("capability/children/device")] == [UUIDS[0]]
    assert root.findtext("capability/type/activeInstances") == "0"


def test_pci_parent_with_bad_type_keeps_its_pci_capability(tree: Tree) -> None:
    """A fault of one capability does not affect another."""
    path = tree.pci("0000:00:02.0", vendor=0x8086, device=0x3E98, class_=0x030000)
    tree.mdev_type(path, "odd-1", available="many")
    tree.mdev_parent(path)
    found = device(path=path)
    pci = found.capability(Pci)
    assert pci is not None
    assert pci.address == "0000:00:02.0"
    assert len(found.errors) == 1


def test_mdevs_are_looked_for_until_each_has_its_type(tree: Tree, parent: str) -> None:
    """With the last one found, no type behind has any; a half-made one may yet be anywhere."""
    for number in (2, 3):
        tree.mdev_type(parent, f"mtty-{number}", available=1)
    for uuid, kind in zip(UUIDS, ("mtty-1", "mtty-2"), strict=True):
        tree.mdev(parent, uuid, kind)

    def listed() -> list[str]:
        sysroot = FaultySysroot()
        found = types(device(sysroot))
        assert [found[name].devices for name in sorted(found)] == [UUIDS[:1], UUIDS[1:], ()]
        return [path for path in sysroot.reads if path.endswith("/devices") and TYPES in path]

    assert listed() == [f"{TYPES}/mtty-{number}/devices" for number in (1, 2)]
    tree.mdev(parent, "c5d0a9b0-5c3e-4f27-b6d4-0d6e2f9b7c03", None)
    assert listed() == [f"{TYPES}/mtty-{number}/devices" for number in (1, 2, 3)]


def _alike(tree: Tree) -> list[str]:
    """Build three PCI functions with a type each: two of a model, and one with another driver."""
    paths = []
    for slot, driver in ((2, "nvidia"), (3, "nvidia"), (4, "other")):
        address = f"0000:00:{slot:02x}.0"
        path = tree.pci(address, vendor=0x10DE, device=0x25B6, class_=0x030000, driver=driver)
        tree.mdev_type(path, "type-1", name="One", description=f"by {driver}", available=slot)
        paths.append(tree.mdev_parent(path))
    return paths


def test_type_of_a_model_is_read_once(tree: Tree) -> None:
    """Name, description and device_api once for both; how many are available, for each."""
    paths = _alike(tree)
    sysroot = FaultySysroot()
    snapshot = scan(sysroot)
    found = [types(snapshot.lookup(path))["type-1"] for path in paths]
    assert [(one.description, one.available_instances) for one in found] == [
        ("by nvidia", 2),
        ("by nvidia", 3),
        ("by other", 4),
    ]
    for attribute, times in (("name", 2), ("description", 2), ("available_instances", 3)):
        read = [path for path in sysroot.reads if path.endswith(f"type-1/{attribute}")]
        assert len(read) == times, attribute


def test_type_of_a_model_is_read_anew_by_the_next_scan(tree: Tree) -> None:
    """The texts of a driver that was loaded again are read again."""
    first, second, _ = _alike(tree)
    sysroot = Sysroot()
    scan(sysroot)
    for path in (first, second):
        tree.file(f"{path}/mdev_supported_types/type-1/description", "changed\n")
    snapshot = scan(sysroot)
    assert types(snapshot.lookup(second))["type-1"].description == "changed"


def test_type_that_cannot_be_read_does_not_stand_for_others(tree: Tree) -> None:
    """A fault of one device is that device's alone."""
    first, second, _ = _alike(tree)
    refused = f"{first}/mdev_supported_types/type-1/description"
    snapshot = scan(FaultySysroot(errors={refused: errno.EIO}))
    assert types(snapshot.lookup(first))["type-1"].description is None
    assert types(snapshot.lookup(second))["type-1"].description == "by nvidia"
    assert [len(snapshot.lookup(path).errors) for path in (first, second)] == [1, 0]


def test_recording_reads_the_types_of_every_device(tree: Tree) -> None:
    """Its files are for others to read, too."""
    paths = _alike(tree)
    sysroot = RecordingSysroot(tree.root)
    scan(sysroot)
    for path in paths:
        assert f"{path}/mdev_supported_types/type-1/description" in sysroot.files
