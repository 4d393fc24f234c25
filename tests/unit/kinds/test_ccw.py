"""ccw: one I/O device of an IBM Z, alone and in a group."""

from __future__ import annotations

import errno

import msgspec
import pytest

from nodedevd.host.faults import Fault
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.ccw import Ccw
from nodedevd.model.device import Device
from nodedevd.tree.read import read_device, scan
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree, Value
from tests.support.xml import native_xml, validate

PATH = "/sys/devices/css0/0.0.0010/0.0.bd00"
GROUP = "/sys/devices/qeth/0.0.bd00"


def ccw(tree: Tree, *, path: str = PATH, group: str | None = None, **changed: Value | None) -> str:
    """Make a device that is online; attributes that are None are left out."""
    values = {"online": 1, "cutype": "1731/01", "devtype": "1732/01", **changed}
    present = {key: value for key, value in values.items() if value is not None}
    tree.device(path, bus="ccw", driver="qeth", attributes=present)
    if group is not None:
        tree.kernel_link(f"{path}/group_device", group)
    return path


def device(sysroot: Sysroot | None = None) -> Device:
    """Scan the host and return its device."""
    return scan(sysroot or Sysroot()).lookup("ccw_0_0_bd00")


def capability(of: Device) -> Ccw:
    """Return the capability, and expect it."""
    found = of.capability(Ccw)
    assert found is not None
    return found


def test_whole_device_shows_each_field(tree: Tree) -> None:
    """Every attribute is in its field; XML has libvirt's elements in its order, then the others."""
    ccw(tree, group=GROUP)
    found = device()
    assert (found.path, found.driver, found.errors) == (PATH, "qeth", ())
    assert capability(found) == Ccw(
        state="online",
        address="0.0.bd00",
        group_device="ccwgroup_0_0_bd00",
        cutype="1731/01",
        devtype="1732/01",
    )
    text = native_xml(found)
    validate(text)
    assert text.partition("  <capability")[2] == (
        " type='ccw'>\n"
        "    <state>online</state>\n"
        "    <cssid>0x0</cssid>\n"
        "    <ssid>0x0</ssid>\n"
        "    <devno>0xbd00</devno>\n"
        "    <capability type='ccwgroup_member'>\n"
        "      <group_device>ccwgroup_0_0_bd00</group_device>\n"
        "    </capability>\n"
        "    <cutype>1731/01</cutype>\n"
        "    <devtype>1732/01</devtype>\n"
        "  </capability>\n"
        "</device>\n"
    )


def test_device_that_is_offline_is_shown(tree: Tree) -> None:
    """It is there, and could be set online."""
    ccw(tree, online=0)
    found = device()
    assert (capability(found).state, found.errors) == ("offline", ())
    assert validate(native_xml(found)).findtext("capability/state") == "offline"


def test_filter_finds_members_of_groups(tree: Tree) -> None:
    """The word `ccwgroup_member` is for the devices that are in one."""
    ccw(tree, group=GROUP)
    ccw(tree, path="/sys/devices/css0/0.0.0001/0.0.1000")
    snapshot = scan(Sysroot())
    assert [one.name for one in snapshot.select(["ccwgroup_member"])] == ["ccw_0_0_bd00"]
    assert len(snapshot.select(["ccw"])) == 2
    assert capability(snapshot.lookup("ccw_0_0_1000")).group_device is None


@pytest.mark.parametrize(
    ("address", "numbers"),
    [("fe.3.ffff", ("0xfe", "0x3", "0xffff")), ("0.1.00a0", ("0x0", "0x1", "0x00a0"))],
)
def test_numbers_of_an_address_are_hex(
    tree: Tree, address: str, numbers: tuple[str, str, str]
) -> None:
    """As libvirt writes them: the device number alone is filled up with zeros."""
    ccw(tree, path=f"/sys/devices/css0/0.0.0001/{address}")
    (found,) = scan(Sysroot()).select(["ccw"])
    assert capability(found).address == address
    root = validate(native_xml(found))
    tags = ("cssid", "ssid", "devno")
    assert tuple(root.findtext(f"capability/{tag}") for tag in tags) == numbers


@pytest.mark.parametrize("name", ["0.0.bd0", "0.4.bd00", "100.0.bd00", "0.0.BD00", "x"])
def test_device_whose_name_is_no_address_is_shown_without(tree: Tree, name: str) -> None:
    """The other values are read."""
    ccw(tree, path=f"/sys/devices/css0/0.0.0001/{name}")
    (found,) = scan(Sysroot()).select(["ccw"])
    assert (capability(found).address, capability(found).state) == (None, "online")
    assert [(one.attribute, one.code) for one in found.errors] == [("", "malformed")]
    assert validate(native_xml(found)).find("capability/devno") is None


@pytest.mark.parametrize("online", ["2", "-1", "yes", "01"])
def test_state_that_makes_no_sense_is_a_fault(tree: Tree, online: str) -> None:
    """The kernel's values are 0 and 1."""
    ccw(tree, online=online)
    found = device()
    assert capability(found).state is None
    assert found.errors == (Fault("online", "malformed", online),)
    validate(native_xml(found))


def test_missing_state_is_a_fault(tree: Tree) -> None:
    """The ABI promises it; the device is shown."""
    ccw(tree, online=None)
    assert device().errors == (Fault("online", "absent", ""),)
    validate(native_xml(device()))


def test_device_of_unknown_types_has_none(tree: Tree) -> None:
    """Attributes that the kernel does not have are left out."""
    ccw(tree, cutype=None, devtype="")
    found = device()
    assert (capability(found).cutype, capability(found).devtype) == (None, None)
    assert found.errors == ()
    root = validate(native_xml(found))
    assert root.find("capability/cutype") is None
    assert root.find("capability/devtype") is None


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, "refused"), (errno.EIO, "unreadable")])
@pytest.mark.parametrize(
    ("attribute", "element"),
    [("online", "state"), ("cutype", "cutype"), ("devtype", "devtype"), ("group_device", None)],
)
def test_attribute_that_cannot_be_read_costs_no_other(
    tree: Tree, attribute: str, element: str | None, number: int, code: str
) -> None:
    """One error of the driver makes one field unknown."""
    ccw(tree, group=GROUP)
    found = device(FaultySysroot(errors={f"{PATH}/{attribute}": number}))
    assert [(one.attribute, one.code) for one in found.errors] == [(attribute, code)]
    root = validate(native_xml(found))
    unknown = [one.tag for one in root.findall("capability/*[@state='unknown']")]
    assert unknown == ([] if element is None else [element])
    assert msgspec.json.decode(msgspec.json.encode(found), type=Device) == found


def test_device_removed_while_read_is_no_device(tree: Tree) -> None:
    """A device removed at any point of its read is dropped, without an error."""
    listed_in = ["/sys/bus/ccw/devices"]
    ccw(tree, group=GROUP)
    reads = FaultySysroot()
    whole = read_device(reads, PATH, listed_in)
    assert whole is not None
    count = len([path for path in reads.reads if f"{path}/".startswith(f"{PATH}/")])
    assert count == 6  # itself, online, group_device, cutype, devtype, driver
    for at in range(1, count + 1):
        assert read_device(FaultySysroot(vanishing=PATH, at=at), PATH, listed_in) is None
        ccw(tree, group=GROUP)
    assert read_device(Sysroot(), PATH, listed_in) == whole
