"""scsi: a logical unit of any type."""

from __future__ import annotations

import errno

import msgspec
import pytest

from nodedevd.host.faults import Fault
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.scsi import Scsi
from nodedevd.model.device import Device
from nodedevd.tree.read import read_device, scan
from tests.support import scsi
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree
from tests.support.xml import attributes, find, native_xml, validate

ADAPTER = "/sys/devices/pci0000:00/0000:00:17.0"
PATH = f"{ADAPTER}/host0/target0:0:3/0:0:3:1"
LISTED_IN = ["/sys/bus/scsi/devices"]


def unit(tree: Tree, *, type_: int | str | None = 0, lun: int = 1) -> str:
    """Make a logical unit of this type."""
    target = scsi.target(tree, scsi.host(tree, 0, above=ADAPTER), "0:0:3")
    return scsi.unit(tree, target, lun, driver="sd", type_=type_)


def device(name: str = "scsi_0_0_3_1", sysroot: Sysroot | None = None) -> Device:
    """Scan the host and return its logical unit."""
    return scan(sysroot or Sysroot()).lookup(name)


def capability(of: Device) -> Scsi:
    """Return the capability, and expect it."""
    found = of.capability(Scsi)
    assert found is not None
    return found


def test_whole_unit_shows_each_field(tree: Tree) -> None:
    """Every attribute is in its field; XML has them in order."""
    assert unit(tree) == PATH
    found = device()
    assert (found.path, found.parent, found.driver) == (PATH, "scsi_target0_0_3", "sd")
    assert (found.types, found.errors) == (("scsi",), ())
    assert capability(found) == Scsi(
        host=0,
        bus=0,
        target=3,
        lun=1,
        scsi_type="disk",
        vendor="ATA",
        model="Example Disk",
        rev="1.0",
    )
    text = native_xml(found)
    validate(text)
    assert text.partition("  <capability")[2] == (
        " type='scsi'>\n"
        "    <host>0</host>\n"
        "    <bus>0</bus>\n"
        "    <target>3</target>\n"
        "    <lun>1</lun>\n"
        "    <type>disk</type>\n"
        "    <vendor>ATA</vendor>\n"
        "    <model>Example Disk</model>\n"
        "    <rev>1.0</rev>\n"
        "  </capability>\n"
        "</device>\n"
    )


@pytest.mark.parametrize(
    ("number", "word"),
    [
        *[(0, "disk"), (1, "tape"), (2, None), (3, "processor"), (4, "worm"), (5, "cdrom")],
        *[(6, "scanner"), (7, "mod"), (8, "changer"), (9, None), (12, "raid"), (13, "enclosure")],
        *[(14, None), (31, None)],
    ],
)
def test_type_has_its_word_or_none(tree: Tree, number: int, word: str | None) -> None:
    """A type without a word is not a fault."""
    unit(tree, type_=number)
    found = device()
    assert (capability(found).scsi_type, found.errors) == (word, ())
    assert validate(native_xml(found)).findtext("capability/type") == word


def test_largest_number_of_a_unit_can_be_told(tree: Tree) -> None:
    """The kernel has 64 bits for it."""
    unit(tree, lun=2**64 - 1)
    found = device(f"scsi_0_0_3_{2**64 - 1}")
    assert capability(found).lun == 2**64 - 1
    assert msgspec.json.decode(msgspec.json.encode(found), type=Device) == found
    validate(native_xml(found))


@pytest.mark.parametrize("name", ["0:0:3", "0:0:3:x", "0:0:3:1:2", "-1:0:3:1", "0:0:3:", "0x0:0:0"])
def test_device_whose_name_is_no_address_is_none(tree: Tree, name: str) -> None:
    """The address identifies a unit."""
    tree.device(f"{ADAPTER}/{name}", bus="scsi", uevent={"DEVTYPE": "scsi_device"})
    assert scan(Sysroot()).names == ("computer",)


def test_device_of_another_type_is_none(tree: Tree) -> None:
    """Its DEVTYPE is another one."""
    tree.device(PATH, bus="scsi")
    assert scan(Sysroot()).names == ("computer",)


def test_absent_type_is_a_fault(tree: Tree) -> None:
    """Every unit has one."""
    unit(tree, type_=None)
    found = device()
    assert found.errors == (Fault("type", "absent", ""),)
    shown = find(validate(native_xml(found)), "capability/type")
    assert attributes(shown) == {"state": "unknown"}


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, "refused"), (errno.EIO, "unreadable")])
@pytest.mark.parametrize("attribute", ["type", "vendor", "model", "rev"])
def test_attribute_that_cannot_be_read_costs_no_other(
    tree: Tree, attribute: str, number: int, code: str
) -> None:
    """One error of the driver makes one field unknown."""
    unit(tree)
    found = device(sysroot=FaultySysroot(errors={f"{PATH}/{attribute}": number}))
    assert [(one.attribute, one.code) for one in found.errors] == [(attribute, code)]
    root = validate(native_xml(found))
    assert [one.tag for one in root.findall(".//*[@state='unknown']")] == [attribute]


def test_unit_removed_while_read_is_no_device(tree: Tree) -> None:
    """A device removed at any point of its read is dropped, without an error."""
    unit(tree)
    reads = FaultySysroot()
    whole = read_device(reads, PATH, LISTED_IN)
    assert whole is not None
    count = len([path for path in reads.reads if f"{path}/".startswith(f"{PATH}/")])
    assert count == 7  # itself, uevent, type, vendor, model, rev, driver
    for at in range(1, count + 1):
        assert read_device(FaultySysroot(vanishing=PATH, at=at), PATH, LISTED_IN) is None
        unit(tree)
    assert read_device(Sysroot(), PATH, LISTED_IN) == whole
