"""mdev_child: one mediated device, complete, incomplete, or being removed."""

from __future__ import annotations

import errno
import json

import msgspec
import pytest
from lxml import etree

from nodedevd.formats import FORMATS
from nodedevd.host.faults import Fault
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.mdev_child import MdevChild, MdevChildType, outdated, reread_volatile
from nodedevd.kinds.shared.mdevctl import Definition, MdevAttribute
from nodedevd.kinds.shared.vfio import VfioDevice
from nodedevd.model.definitions import as_defined
from nodedevd.model.device import Device
from nodedevd.questions.doctor import differences
from nodedevd.tree.read import read_device, rescan, scan
from nodedevd.tree.update import update
from tests.support.faulty import FaultySysroot
from tests.support.hosts import snapshot_of
from tests.support.trees import Tree
from tests.support.xml import attributes, find, native_xml, validate

UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
NAME = "mdev_27b42a51_9f6b_4c0b_8f5f_4f3a1d0e8c01"
PARENT = "/sys/devices/pci0000:00/0000:00:02.0"
PATH = f"{PARENT}/{UUID}"
TYPE = f"{PARENT}/mdev_supported_types/nvidia-746"
LISTED_IN = ["/sys/bus/mdev/devices"]


@pytest.fixture
def parent(tree: Tree) -> str:
    """Return a PCI function that offers one type."""
    path = tree.pci("0000:00:02.0", vendor=0x10DE, device=0x25B6, class_=0x030200)
    tree.mdev_type(path, "nvidia-746", name="NVIDIA A2-4Q")
    return tree.mdev_parent(path)


def device(sysroot: Sysroot | None = None) -> Device:
    """Scan the host and return its mdev."""
    return scan(sysroot or Sysroot()).lookup(NAME)


def mdev(of: Device) -> MdevChild:
    """Return the capability, and expect it."""
    found = of.capability(MdevChild)
    assert found is not None
    return found


def make(tree: Tree) -> str:
    """Make an mdev that has everything."""
    return tree.mdev(PARENT, UUID, "nvidia-746", driver="nvidia-vgpu-vfio", iommu_group=64, vfio=3)


def test_whole_mdev_shows_each_field(tree: Tree, parent: str) -> None:
    """Every attribute is in its field; XML has them in order."""
    make(tree)
    found = device()
    assert found == Device(
        name=NAME,
        path=PATH,
        parent="pci_0000_00_02_0",
        subsystem="mdev",
        sysname=UUID,
        driver="nvidia-vgpu-vfio",
        capabilities=(
            MdevChild(
                uuid=UUID,
                mdev_type=MdevChildType("nvidia-746", "NVIDIA A2-4Q", "vfio-pci"),
                parent="pci_0000_00_02_0",
                parent_addr="0000:00:02.0",
                parent_path=PARENT,
                iommu_group=64,
                vfio_device=VfioDevice("vfio3", "/dev/vfio/devices/vfio3"),
                state="complete",
                attributes=(),
                defined=False,
                definition=None,
                waits_for=None,
            ),
        ),
        errors=(),
        devnode=None,
        devlinks=(),
    )
    text = native_xml(found)
    validate(text)
    assert text == (
        "<device>\n"
        f"  <name>{NAME}</name>\n"
        f"  <path>{PATH}</path>\n"
        "  <parent>pci_0000_00_02_0</parent>\n"
        "  <driver>\n"
        "    <name>nvidia-vgpu-vfio</name>\n"
        "  </driver>\n"
        "  <capability type='mdev_child'>\n"
        f"    <uuid>{UUID}</uuid>\n"
        "    <type id='nvidia-746'>\n"
        "      <name>NVIDIA A2-4Q</name>\n"
        "      <deviceAPI>vfio-pci</deviceAPI>\n"
        "    </type>\n"
        "    <parent>pci_0000_00_02_0</parent>\n"
        "    <parent_addr>0000:00:02.0</parent_addr>\n"
        "    <iommuGroup number='64'/>\n"
        "    <vfioDevice name='vfio3' node='/dev/vfio/devices/vfio3'/>\n"
        "    <state>complete</state>\n"
        "  </capability>\n"
        "</device>\n"
    )


def test_mdev_without_group_is_shown(tree: Tree, parent: str) -> None:
    """A kernel without VFIO groups has only the VFIO device."""
    tree.mdev(PARENT, UUID, "nvidia-746", driver="nvidia-vgpu-vfio", vfio=0)
    found = device()
    assert mdev(found).iommu_group is None
    assert mdev(found).vfio_device == VfioDevice("vfio0", "/dev/vfio/devices/vfio0")
    assert (mdev(found).state, found.errors) == ("complete", ())
    assert validate(native_xml(found)).find("capability/iommuGroup") is None


def test_mdev_of_an_older_kernel_has_no_vfio_device(tree: Tree, parent: str) -> None:
    """Before 6.1 there is no vfio-dev; that is no fault."""
    tree.mdev(PARENT, UUID, "nvidia-746", driver="vfio_mdev", iommu_group=0)
    found = device()
    assert (mdev(found).iommu_group, mdev(found).vfio_device) == (0, None)
    assert found.errors == ()
    root = validate(native_xml(found))
    assert find(root, "capability/iommuGroup").get("number") == "0"
    assert root.find("capability/vfioDevice") is None


def test_vfio_device_without_node_is_shown_by_name(tree: Tree, parent: str) -> None:
    """Between 6.1 and 6.6 vfio-dev has no character device."""
    make(tree)
    tree.remove(f"{PATH}/vfio-dev/vfio3/dev")
    found = device()
    assert mdev(found).vfio_device == VfioDevice("vfio3", None)
    element = find(validate(native_xml(found)), "capability/vfioDevice")
    assert attributes(element) == {"name": "vfio3"}


def test_mdev_without_type_link_is_incomplete(tree: Tree, parent: str) -> None:
    """Between its add and the end of the creating write an mdev has no type."""
    tree.mdev(PARENT, UUID, None)
    found = device()
    assert (mdev(found).mdev_type, mdev(found).state) == (None, "incomplete")
    assert (found.driver, found.parent) == (None, "pci_0000_00_02_0")
    assert found.errors == (Fault("mdev_type", "absent", ""),)
    root = validate(native_xml(found))
    assert attributes(find(root, "capability/type")) == {"state": "unknown"}
    assert root.findtext("capability/state") == "incomplete"
    assert root.find("capability/iommuGroup") is None
    data = msgspec.json.decode(msgspec.json.encode(found))
    assert data["capabilities"][0]["mdev_type"] is None
    assert data["errors"] == [{"attribute": "mdev_type", "code": "absent", "detail": ""}]


def test_mdev_whose_type_link_dangles_is_incomplete(tree: Tree, parent: str) -> None:
    """The type can go before the link to it does."""
    make(tree)
    tree.remove(TYPE)
    found = device()
    assert (mdev(found).mdev_type, mdev(found).state) == (None, "incomplete")
    assert found.errors == (Fault("mdev_type", "absent", "dangling"),)
    validate(native_xml(found))


def test_type_that_is_no_link_is_a_fault(tree: Tree, parent: str) -> None:
    """A file in place of the link is a fault."""
    tree.mdev(PARENT, UUID, None)
    tree.file(f"{PATH}/mdev_type", "nvidia-746\n")
    found = device()
    assert mdev(found).mdev_type is None
    assert Fault("mdev_type", "malformed", "not a link") in found.errors
    validate(native_xml(found))


def test_mdev_without_remove_is_being_removed(tree: Tree, parent: str) -> None:
    """The kernel takes `remove` away first, and the type last."""
    path = make(tree)
    tree.remove(f"{path}/remove")
    found = device()
    assert (mdev(found).state, found.errors) == ("removing", ())
    tree.remove(f"{path}/mdev_type")
    assert mdev(device()).state == "removing"
    assert validate(native_xml(device())).findtext("capability/state") == "removing"


def test_mdev_whose_removal_waits_for_its_user_is_still_shown(tree: Tree, parent: str) -> None:
    """The bus no longer lists it, and only its parent's directory has it: with what is left."""
    path = make(tree)
    tree.definition("0000:00:02.0", UUID, "nvidia-746")
    tree.begin_removal(path)
    found = device()
    assert (found.path, found.parent, found.driver) == (path, "pci_0000_00_02_0", None)
    assert (found.subsystem, found.state, found.active) == ("mdev", "removing", True)
    assert (mdev(found).state, mdev(found).mdev_type, mdev(found).iommu_group) == (
        "removing",
        None,
        64,
    )
    assert mdev(found).defined
    assert found.errors == ()
    assert len(scan(Sysroot()).select(["mdev_child"])) == 1
    root = validate(native_xml(found))
    assert attributes(find(root, "capability/type")) == {"state": "unknown"}


def test_type_of_an_mdev_in_removal_is_as_it_was(tree: Tree, parent: str) -> None:
    """An update and a new scan of the same reader keep it; a fresh scan is no contradiction."""
    path = make(tree)
    sysroot = Sysroot()
    before = scan(sysroot)
    tree.begin_removal(path)
    for after in (
        update(sysroot, before, {path}).snapshot,
        update(sysroot, before, set(), volatile={path}).snapshot,
        rescan(sysroot, before).snapshot,
    ):
        assert (mdev(after.lookup(NAME)).state, after.lookup(NAME).errors) == ("removing", ())
        assert mdev(after.lookup(NAME)).mdev_type == mdev(before.lookup(NAME)).mdev_type
        assert differences(scan(Sysroot()), after) == ()


def test_begin_of_a_removal_is_one_cheap_look(tree: Tree, parent: str) -> None:
    """By a poll; on request only for what else of it is volatile, and nothing is here."""
    path = make(tree)
    sysroot = Sysroot()
    before = scan(sysroot)
    assert not before.lookup(NAME).is_volatile
    cap = mdev(before.lookup(NAME))
    assert not outdated(sysroot, path, cap)
    assert update(sysroot, before, set(), polled={path}).snapshot is before
    tree.begin_removal(path)
    assert outdated(sysroot, path, cap)
    after = update(sysroot, before, set(), polled={path}).snapshot
    assert after.lookup(NAME).state == "removing"
    assert not outdated(sysroot, path, mdev(after.lookup(NAME)))


def test_look_at_a_removal_that_fails_has_the_device_read(tree: Tree, parent: str) -> None:
    """That says what is wrong."""
    path = make(tree)
    cap = mdev(device())

    class Refusing(Sysroot):
        def exists(self, path: str) -> bool:
            raise PermissionError(errno.EACCES, "refused", path)

    assert outdated(Refusing(), path, cap)


def test_mdev_first_seen_in_its_removal_is_a_device(tree: Tree, parent: str) -> None:
    """An event of its VFIO device leads to it."""
    sysroot = Sysroot()
    before = scan(sysroot)
    path = make(tree)
    tree.begin_removal(path)
    after = update(sysroot, before, {path}).snapshot
    assert after.lookup(NAME).state == "removing"
    assert list(after) == list(scan(Sysroot()))


def test_end_of_a_removal_leaves_the_definition(tree: Tree, parent: str) -> None:
    """The mdev and its definition are one device all the way."""
    path = make(tree)
    tree.definition("0000:00:02.0", UUID, "nvidia-746")
    sysroot = Sysroot()
    snapshot = scan(sysroot)
    tree.begin_removal(path)
    snapshot = update(sysroot, snapshot, {path}).snapshot
    assert snapshot.lookup(NAME).state == "removing"
    tree.remove(path)
    result = update(sysroot, snapshot, {path})
    assert [type(change).__name__ for change in result.changes] == ["Changed", "Changed"]
    assert result.snapshot.lookup(NAME).state == "inactive"
    assert list(result.snapshot) == list(scan(Sysroot()))


def test_type_without_name_keeps_the_type(tree: Tree, parent: str) -> None:
    """The name is the driver's choice before 6.1."""
    make(tree)
    tree.remove(f"{TYPE}/name")
    found = device()
    assert mdev(found).mdev_type == MdevChildType("nvidia-746", None, "vfio-pci")
    assert found.errors == ()
    validate(native_xml(found))


def test_type_with_unreadable_attribute_keeps_the_other(tree: Tree, parent: str) -> None:
    """One error of the driver makes one field unknown, in XML and JSON."""
    make(tree)
    found = device(FaultySysroot(errors={f"{TYPE}/device_api": errno.EIO}))
    assert mdev(found).mdev_type == MdevChildType("nvidia-746", "NVIDIA A2-4Q", None)
    assert mdev(found).state == "complete"
    fault = Fault("mdev_type/device_api", "unreadable", "EIO: Input/output error")
    assert found.errors == (fault,)
    root = validate(native_xml(found))
    assert [one.tag for one in root.findall(".//*[@state='unknown']")] == ["deviceAPI"]
    data = msgspec.json.decode(msgspec.json.encode(found))
    assert data["capabilities"][0]["mdev_type"]["device_api"] is None
    assert data["errors"] == [msgspec.to_builtins(fault)]


def test_type_without_device_api_is_a_fault(tree: Tree, parent: str) -> None:
    """The ABI promises it, for the mdev's sake as well."""
    make(tree)
    tree.remove(f"{TYPE}/device_api")
    found = device()
    assert found.errors == (Fault("mdev_type/device_api", "absent", ""),)
    validate(native_xml(found))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize("link", ["mdev_type", "iommu_group", "driver"])
def test_link_that_cannot_be_read_costs_no_other(
    tree: Tree, parent: str, link: str, number: int
) -> None:
    """One link that is refused leaves all else."""
    make(tree)
    found = device(FaultySysroot(errors={f"{PATH}/{link}": number}))
    assert (mdev(found).mdev_type is None) == (link == "mdev_type")
    assert (mdev(found).iommu_group is None) == (link == "iommu_group")
    assert (found.driver is None) == (link == "driver")
    assert mdev(found).vfio_device is not None
    assert found.errors[0].attribute == link
    assert found.errors[0].code == ("refused" if number == errno.EACCES else "unreadable")
    validate(native_xml(found))


@pytest.mark.parametrize("group", ["none", "-1", "0x10", "99999999999999999999"])
def test_group_whose_name_is_no_number_is_unknown(tree: Tree, parent: str, group: str) -> None:
    """The kernel names groups by number; another name is a fault."""
    make(tree)
    tree.link(f"{PATH}/iommu_group", f"../../../../kernel/iommu_groups/{group}")
    found = device()
    assert mdev(found).iommu_group is None
    assert found.errors == (Fault("iommu_group", "malformed", group),)
    element = find(validate(native_xml(found)), "capability/iommuGroup")
    assert attributes(element) == {"state": "unknown"}


def test_dangling_driver_and_group_keep_their_names(tree: Tree, parent: str) -> None:
    """Their names are in the text of the links; the targets are not read."""
    make(tree)
    tree.remove("/sys/bus/mdev/drivers/nvidia-vgpu-vfio")
    tree.remove("/sys/kernel/iommu_groups/64")
    found = device()
    assert (found.driver, mdev(found).iommu_group) == ("nvidia-vgpu-vfio", 64)
    assert found.errors == ()


def test_name_that_is_no_uuid_is_a_fault(tree: Tree, parent: str) -> None:
    """The kernel names mdevs by their UUID; another name is shown, with a fault."""
    tree.mdev(PARENT, "not-a-uuid", "nvidia-746")
    found = scan(Sysroot()).lookup("mdev_not_a_uuid")
    assert mdev(found).uuid == "not-a-uuid"
    assert found.errors == (Fault("", "malformed", "the name of an mdev is a UUID"),)
    validate(native_xml(found))


@pytest.mark.parametrize(
    ("path", "name", "address"),
    [
        ("/sys/devices/vfio_ap/matrix", "computer", "matrix"),
        ("/sys/devices/css0/0.0.0313", "computer", "0.0.0313"),
        ("/sys/devices/virtual/mtty/mtty", "computer", "mtty"),
    ],
)
def test_mdev_below_a_device_of_no_type_hangs_on_the_root(
    tree: Tree, path: str, name: str, address: str
) -> None:
    """The parent is not a device of the tree: its address and path are known all the same."""
    tree.device(path)
    tree.mdev(path, UUID, None, driver="odd")
    found = device()
    assert (found.parent, mdev(found).parent) == (name, None)
    assert (mdev(found).parent_addr, mdev(found).parent_path) == (address, path)
    root = validate(native_xml(found))
    assert root.find("capability/parent") is None
    assert root.findtext("capability/parent_addr") == address


def test_mdev_below_a_parent_of_no_bus_names_it(tree: Tree) -> None:
    """A parent that no directory lists is known by its mdev."""
    tree.device("/sys/devices/bare")
    tree.mdev_type("/sys/devices/bare", "bare-1")
    tree.mdev("/sys/devices/bare", UUID, "bare-1")
    found = device()
    assert (found.parent, mdev(found).parent) == ("bare", "bare")


def test_vendor_attributes_are_left_alone(tree: Tree, parent: str) -> None:
    """Files of the vendor driver are not read: reading some takes locks."""
    path = make(tree)
    tree.attributes(path, {"nvidia/vgpu_params": b"", "odd": b"\xff"})
    sysroot = FaultySysroot()
    assert device(sysroot).errors == ()
    assert f"{path}/odd" not in sysroot.reads
    assert [one for one in sysroot.reads if "/nvidia/" in one] == []


def test_mdev_removed_while_read_is_no_device(tree: Tree, parent: str) -> None:
    """An mdev removed at any point of its read is dropped, without an error."""
    make(tree)
    reads = FaultySysroot()
    whole = read_device(reads, PATH, LISTED_IN)
    assert whole is not None
    count = len([path for path in reads.reads if f"{path}/".startswith(f"{PATH}/")])
    assert count == 5  # itself, mdev_type, iommu_group, vfio-dev, driver
    for at in range(1, count + 1):
        assert read_device(FaultySysroot(vanishing=PATH, at=at), PATH, LISTED_IN) is None
        make(tree)
    assert read_device(Sysroot(), PATH, LISTED_IN) == whole


def test_mdev_whose_parent_vanishes_is_no_device(tree: Tree, parent: str) -> None:
    """The type and the mdev go with the parent: no incomplete mdev is left."""
    make(tree)
    reads = FaultySysroot()
    assert read_device(reads, PATH, LISTED_IN) is not None
    of_parent = [path for path in reads.reads if path.startswith(PARENT)]
    for at in range(1, len(of_parent) + 1):
        sysroot = FaultySysroot(vanishing=PARENT, at=at)
        assert read_device(sysroot, PATH, LISTED_IN) is None
        path = tree.pci("0000:00:02.0", vendor=0x10DE, device=0x25B6, class_=0x030200)
        tree.mdev_type(path, "nvidia-746", name="NVIDIA A2-4Q")
        make(tree)


def test_link_to_an_mdev_that_is_gone_is_no_device(tree: Tree, parent: str) -> None:
    """The bus may still list a device whose directory is gone."""
    path = make(tree)
    tree.remove(path)
    assert NAME not in scan(Sysroot()).names


# Defined


DEFINITION = f"/etc/mdevctl.d/0000:00:02.0/{UUID}"


def test_whole_mdev_shows_its_definition(tree: Tree, parent: str) -> None:
    """Attributes are in mdevctl's order, a name may come again, and any text is a value."""
    make(tree)
    values = [("assign_adapter", "5"), ("a<b", "'&\"\n"), ("assign_adapter", "")]
    tree.definition("0000:00:02.0", UUID, "nvidia-746", start="auto", attributes=values)
    found = device()
    assert (mdev(found).defined, mdev(found).autostart) == (True, True)
    definition = mdev(found).definition
    assert definition is not None
    assert [(one.name, one.value) for one in definition.attributes] == values
    assert (mdev(found).state, mdev(found).waits_for, found.errors) == ("complete", None, ())
    root = validate(native_xml(found))
    assert attributes(find(root, "capability/defined")) == {"autostart": "yes"}
    assert [
        (one.get("name"), one.get("value")) for one in root.findall("capability/defined/attr")
    ] == values


def test_inactive_mdev_shows_each_field(tree: Tree, parent: str) -> None:
    """It has the type of its definition, and no value of a device."""
    tree.definition("0000:00:02.0", UUID, "nvidia-746", attributes=[("a", "1"), ("b", "2")])
    found = device()
    assert (found.subsystem, found.sysname, found.driver) == ("mdev", UUID, None)
    assert mdev(found) == MdevChild(
        uuid=UUID,
        mdev_type=MdevChildType("nvidia-746", "NVIDIA A2-4Q", "vfio-pci"),
        parent="pci_0000_00_02_0",
        parent_addr="0000:00:02.0",
        parent_path=PARENT,
        iommu_group=None,
        vfio_device=None,
        state="inactive",
        attributes=(MdevAttribute("a", "1"), MdevAttribute("b", "2")),
        defined=True,
        definition=Definition(
            "nvidia-746",
            autostart=False,
            attributes=(MdevAttribute("a", "1"), MdevAttribute("b", "2")),
        ),
        waits_for=None,
    )
    text = native_xml(found)
    validate(text)
    assert text == (
        "<device>\n"
        f"  <name>{NAME}</name>\n"
        f"  <path>{DEFINITION}</path>\n"
        "  <parent>pci_0000_00_02_0</parent>\n"
        "  <capability type='mdev_child'>\n"
        f"    <uuid>{UUID}</uuid>\n"
        "    <type id='nvidia-746'>\n"
        "      <name>NVIDIA A2-4Q</name>\n"
        "      <deviceAPI>vfio-pci</deviceAPI>\n"
        "    </type>\n"
        "    <parent>pci_0000_00_02_0</parent>\n"
        "    <parent_addr>0000:00:02.0</parent_addr>\n"
        "    <state>inactive</state>\n"
        "    <attr name='a' value='1'/>\n"
        "    <attr name='b' value='2'/>\n"
        "    <defined autostart='no'/>\n"
        "  </capability>\n"
        "</device>\n"
    )


def test_definition_for_another_parent_is_another_device(tree: Tree, parent: str) -> None:
    """The active one has no definition then."""
    make(tree)
    tree.definition("0000:00:03.0", UUID, "nvidia-746")
    found = [mdev(one) for one in scan(Sysroot()).select(["mdev_child"])]
    assert [(one.state, one.defined, one.parent_addr) for one in found] == [
        ("complete", False, "0000:00:02.0"),
        ("inactive", True, "0000:00:03.0"),
    ]


@pytest.mark.parametrize(
    "type_id",
    ["nvidia-1", "", ".", "..", "../..", "/", "nvidia-746/", "nvidia-746\0", "x" * 5000, "\udbff"],
)
def test_type_that_is_not_offered_is_waited_for(tree: Tree, parent: str, type_id: str) -> None:
    """A definition can have any text as type; none leads out of the parent's types."""
    tree.file(DEFINITION, json.dumps({"mdev_type": type_id, "start": "auto"}))
    found = device()
    if type_id == "\udbff":  # half a character is no JSON
        assert mdev(found).mdev_type is None
    else:
        assert mdev(found).mdev_type == MdevChildType(type_id, None, None)
        assert (mdev(found).waits_for, found.errors) == ("type", ())
    root = validate(native_xml(found))
    assert len(find(root, "capability/type")) == 0
    msgspec.json.encode(found)


def test_definition_whose_parent_has_no_capacity_waits_for_it(tree: Tree, parent: str) -> None:
    """The parent has no instance left."""
    tree.mdev_type(parent, "nvidia-746", available=0)
    tree.definition("0000:00:02.0", UUID, "nvidia-746")
    found = device()
    assert mdev(found).waits_for == "capacity"
    assert validate(native_xml(found)).findtext("capability/waitsFor") == "capacity"


def test_definition_whose_parent_is_absent_waits_for_it(tree: Tree) -> None:
    """Only the id of its type is known."""
    tree.definition("0000:00:02.0", UUID, "nvidia-746")
    found = device()
    assert found.parent == "computer"
    assert (mdev(found).parent, mdev(found).parent_path) == (None, None)
    assert mdev(found).mdev_type == MdevChildType("nvidia-746", None, None)
    root = validate(native_xml(found))
    assert root.findtext("capability/waitsFor") == "parent"
    assert root.find("capability/parent") is None


def test_capacity_that_cannot_be_read_is_not_waited_for(tree: Tree, parent: str) -> None:
    """It is unknown, with an error."""
    tree.definition("0000:00:02.0", UUID, "nvidia-746")
    found = device(FaultySysroot(errors={f"{TYPE}/available_instances": errno.EIO}))
    assert mdev(found).waits_for is None
    assert [(one.attribute, one.code) for one in found.errors] == [
        ("mdev_type/available_instances", "unreadable")
    ]


@pytest.mark.parametrize(
    ("number", "code"), [(errno.EACCES, "refused"), (errno.EIO, "unreadable"), (0, "malformed")]
)
@pytest.mark.parametrize("active", [False, True])
def test_definition_that_cannot_be_read_is_unknown(
    tree: Tree, parent: str, active: bool, number: int, code: str
) -> None:
    """It is defined; the content is unknown, and the error names the file."""
    if active:
        make(tree)
    tree.file(DEFINITION, '{"mdev_type"')
    found = device(FaultySysroot(errors={DEFINITION: number} if number else {}))
    assert (mdev(found).defined, mdev(found).autostart) == (True, None)
    assert (mdev(found).attributes, mdev(found).waits_for) == ((), None)
    assert (mdev(found).mdev_type is not None) == active
    # Of an inactive one the definition is the device itself.
    assert [(one.attribute, one.code) for one in found.errors] == [
        (DEFINITION if active else "", code)
    ]
    root = validate(native_xml(found))
    assert attributes(find(root, "capability/defined")) == {"autostart": "unknown"}


@pytest.mark.parametrize(
    ("path", "bus", "address"),
    [
        ("/sys/devices/pci0000:00/0000:00:03.0", "pci", "0000:00:03.0"),
        ("/sys/devices/css0/0.0.0314", "css", "0.0.0314"),
        ("/sys/devices/vfio_ap/matrix", "matrix", "matrix"),
        ("/sys/devices/qeth/0.0.bd00", "ccwgroup", "0.0.bd00"),
    ],
)
def test_parent_that_is_no_mdev_parent_now_is_the_parent_all_the_same(
    tree: Tree, path: str, bus: str, address: str
) -> None:
    """The device of that kernel name: its driver may be another one, or offer vGPUs otherwise."""
    if bus == "pci":
        tree.pci(address, vendor=0x10DE, device=0x26B9, class_=0x030200, driver="nvidia")
    else:
        tree.device(path, bus=bus, driver="other")
    definition = tree.definition(address, UUID, "nvidia-746", start="auto")
    found = device()
    above = scan(Sysroot()).lookup(path)
    assert (found.path, found.parent) == (definition, above.name)
    assert (mdev(found).parent, mdev(found).parent_path) == (above.name, path)
    assert mdev(found).mdev_type == MdevChildType("nvidia-746", None, None)
    assert (mdev(found).waits_for, found.errors) == ("registration", ())
    root = validate(native_xml(found))
    assert root.findtext("capability/waitsFor") == "registration"
    assert root.findtext("parent") == above.name


def test_definition_follows_its_parent_that_comes_registers_and_goes(tree: Tree) -> None:
    """Each step is noticed with the parent, which has an event."""
    sysroot = Sysroot()
    tree.directory("/sys")
    tree.definition("0000:00:02.0", UUID, "nvidia-746")
    snapshot = scan(sysroot)
    assert mdev(snapshot.lookup(NAME)).waits_for == "parent"

    def step() -> tuple[str | None, str | None]:
        nonlocal snapshot
        snapshot = update(sysroot, snapshot, {PARENT}).snapshot
        assert list(snapshot) == list(scan(Sysroot()))
        found = snapshot.lookup(NAME)
        return found.parent, mdev(found).waits_for

    tree.pci("0000:00:02.0", vendor=0x10DE, device=0x25B6, class_=0x030200)
    assert step() == ("pci_0000_00_02_0", "registration")
    tree.mdev_type(PARENT, "nvidia-746", name="NVIDIA A2-4Q")
    tree.mdev_parent(PARENT)
    assert step() == ("pci_0000_00_02_0", None)
    tree.remove("/sys/class/mdev_bus/0000:00:02.0")
    tree.remove(f"{PARENT}/mdev_supported_types")
    assert step() == ("pci_0000_00_02_0", "registration")
    tree.remove("/sys/bus/pci/devices/0000:00:02.0")
    tree.remove(PARENT)
    assert step() == ("computer", "parent")


@pytest.mark.parametrize(
    ("host", "uuid", "parent"),
    [
        (
            "vendor-vfio-with-mdev-definitions",
            "0b9f3f5c-7d1e-4b7a-9c39-6f1f8f1f0701",
            "pci_0000_26_00_4",
        ),
        (
            "dasd-left-to-io-subchannel",
            "7e270a25-e163-4922-af60-757fc8ed3102",
            "css_0_0_0314",
        ),
    ],
)
def test_definition_of_a_sample_host_is_below_its_parent(host: str, uuid: str, parent: str) -> None:
    """In both formats, as libvirt has it."""
    snapshot = snapshot_of(host)
    found = snapshot.lookup(uuid)
    assert (found.parent, mdev(found).parent) == (parent, parent)
    assert mdev(found).waits_for == "registration"
    assert FORMATS["libvirt"].placed(found, snapshot).parent == parent


# What runs, and what is defined


def test_mdev_of_a_sample_host_runs_as_another_type_than_is_defined() -> None:
    """Libvirt's document of what runs has the one, that of the definition the other."""
    snapshot = snapshot_of("mdev-modified-while-it-runs")
    found = snapshot.lookup("1d7f0c3a-2b41-4a6e-8f35-5b6c7d8e1101")
    libvirt = FORMATS["libvirt"]
    runs, defined = [
        etree.fromstring(str(libvirt.written(libvirt.placed(one, snapshot))))
        for one in (found, as_defined(found))
    ]
    assert find(runs, "capability/type").get("id") == "nvidia-283"
    assert runs.find("capability/attr") is None
    assert find(defined, "capability/type").get("id") == "nvidia-46"
    assert attributes(find(defined, "capability/attr")) == {
        "name": "nvidia/vgpu_params",
        "value": "frame_rate_limiter=0",
    }


def test_definition_that_differs_from_what_runs_is_shown_beside_it(tree: Tree, parent: str) -> None:
    """Mdevctl modify changes the definition alone; the running device is as it was started."""
    make(tree)
    tree.definition("0000:00:02.0", UUID, "nvidia-745", attributes=[("nvidia/vgpu_params", "x=0")])
    found = device()
    assert mdev(found).mdev_type == MdevChildType("nvidia-746", "NVIDIA A2-4Q", "vfio-pci")
    assert mdev(found).attributes == ()
    assert mdev(found).definition == Definition(
        "nvidia-745", autostart=False, attributes=(MdevAttribute("nvidia/vgpu_params", "x=0"),)
    )
    root = validate(native_xml(found))
    assert find(root, "capability/type").get("id") == "nvidia-746"
    assert root.find("capability/attr") is None
    assert find(root, "capability/defined/type").get("id") == "nvidia-745"
    assert attributes(find(root, "capability/defined/attr")) == {
        "name": "nvidia/vgpu_params",
        "value": "x=0",
    }
    inactive = as_defined(found)
    assert mdev(inactive).mdev_type == MdevChildType("nvidia-745", None, None)
    assert mdev(inactive).attributes == (MdevAttribute("nvidia/vgpu_params", "x=0"),)
    assert (mdev(inactive).state, mdev(inactive).iommu_group) == ("inactive", None)


MATRIX = "/sys/devices/vfio_ap/matrix"


def crypto(tree: Tree, matrix: str, control_domains: str) -> str:
    """Make a running vfio-ap mdev, which has a definition."""
    tree.device(MATRIX, bus="matrix", driver="vfio_ap")
    tree.mdev_type(MATRIX, "vfio_ap-passthrough", device_api="vfio-ap")
    tree.mdev_parent(MATRIX)
    tree.definition("matrix", UUID, "vfio_ap-passthrough", attributes=[("assign_adapter", "9")])
    files = {"matrix": matrix, "control_domains": control_domains}
    return tree.mdev(MATRIX, UUID, "vfio_ap-passthrough", driver="vfio_ap_mdev", attributes=files)


@pytest.mark.parametrize(
    ("matrix", "control_domains", "expected"),
    [
        ("", "", []),
        ("05.", "", [("assign_adapter", "5")]),
        (".0047", "00ab", [("assign_domain", "71"), ("assign_control_domain", "171")]),
        (
            "05.0004\n05.0047\nff.0004\nff.0047",
            "0004\n00ff",
            [
                ("assign_adapter", "5"),
                ("assign_adapter", "255"),
                ("assign_domain", "4"),
                ("assign_domain", "71"),
                ("assign_control_domain", "4"),
                ("assign_control_domain", "255"),
            ],
        ),
    ],
)
def test_matrix_of_a_running_vfio_ap_device_is_read_from_it(
    tree: Tree, matrix: str, control_domains: str, expected: list[tuple[str, str]]
) -> None:
    """As the attributes that would make the same device; the definition has its own."""
    crypto(tree, matrix, control_domains)
    found = device()
    assert [(one.name, one.value) for one in mdev(found).attributes] == expected
    queues = [line for line in matrix.split("\n") if len(line) == len("05.0004")]
    assert list(mdev(found).queues) == queues
    definition = mdev(found).definition
    assert definition is not None
    assert definition.attributes == (MdevAttribute("assign_adapter", "9"),)
    assert found.errors == ()
    validate(native_xml(found))


@pytest.mark.parametrize(
    ("name", "text"),
    [("matrix", "x"), ("matrix", "5.4"), ("control_domains", "1ffff"), ("control_domains", "g")],
)
def test_matrix_that_makes_no_sense_is_a_fault(tree: Tree, name: str, text: str) -> None:
    """What could be read is shown."""
    path = crypto(tree, "05.0004", "0004")
    tree.attributes(path, {name: text})
    assert device().errors == (Fault(name, "malformed", text),)


def test_matrix_that_changed_is_read_again_on_request(tree: Tree) -> None:
    """A change of the matrix sends no event."""
    path = crypto(tree, "05.0004", "")
    assert device().is_volatile
    cap = mdev(device())
    assert reread_volatile(Sysroot(), path, cap) is cap
    tree.attributes(path, {"matrix": "06.0004"})
    again = reread_volatile(Sysroot(), path, cap)
    assert again is not None
    assert again.attributes[0] == MdevAttribute("assign_adapter", "6")
    assert reread_volatile(FaultySysroot(errors={f"{path}/matrix": errno.EIO}), path, cap) is None
    tree.begin_removal(path)
    assert reread_volatile(Sysroot(), path, cap) is None
