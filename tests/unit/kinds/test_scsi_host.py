"""scsi_host: an adapter, its Fibre Channel side, and its virtual ports."""

from __future__ import annotations

import errno

import msgspec
import pytest

from nodedevd.host.faults import Fault
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.scsi_host import FcHost, ScsiHost, VportOps
from nodedevd.model.device import Device
from nodedevd.tree.read import read_device, scan
from tests.support import scsi
from tests.support.faulty import FaultySysroot
from tests.support.trees import Attributes, Tree
from tests.support.xml import attributes, find, native_xml, validate

ADAPTER = "/sys/devices/pci0000:00/0000:00:01.0"
PATH = f"{ADAPTER}/host5"
FC = f"{PATH}/fc_host/host5"
LISTED_IN = ["/sys/bus/scsi/devices"]

FC_VALUES: Attributes = {
    "node_name": "0x2000000000000bd0",
    "port_name": "0x2100000000000bd0",
    "fabric_name": "0x200100000000fab1",
    "vport_create": b"",
    "max_npiv_vports": 127,
    "npiv_vports_inuse": 2,
}


def adapter(tree: Tree, **without: None) -> str:
    """Make a Fibre Channel adapter that has everything but these."""
    fc = {key: value for key, value in FC_VALUES.items() if key not in without}
    return scsi.host(tree, 5, above=ADAPTER, unique_id=6, proc_name="qla2xxx", fc=fc)


def device(name: str = "scsi_host5", sysroot: Sysroot | None = None) -> Device:
    """Scan the host and return its adapter."""
    return scan(sysroot or Sysroot()).lookup(name)


def host(of: Device) -> ScsiHost:
    """Return the capability, and expect it."""
    found = of.capability(ScsiHost)
    assert found is not None
    return found


def test_whole_adapter_shows_each_field(tree: Tree) -> None:
    """Every attribute is in its field; XML has them in order."""
    tree.pci("0000:00:01.0", vendor=0x1077, device=0x2261, class_=0x0C0400)
    adapter(tree)
    found = device()
    assert (found.path, found.parent) == (PATH, "pci_0000_00_01_0")
    assert (found.subsystem, found.sysname, found.driver) == ("scsi", "host5", None)
    assert (found.types, found.errors) == (("scsi_host",), ())
    assert found.words == {"scsi_host", "fc_host", "vports"}
    assert host(found) == ScsiHost(
        host=5,
        unique_id=6,
        fc_host=FcHost(
            wwnn="2000000000000bd0", wwpn="2100000000000bd0", fabric_wwn="200100000000fab1"
        ),
        vport_ops=VportOps(max_vports=127, vports=2),
        proc_name="qla2xxx",
    )
    text = native_xml(found)
    validate(text)
    assert text.partition("  <capability")[2] == (
        " type='scsi_host'>\n"
        "    <host>5</host>\n"
        "    <unique_id>6</unique_id>\n"
        "    <capability type='fc_host'>\n"
        "      <wwnn>2000000000000bd0</wwnn>\n"
        "      <wwpn>2100000000000bd0</wwpn>\n"
        "      <fabric_wwn>200100000000fab1</fabric_wwn>\n"
        "    </capability>\n"
        "    <capability type='vport_ops'>\n"
        "      <max_vports>127</max_vports>\n"
        "      <vports>2</vports>\n"
        "    </capability>\n"
        "    <proc_name>qla2xxx</proc_name>\n"
        "  </capability>\n"
        "</device>\n"
    )


def test_plain_adapter_has_neither_part(tree: Tree) -> None:
    """Most hosts are ATA ports: a number, and a driver that may have no name."""
    scsi.host(tree, 0, above=ADAPTER, unique_id=None, proc_name="(null)")
    found = device("scsi_host0")
    assert host(found) == ScsiHost(0, None, None, None, None)
    assert found.words == {"scsi_host"}
    assert found.errors == ()
    root = validate(native_xml(found))
    assert [one.tag for one in find(root, "capability")] == ["host"]


def test_virtual_port_is_a_host_below_its_adapter(tree: Tree) -> None:
    """NPIV makes a host of its own; one that is not in a fabric has no fabric name."""
    adapter(tree)
    fc: Attributes = {**FC_VALUES, "fabric_name": "0xffffffffffffffff"}
    virtual = tree.device(f"{PATH}/vport-5:0-0")
    scsi.host(tree, 6, above=virtual, fc={key: fc[key] for key in list(fc)[:3]})
    found = device("scsi_host6")
    assert found.parent == "scsi_host5"
    assert (host(found).vport_ops, found.errors) == (None, ())
    assert host(found).fc_host == FcHost("2000000000000bd0", "2100000000000bd0", None)
    assert validate(native_xml(found)).find(".//fabric_wwn") is None


def test_virtual_ports_may_be_told_by_the_host_itself(tree: Tree) -> None:
    """Older transports have the attributes beside the host's own."""
    path = scsi.host(tree, 5, above=ADAPTER)
    values: Attributes = {"vport_create": b"", "max_npiv_vports": 8, "npiv_vports_inuse": 0}
    tree.attributes(f"{path}/scsi_host/host5", values)
    assert host(device()).vport_ops == VportOps(max_vports=8, vports=0)
    assert device().words == {"scsi_host", "vports"}


@pytest.mark.parametrize("name", ["host", "host5x", "hostess", "Host5", "host" + "9" * 11])
def test_device_whose_name_is_no_hosts_is_none(tree: Tree, name: str) -> None:
    """The number identifies a host."""
    tree.device(f"{ADAPTER}/{name}", bus="scsi", uevent={"DEVTYPE": "scsi_host"})
    assert scan(Sysroot()).names == ("computer",)


def test_device_of_another_type_is_none(tree: Tree) -> None:
    """Its bus has targets and logical units, too."""
    tree.device(f"{ADAPTER}/host5", bus="scsi")
    assert scan(Sysroot()).names == ("computer",)


@pytest.mark.parametrize("name", ["node_name", "port_name"])
def test_absent_name_of_a_port_is_a_fault(tree: Tree, name: str) -> None:
    """Every port has both; a missing one does not affect other values."""
    adapter(tree, **{name: None})
    found = device()
    assert found.errors == (Fault(f"fc_host/host5/{name}", "absent", ""),)
    assert host(found).vport_ops == VportOps(127, 2)
    tag = {"node_name": "wwnn", "port_name": "wwpn"}[name]
    shown = find(validate(native_xml(found)), f".//{tag}")
    assert attributes(shown) == {"state": "unknown"}


@pytest.mark.parametrize(
    "text", ["0x2000001b32894bd", "2000000000000bd0", "0x2000001B32894BD0", "-1", "<&>"]
)
def test_name_that_makes_no_sense_is_a_fault(tree: Tree, text: str) -> None:
    """A World Wide Name is 64 bits, as the kernel prints them."""
    adapter(tree)
    tree.attributes(FC, {"node_name": text})
    found = device()
    assert found.errors == (Fault("fc_host/host5/node_name", "malformed", text),)
    assert host(found).fc_host == FcHost(None, "2100000000000bd0", "200100000000fab1")
    validate(native_xml(found))


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, "refused"), (errno.EIO, "unreadable")])
@pytest.mark.parametrize(
    ("attribute", "element"),
    [
        ("scsi_host/host5/unique_id", "unique_id"),
        ("scsi_host/host5/proc_name", "proc_name"),
        ("fc_host/host5/node_name", "wwnn"),
        ("fc_host/host5/port_name", "wwpn"),
        ("fc_host/host5/fabric_name", "fabric_wwn"),
        ("fc_host/host5/max_npiv_vports", "max_vports"),
        ("fc_host/host5/npiv_vports_inuse", "vports"),
    ],
)
def test_attribute_that_cannot_be_read_costs_no_other(
    tree: Tree, attribute: str, element: str, number: int, code: str
) -> None:
    """One error of the driver makes one field unknown."""
    adapter(tree)
    found = device(sysroot=FaultySysroot(errors={f"{PATH}/{attribute}": number}))
    assert [(one.attribute, one.code) for one in found.errors] == [(attribute, code)]
    root = validate(native_xml(found))
    assert [one.tag for one in root.findall(".//*[@state='unknown']")] == [element]
    assert msgspec.json.decode(msgspec.json.encode(found), type=Device) == found


def test_adapter_removed_while_read_is_no_device(tree: Tree) -> None:
    """A device removed at any point of its read is dropped, without an error."""
    adapter(tree)
    reads = FaultySysroot()
    whole = read_device(reads, PATH, LISTED_IN)
    assert whole is not None
    count = len([path for path in reads.reads if f"{path}/".startswith(f"{PATH}/")])
    assert count == 9  # itself, uevent, unique_id, proc_name, three names, two numbers
    for at in range(1, count + 1):
        assert read_device(FaultySysroot(vanishing=PATH, at=at), PATH, LISTED_IN) is None
        adapter(tree)
    assert read_device(Sysroot(), PATH, LISTED_IN) == whole
