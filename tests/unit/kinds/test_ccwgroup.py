"""ccwgroup: CCW devices that work as one."""

from __future__ import annotations

import errno

import msgspec
import pytest

from nodedevd.host.faults import Fault
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.ccwgroup import CcwGroup, CcwMember, Qeth
from nodedevd.model.device import Device
from nodedevd.tree.read import read_device, scan
from nodedevd.tree.update import update
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree, Value
from tests.support.xml import attributes, find, native_xml, validate

PATH = "/sys/devices/qeth/0.0.bd00"


def group(
    tree: Tree, *, devtype: str | None = "qeth_layer2", members: int = 3, **changed: Value | None
) -> str:
    """Make a group; attributes that are None are left out."""
    values = {"online": 1, "card_type": "OSD_1000", "chpid": "7A", **changed}
    tree.device(
        PATH,
        bus="ccwgroup",
        driver="qeth",
        uevent={"DEVTYPE": devtype} if devtype else None,
        attributes={key: value for key, value in values.items() if value is not None},
    )
    for number in range(members):
        busid = f"0.0.bd{number:02x}"
        tree.kernel_link(f"{PATH}/cdev{number}", f"/sys/devices/css0/0.0.00{number:02x}/{busid}")
    return PATH


def device(sysroot: Sysroot | None = None) -> Device:
    """Scan the host and return its group."""
    return scan(sysroot or Sysroot()).lookup("ccwgroup_0_0_bd00")


def ccwgroup(of: Device) -> CcwGroup:
    """Return the capability, and expect it."""
    found = of.capability(CcwGroup)
    assert found is not None
    return found


def test_whole_group_shows_each_field(tree: Tree) -> None:
    """Every attribute is in its field; XML is the same as libvirt's."""
    group(tree)
    found = device()
    assert (found.path, found.driver, found.errors) == (PATH, "qeth", ())
    assert ccwgroup(found) == CcwGroup(
        state="online",
        address="0.0.bd00",
        members=(
            CcwMember("cdev0", "ccw_0_0_bd00"),
            CcwMember("cdev1", "ccw_0_0_bd01"),
            CcwMember("cdev2", "ccw_0_0_bd02"),
        ),
        qeth=Qeth(layer="qeth_layer2", card_type="OSD_1000", chpid="7A"),
    )
    text = native_xml(found)
    validate(text)
    assert text.partition("  <capability")[2] == (
        " type='ccwgroup'>\n"
        "    <state>online</state>\n"
        "    <cssid>0x0</cssid>\n"
        "    <ssid>0x0</ssid>\n"
        "    <devno>0xbd00</devno>\n"
        "    <members>\n"
        "      <ccw_device ref='cdev0'>ccw_0_0_bd00</ccw_device>\n"
        "      <ccw_device ref='cdev1'>ccw_0_0_bd01</ccw_device>\n"
        "      <ccw_device ref='cdev2'>ccw_0_0_bd02</ccw_device>\n"
        "    </members>\n"
        "    <capability type='qeth_layer2'>\n"
        "      <card_type>OSD_1000</card_type>\n"
        "      <chpid>7A</chpid>\n"
        "    </capability>\n"
        "  </capability>\n"
        "</device>\n"
    )


def test_members_are_in_the_order_of_their_numbers(tree: Tree) -> None:
    """cdev10 comes after cdev9, whatever the directory's order."""
    group(tree, members=12)
    refs = [member.ref for member in ccwgroup(device()).members]
    assert refs == [f"cdev{number}" for number in range(12)]


@pytest.mark.parametrize("devtype", ["qeth_generic", "qeth_layer2", "qeth_layer3"])
def test_devtype_tells_the_layer_of_qeth(tree: Tree, devtype: str) -> None:
    """It is generic until the adapter was set online for the first time."""
    group(tree, devtype=devtype)
    inner = find(validate(native_xml(device())), "capability/capability")
    assert attributes(inner) == {"type": devtype}


@pytest.mark.parametrize("devtype", [None, "lcs"])
def test_group_of_another_driver_is_shown_without_qeth(tree: Tree, devtype: str | None) -> None:
    """It has no channel path, and this is not a fault."""
    group(tree, devtype=devtype, card_type=None, chpid=None)
    found = device()
    assert (ccwgroup(found).qeth, found.errors) == (None, ())
    assert validate(native_xml(found)).find("capability/capability") is None


def test_group_without_members_is_shown(tree: Tree) -> None:
    """The kernel makes the links after the device."""
    group(tree, members=0, online=0)
    found = device()
    assert (ccwgroup(found).members, ccwgroup(found).state, found.errors) == ((), "offline", ())
    assert validate(native_xml(found)).find("capability/members") is None


@pytest.mark.parametrize("attribute", ["online", "card_type", "chpid"])
def test_missing_attribute_is_a_fault(tree: Tree, attribute: str) -> None:
    """All of these are promised of an adapter of qeth; no text is made up for one."""
    group(tree)
    tree.remove(f"{PATH}/{attribute}")
    found = device()
    assert found.errors == (Fault(attribute, "absent", ""),)
    root = validate(native_xml(found))
    assert len(root.findall(".//*[@state='unknown']")) == 1


def test_state_that_makes_no_sense_is_a_fault(tree: Tree) -> None:
    """The kernel's values are 0 and 1."""
    group(tree, online="maybe")
    assert ccwgroup(device()).state is None
    assert device().errors == (Fault("online", "malformed", "maybe"),)
    validate(native_xml(device()))


def test_member_that_is_no_link_is_left_out(tree: Tree) -> None:
    """The other members are read, and the malformed one is a fault."""
    group(tree)
    tree.file(f"{PATH}/cdev1", "no link")
    found = device()
    assert [member.ref for member in ccwgroup(found).members] == ["cdev0", "cdev2"]
    assert found.errors == (Fault("cdev1", "malformed", "not a link"),)
    validate(native_xml(found))


def test_group_whose_name_is_no_address_is_shown_without(tree: Tree) -> None:
    """Its members are read all the same."""
    tree.device("/sys/devices/qeth/odd", bus="ccwgroup", attributes={"online": 0})
    (found,) = scan(Sysroot()).select(["ccwgroup"])
    assert (ccwgroup(found).address, ccwgroup(found).state) == (None, "offline")
    assert [(one.attribute, one.code) for one in found.errors] == [("", "malformed")]
    validate(native_xml(found))


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, "refused"), (errno.EIO, "unreadable")])
@pytest.mark.parametrize(
    ("attribute", "element"),
    [("online", "state"), ("card_type", "card_type"), ("chpid", "chpid"), ("cdev1", None)],
)
def test_attribute_that_cannot_be_read_costs_no_other(
    tree: Tree, attribute: str, element: str | None, number: int, code: str
) -> None:
    """One error of the driver makes one field unknown."""
    group(tree)
    found = device(FaultySysroot(errors={f"{PATH}/{attribute}": number}))
    assert [(one.attribute, one.code) for one in found.errors] == [(attribute, code)]
    root = validate(native_xml(found))
    unknown = [one.tag for one in root.findall(".//*[@state='unknown']")]
    assert unknown == ([] if element is None else [element])
    assert msgspec.json.decode(msgspec.json.encode(found), type=Device) == found


def test_group_removed_while_read_is_no_device(tree: Tree) -> None:
    """A group removed at any point of its read is dropped, without an error."""
    listed_in = ["/sys/bus/ccwgroup/devices"]
    group(tree)
    reads = FaultySysroot()
    whole = read_device(reads, PATH, listed_in)
    assert whole is not None
    count = len([path for path in reads.reads if f"{path}/".startswith(f"{PATH}/")])
    assert count == 9  # itself, online, three links, uevent, card_type, chpid, driver
    for at in range(1, count + 1):
        assert read_device(FaultySysroot(vanishing=PATH, at=at), PATH, listed_in) is None
        group(tree)
    assert read_device(Sysroot(), PATH, listed_in) == whole


def test_group_that_goes_online_is_read_with_its_interface_and_its_members(tree: Tree) -> None:
    """`online` sends no event: the interface that comes and goes does."""
    group(tree, online=0)
    members = [f"/sys/devices/css0/0.0.00{number:02x}/0.0.bd{number:02x}" for number in range(3)]
    for path in members:
        tree.device(path, bus="ccw", driver="qeth", attributes={"online": 0})
    sysroot = Sysroot()
    snapshot = scan(sysroot)
    for online in (1, 0):
        if online:
            interface = tree.net("encbd00", parent=PATH)
        else:
            tree.remove("/sys/class/net/encbd00")
            tree.remove(interface)
        for path in (PATH, *members):
            tree.attributes(path, {"online": online})
        snapshot = update(sysroot, snapshot, {interface}).snapshot
        assert list(snapshot) == list(scan(Sysroot()))
        state = "online" if online else "offline"
        assert ccwgroup(snapshot.lookup(PATH)).state == state


def test_disk_that_comes_has_its_device_read(tree: Tree) -> None:
    """A DASD that is set online gets its block device."""
    path = tree.device("/sys/devices/css0/0.0.0001/0.0.1234", bus="ccw", attributes={"online": 0})
    sysroot = Sysroot()
    before = scan(sysroot)
    tree.attributes(path, {"online": 1})
    disk = tree.block("dasda", above=f"{path}/block", device=path)
    after = update(sysroot, before, {disk}).snapshot
    assert list(after) == list(scan(Sysroot()))
