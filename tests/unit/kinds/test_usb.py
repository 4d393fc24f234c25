"""usb: one interface of a USB device."""

from __future__ import annotations

import errno

import pytest

from nodedevd.host.faults import Fault
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.usb import Usb
from nodedevd.kinds.usb_device import UsbDevice
from nodedevd.model.device import Device
from nodedevd.tree.read import read_device, scan
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree, Value
from tests.support.xml import native_xml, validate

PATH = "/sys/devices/pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0"
LISTED_IN = ["/sys/bus/usb/devices"]
CODES: dict[str, Value] = {
    "bInterfaceNumber": "10",
    "bInterfaceClass": "e0",
    "bInterfaceSubClass": "01",
    "bInterfaceProtocol": "ff",
}


def interface(tree: Tree, **changed: Value | None) -> str:
    """Make an interface; attributes that are None are left out."""
    values = {key: value for key, value in {**CODES, **changed}.items() if value is not None}
    uevent = {"DEVTYPE": "usb_interface"}
    return tree.device(PATH, bus="usb", driver="btusb", uevent=uevent, attributes=values)


def device(sysroot: Sysroot | None = None) -> Device:
    """Scan the host and return its interface."""
    return scan(sysroot or Sysroot()).lookup("usb_1_1_1_0")


def usb(of: Device) -> Usb:
    """Return the capability, and expect it."""
    found = of.capability(Usb)
    assert found is not None
    return found


def test_whole_interface_shows_each_field(tree: Tree) -> None:
    """The kernel's numbers are hex, those of XML and JSON are not."""
    interface(tree, interface="Bluetooth")
    found = device()
    assert (found.path, found.driver, found.devnode) == (PATH, "btusb", None)
    assert (found.types, found.errors) == (("usb",), ())
    assert usb(found) == Usb(
        number=16,
        interface_class=224,
        interface_subclass=1,
        interface_protocol=255,
        description="Bluetooth",
    )
    text = native_xml(found)
    validate(text)
    assert text.partition("  <capability")[2] == (
        " type='usb'>\n"
        "    <number>16</number>\n"
        "    <class>224</class>\n"
        "    <subclass>1</subclass>\n"
        "    <protocol>255</protocol>\n"
        "    <description>Bluetooth</description>\n"
        "  </capability>\n"
        "</device>\n"
    )


def test_interface_without_a_name_has_no_description(tree: Tree) -> None:
    """Most interfaces have no description, and some an empty one."""
    interface(tree)
    assert (usb(device()).description, device().errors) == (None, ())
    interface(tree, interface="")
    assert validate(native_xml(device())).find("capability/description") is None


def test_device_and_interface_are_told_apart_by_name(tree: Tree) -> None:
    """The name of an interface has a colon, that of a device does not; uevents are not used."""
    path = interface(tree)
    tree.file(f"{path}/uevent")
    tree.device(path.rpartition("/")[0], bus="usb")
    snapshot = scan(Sysroot())
    assert snapshot.lookup("usb_1_1_1_0").types == ("usb",)
    assert snapshot.lookup("usb_1_1").types == ("usb_device",)
    assert snapshot.lookup("usb_1_1_1_0").parent == "usb_1_1"
    assert [one.name for one in snapshot.select(["usb"])] == ["usb_1_1_1_0"]
    assert snapshot.lookup("usb_1_1").capability(UsbDevice) is not None


@pytest.mark.parametrize("attribute", sorted(CODES))
@pytest.mark.parametrize("text", ["100", "zz", "-1"])
def test_code_that_is_no_byte_is_a_fault(tree: Tree, attribute: str, text: str) -> None:
    """Each of the numbers is a byte of a descriptor."""
    interface(tree, **{attribute: text})
    found = device()
    assert found.errors == (Fault(attribute, "malformed", text),)
    assert len(validate(native_xml(found)).findall("capability/*[@state='unknown']")) == 1


@pytest.mark.parametrize("attribute", sorted(CODES))
def test_missing_code_is_a_fault(tree: Tree, attribute: str) -> None:
    """The ABI promises all four."""
    interface(tree, **{attribute: None})
    found = device()
    assert found.errors == (Fault(attribute, "absent", ""),)
    assert len(validate(native_xml(found)).findall("capability/*[@state='unknown']")) == 1


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, "refused"), (errno.EIO, "unreadable")])
@pytest.mark.parametrize("attribute", [*sorted(CODES), "interface"])
def test_attribute_that_cannot_be_read_costs_no_other(
    tree: Tree, attribute: str, number: int, code: str
) -> None:
    """One error of the driver makes one field unknown."""
    interface(tree, interface="Bluetooth")
    found = device(FaultySysroot(errors={f"{PATH}/{attribute}": number}))
    assert [(one.attribute, one.code) for one in found.errors] == [(attribute, code)]
    root = validate(native_xml(found))
    assert len(root.findall("capability/*[@state='unknown']")) == 1
    assert len(root.findall("capability/*")) == 5


def test_interface_removed_while_read_is_no_device(tree: Tree) -> None:
    """An interface removed at any point of its read is dropped, without an error."""
    interface(tree)
    reads = FaultySysroot()
    whole = read_device(reads, PATH, LISTED_IN)
    assert whole is not None
    count = len([path for path in reads.reads if f"{path}/".startswith(f"{PATH}/")])
    assert count == 6  # itself, the four codes, driver
    for at in range(1, count + 1):
        assert read_device(FaultySysroot(vanishing=PATH, at=at), PATH, LISTED_IN) is None
        interface(tree)
    assert read_device(Sysroot(), PATH, LISTED_IN) == whole
