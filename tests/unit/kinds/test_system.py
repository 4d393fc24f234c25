"""system: the host itself, from its DMI table."""

from __future__ import annotations

import errno
from pathlib import Path

import msgspec
import pytest

from nodedevd.host.faults import Fault
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.system import DMI, Firmware, Hardware, System
from nodedevd.model.device import Device
from nodedevd.tree.read import read_computer
from tests.support.faulty import ANSWERS, FaultySysroot
from tests.support.trees import Tree
from tests.support.xml import attributes, find, native_xml, validate

ALL = {
    "sys_vendor": "ACME",
    "product_name": "Box 9000",
    "product_version": "Rev 2",
    "product_serial": "SN-1",
    "product_uuid": "0b4a1c52-8f4e-4e55-9a35-6d2c1f0e7a11",
    "bios_vendor": "ACME BIOS",
    "bios_version": "1.2",
    "bios_date": "01/02/2023",
}
NAMES = sorted(ALL)
EMPTY = """\
<device>
  <name>computer</name>
  <capability type='system'>
    <hardware>
    </hardware>
    <firmware>
    </firmware>
  </capability>
</device>
"""


def system(device: Device) -> System:
    """Return the capability, and expect it."""
    found = device.capability(System)
    assert found is not None
    return found


def test_host_with_all_attributes_shows_each(tree: Tree) -> None:
    """Every attribute lands in its field, and XML has libvirt's order."""
    tree.dmi(**ALL)
    device = read_computer(Sysroot())
    assert device == Device(
        name="computer",
        path=None,
        parent=None,
        subsystem=None,
        sysname=None,
        driver=None,
        capabilities=(
            System(
                product="Box 9000",
                hardware=Hardware("ACME", "Rev 2", "SN-1", "0b4a1c52-8f4e-4e55-9a35-6d2c1f0e7a11"),
                firmware=Firmware("ACME BIOS", "1.2", "01/02/2023"),
            ),
        ),
        errors=(),
        devnode=None,
        devlinks=(),
    )
    text = native_xml(device)
    validate(text)
    assert text == (
        "<device>\n"
        "  <name>computer</name>\n"
        "  <capability type='system'>\n"
        "    <product>Box 9000</product>\n"
        "    <hardware>\n"
        "      <vendor>ACME</vendor>\n"
        "      <version>Rev 2</version>\n"
        "      <serial>SN-1</serial>\n"
        "      <uuid>0b4a1c52-8f4e-4e55-9a35-6d2c1f0e7a11</uuid>\n"
        "    </hardware>\n"
        "    <firmware>\n"
        "      <vendor>ACME BIOS</vendor>\n"
        "      <version>1.2</version>\n"
        "      <release_date>01/02/2023</release_date>\n"
        "    </firmware>\n"
        "  </capability>\n"
        "</device>\n"
    )


def test_host_without_dmi_has_an_empty_system(tree: Tree) -> None:
    """No DMI, as on s390x, is no error: the root of the tree is there all the same."""
    tree.directory("/sys/devices")
    device = read_computer(Sysroot())
    assert (system(device), device.errors) == (System(), ())
    text = native_xml(device)
    validate(text)
    assert text == EMPTY


@pytest.mark.parametrize("content", ["", "   "])
def test_attributes_that_say_nothing_are_absent(tree: Tree, content: str) -> None:
    """An empty line, or only blanks, means the same as a missing file."""
    tree.dmi(**dict.fromkeys(ALL, content))
    device = read_computer(Sysroot())
    assert (system(device), device.errors) == (System(), ())


def test_text_padded_by_firmware_is_stripped(tree: Tree) -> None:
    """Blanks around a value are not part of it; those inside are."""
    tree.dmi(product_name="  Box  9000   ")
    assert system(read_computer(Sysroot())).product == "Box  9000"


@pytest.mark.parametrize("name", NAMES)
@ANSWERS
def test_one_attribute_that_fails_costs_no_other(
    tree: Tree, name: str, number: int, code: str, detail: str
) -> None:
    """The value of a file that is refused is unknown, with the reason; the others are read."""
    tree.dmi(**ALL)
    device = read_computer(FaultySysroot(errors={f"{DMI}/{name}": number}))
    assert [msgspec.to_builtins(fault) for fault in device.errors] == [
        {"attribute": name, "code": code, "detail": detail}
    ]
    text = native_xml(device)
    root = validate(text)
    assert len(root.findall(".//*[@state='unknown']")) == 1
    left = {element.text for element in find(root, "capability").iter() if not len(element)}
    assert left == {*ALL.values(), None} - {ALL[name]}
    data = msgspec.json.decode(msgspec.json.encode(device))
    assert len(data["errors"]) == 1


def test_serial_and_uuid_refused_are_unknown(tree: Tree) -> None:
    """Without root these two are refused, and XML and JSON show it."""
    tree.dmi(**ALL)
    errors = dict.fromkeys([f"{DMI}/product_serial", f"{DMI}/product_uuid"], errno.EACCES)
    device = read_computer(FaultySysroot(errors=errors))
    hardware = find(validate(native_xml(device)), "capability/hardware")
    assert [(one.tag, one.text, attributes(one)) for one in hardware] == [
        ("vendor", "ACME", {}),
        ("version", "Rev 2", {}),
        ("serial", None, {"state": "unknown"}),
        ("uuid", None, {"state": "unknown"}),
    ]
    data = msgspec.json.decode(msgspec.json.encode(device))
    assert data["capabilities"][0]["hardware"] == {
        "vendor": "ACME",
        "version": "Rev 2",
        "serial": None,
        "uuid": None,
    }
    assert [error["code"] for error in data["errors"]] == ["refused", "refused"]


def test_text_that_is_no_utf8_is_shown_escaped(tree: Tree) -> None:
    """Bytes that are not UTF-8 are escaped, with a fault."""
    tree.file(f"{DMI}/sys_vendor", b"M\xfcller & S\xf6hne\n")
    device = read_computer(Sysroot())
    assert system(device).hardware.vendor == "M\\xfcller & S\\xf6hne"
    assert device.errors == (Fault("sys_vendor", "malformed", "not UTF-8"),)
    validate(native_xml(device))


def test_control_characters_do_not_break_the_xml(tree: Tree) -> None:
    """Characters that XML cannot represent are replaced there, and kept in the value."""
    tree.file(f"{DMI}/product_name", b"Box\x02\x1b[31m\n")
    device = read_computer(Sysroot())
    assert system(device).product == "Box\x02\x1b[31m"
    root = validate(native_xml(device))
    assert root.findtext("capability/product") == "Box\ufffd\ufffd[31m"


@pytest.mark.parametrize("size", [4095, 4096, 4097, 10000])
def test_long_text_is_read_whole(tree: Tree, size: int) -> None:
    """A page of text is an attribute's most; a recorded file may have more."""
    tree.file(f"{DMI}/bios_version", "A" * size)
    assert system(read_computer(Sysroot())).firmware.version == "A" * size


def test_directory_in_place_of_an_attribute_is_a_fault(tmp_path: Path) -> None:
    """A directory is not read as a file."""
    tree = Tree(tmp_path)  # a real one: pyfakefs answers EBADF
    tree.dmi(product_name="Box 9000")
    tree.directory(f"{DMI}/sys_vendor")
    device = read_computer(Sysroot(tree.root))
    assert device.errors == (Fault("sys_vendor", "malformed", "EISDIR"),)
    assert system(device).product == "Box 9000"


def test_dmi_that_cannot_be_listed_is_a_fault(tree: Tree) -> None:
    """A directory that is refused leaves the root of the tree, with the reason."""
    tree.dmi(**ALL)
    device = read_computer(FaultySysroot(errors={DMI: errno.EACCES}))
    assert system(device) == System()
    assert device.errors == (Fault("", "refused", "EACCES"),)


def test_dmi_that_vanishes_leaves_the_root(tree: Tree) -> None:
    """When the table is removed at any point of the read, `computer` stays."""
    tree.dmi(**ALL)
    sysroot = FaultySysroot(vanishing=DMI, at=3)
    device = read_computer(sysroot)
    assert (device.name, system(device), device.errors) == ("computer", System(), ())
    assert not sysroot.exists(DMI)
