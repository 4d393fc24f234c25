"""usb_device: one USB device, with and without udevd."""

from __future__ import annotations

import errno
from pathlib import Path

import msgspec
import pytest

from nodedevd.host.faults import Fault
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.base import HardwareId
from nodedevd.kinds.usb_device import UsbDevice
from nodedevd.model.device import Device
from nodedevd.tree.read import read_device, scan
from nodedevd.tree.record import record
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree, Value
from tests.support.xml import attributes, find, native_xml, validate

PATH = "/sys/devices/pci0000:00/0000:00:14.0/usb1/1-1.4"
LISTED_IN = ["/sys/bus/usb/devices"]
ATTRIBUTES: dict[str, Value] = {
    "busnum": 1,
    "devnum": 5,
    "idVendor": "0781",
    "idProduct": "5581",
    "manufacturer": "SanDisk",
    "product": "Ultra",
    "serial": "4C53",
    "speed": 480,
    "dev": "189:4",
}


def stick(tree: Tree, **changed: Value | None) -> str:
    """Make a device; attributes that are None are left out."""
    values = {key: value for key, value in {**ATTRIBUTES, **changed}.items() if value is not None}
    return tree.device(
        PATH,
        bus="usb",
        driver="usb",
        uevent={"MAJOR": 189, "MINOR": 4, "DEVNAME": "bus/usb/001/005", "DEVTYPE": "usb_device"},
        attributes=values,
    )


def device(sysroot: Sysroot | None = None) -> Device:
    """Scan the host and return its USB device."""
    return scan(sysroot or Sysroot()).lookup("usb_1_1_4")


def usb(of: Device) -> UsbDevice:
    """Return the capability, and expect it."""
    found = of.capability(UsbDevice)
    assert found is not None
    return found


def test_whole_device_shows_each_field_without_udevd(tree: Tree) -> None:
    """Sysfs has all that libvirt shows; XML has libvirt's elements first."""
    stick(tree)
    found = device()
    assert (found.path, found.parent, found.driver) == (PATH, "computer", "usb")
    assert (found.types, found.errors) == (("usb_device",), ())
    assert found.devnode == "/dev/bus/usb/001/005"
    assert usb(found) == UsbDevice(
        bus=1,
        device=5,
        product=HardwareId("0x5581", "Ultra"),
        vendor=HardwareId("0x0781", "SanDisk"),
        serial="4C53",
        speed_mbit=480.0,
    )
    text = native_xml(found)
    validate(text)
    assert text.partition("  <capability")[2] == (
        " type='usb_device'>\n"
        "    <bus>1</bus>\n"
        "    <device>5</device>\n"
        "    <product id='0x5581'>Ultra</product>\n"
        "    <vendor id='0x0781'>SanDisk</vendor>\n"
        "    <serial>4C53</serial>\n"
        "    <speed>480</speed>\n"
        "  </capability>\n"
        "</device>\n"
    )


def test_name_of_udevs_hardware_database_comes_first(tree: Tree) -> None:
    """The database has better names than the device itself."""
    names = {"ID_MODEL_FROM_DATABASE": "Ultra USB 3.0", "ID_VENDOR_FROM_DATABASE": "SanDisk Corp."}
    tree.udev(stick(tree), names)
    found = usb(device())
    assert found.product == HardwareId("0x5581", "Ultra USB 3.0")
    assert found.vendor == HardwareId("0x0781", "SanDisk Corp.")


def test_device_that_nobody_has_a_name_for_has_its_ids(tree: Tree) -> None:
    """No strings and no database: the elements are there, and empty."""
    stick(tree, manufacturer=None, product=None, serial=None)
    found = device()
    assert usb(found).product == HardwareId("0x5581", None)
    assert usb(found).serial is None
    assert found.errors == ()
    text = native_xml(found)
    validate(text)
    assert "<product id='0x5581'/>\n" in text
    assert "<vendor id='0x0781'/>\n" in text
    assert "<serial" not in text


def test_strings_of_a_device_are_escaped(tree: Tree) -> None:
    """Any name of a device is text, and is escaped."""
    stick(tree, product="<a & 'b'>", serial="\x01")
    root = validate(native_xml(device()))
    assert root.findtext("capability/product") == "<a & 'b'>"
    assert root.findtext("capability/serial") == "\ufffd"


@pytest.mark.parametrize(
    ("speed", "mbit", "text"),
    [("1.5", 1.5, "1.5"), ("12", 12.0, "12"), ("20000", 20000.0, "20000"), ("unknown", None, None)],
)
def test_speed_is_in_mbit(tree: Tree, speed: str, mbit: float | None, text: str | None) -> None:
    """One speed is not an integer, and the kernel has `unknown` for an unknown speed."""
    stick(tree, speed=speed)
    found = device()
    assert (usb(found).speed_mbit, found.errors) == (mbit, ())
    assert validate(native_xml(found)).findtext("capability/speed") == text


@pytest.mark.parametrize("speed", ["", "fast", "-1", "1e3", "480 ", "9" * 9])
def test_speed_that_makes_no_sense_is_a_fault(tree: Tree, speed: str) -> None:
    """A malformed speed is unknown; the other values are read."""
    stick(tree, speed=speed)
    found = device()
    assert (usb(found).speed_mbit, usb(found).bus) == (None, 1)
    assert found.errors == (Fault("speed", "malformed", speed),)
    validate(native_xml(found))


@pytest.mark.parametrize("attribute", ["idVendor", "idProduct"])
@pytest.mark.parametrize(("text", "detail"), [("10000", "10000"), ("x", "x"), ("-1", "-1")])
def test_id_that_is_no_16_bit_number_is_a_fault(
    tree: Tree, attribute: str, text: str, detail: str
) -> None:
    """An id has four hex digits; the other id is read."""
    stick(tree, **{attribute: text})
    found = device()
    wrong, right = usb(found).vendor, usb(found).product
    if attribute == "idProduct":
        wrong, right = right, wrong
    assert wrong is None
    assert right is not None
    assert found.errors == (Fault(attribute, "malformed", detail),)
    validate(native_xml(found))


@pytest.mark.parametrize("attribute", ["busnum", "devnum", "idVendor", "idProduct"])
def test_missing_number_is_a_fault(tree: Tree, attribute: str) -> None:
    """The ABI promises them; the device is shown without."""
    stick(tree, **{attribute: None})
    found = device()
    assert found.errors == (Fault(attribute, "absent", ""),)
    root = validate(native_xml(found))
    assert len(root.findall("capability/*[@state='unknown']")) == 1


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, "refused"), (errno.EIO, "unreadable")])
@pytest.mark.parametrize(
    ("attribute", "element"),
    [
        ("busnum", "bus"),
        ("devnum", "device"),
        ("idVendor", "vendor"),
        ("idProduct", "product"),
        ("serial", "serial"),
        ("speed", "speed"),
    ],
)
def test_attribute_that_cannot_be_read_costs_no_other(
    tree: Tree, attribute: str, element: str, number: int, code: str
) -> None:
    """One error of the driver makes one field unknown."""
    stick(tree)
    found = device(FaultySysroot(errors={f"{PATH}/{attribute}": number}))
    assert [(one.attribute, one.code) for one in found.errors] == [(attribute, code)]
    root = validate(native_xml(found))
    assert [one.tag for one in root.findall(".//*[@state='unknown']")] == [element]
    assert attributes(find(root, f"capability/{element}")) == {"state": "unknown"}
    assert msgspec.json.decode(msgspec.json.encode(found), type=Device) == found


def test_uevent_that_cannot_be_read_costs_only_the_node(tree: Tree) -> None:
    """Devices and interfaces differ in their kernel names."""
    stick(tree)
    found = device(FaultySysroot(errors={f"{PATH}/uevent": errno.EIO}))
    assert usb(found).product == HardwareId("0x5581", "Ultra")
    assert found.devnode is None
    assert [(one.attribute, one.code) for one in found.errors] == [("uevent", "unreadable")]


def test_texts_of_the_device_are_not_recorded(tmp_path: Path) -> None:
    """The serial number identifies this stick; on a gadget, somebody has chosen all of them."""
    tree = Tree(tmp_path / "host")
    stick(tree)
    record(str(tmp_path / "host"), str(tmp_path / "copy"))
    copied = usb(device(Sysroot(str(tmp_path / "copy"))))
    assert copied.serial is not None
    assert copied.serial != usb(device(Sysroot(tree.root))).serial
    assert copied.product == HardwareId("0x5581", "Aaaaa")


def test_device_unplugged_while_read_is_no_device(tree: Tree) -> None:
    """A device removed at any point of its read is dropped, without an error."""
    stick(tree)
    reads = FaultySysroot()
    whole = read_device(reads, PATH, LISTED_IN)
    assert whole is not None
    count = len([path for path in reads.reads if f"{path}/".startswith(f"{PATH}/")])
    assert count == 11  # itself, the eight attributes, uevent, driver
    for at in range(1, count + 1):
        assert read_device(FaultySysroot(vanishing=PATH, at=at), PATH, LISTED_IN) is None
        stick(tree)
    assert read_device(Sysroot(), PATH, LISTED_IN) == whole
