"""infiniband: an RDMA device and its ports, whatever their state."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest

from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.infiniband import (
    Infiniband,
    InfinibandPort,
    InfinibandRate,
    reread_volatile,
)
from nodedevd.model.device import Device
from nodedevd.tree.read import read_device, scan
from tests.support.faulty import FaultySysroot
from tests.support.trees import Attributes, Tree
from tests.support.xml import find, native_xml, validate

ABOVE = "/sys/devices/pci0000:40/0000:41:00.0"
PATH = f"{ABOVE}/infiniband/mlx5_0"
WHOLE: Attributes = {
    "node_guid": "0200:0003:004a:0000",
    "sys_image_guid": "0200:0003:004a:0001",
    "hca_type": "MT4123",
    "board_id": "MT_0000000223",
    "fw_ver": "20.31.1014",
}
ACTIVE: Attributes = {
    "state": "4: ACTIVE",
    "phys_state": "5: LinkUp",
    "link_layer": "InfiniBand",
    "lid": "0x12",
    "rate": "200 Gb/sec (4X HDR)",
}
DOWN: Attributes = {
    "state": "1: DOWN",
    "phys_state": "2: Polling",
    "link_layer": "InfiniBand",
    "lid": "0x0",
    "rate": "10 Gb/sec (4X)",
}
ROCE: Attributes = {**ACTIVE, "link_layer": "Ethernet", "lid": "0x0", "rate": "10 Gb/sec (1X QDR)"}
HDR = InfinibandRate(gbit=200.0, lanes=4, speed="HDR")
ACTIVE_PORT = InfinibandPort(1, "ACTIVE", "LinkUp", "InfiniBand", 0x12, HDR)


def hca(tree: Tree, ports: Sequence[Attributes], attributes: Attributes = WHOLE) -> str:
    """Make an RDMA device with ports from 1 on, and return its path."""
    path = tree.device(
        PATH,
        class_="infiniband",
        uevent={"NAME": "mlx5_0"},
        attributes={"node_type": "1: CA", **attributes},
    )
    for number, values in enumerate(ports, 1):
        tree.attributes(f"{path}/ports/{number}", values)
    return path


def device(
    tree: Tree,
    *ports: Attributes,
    attributes: Attributes = WHOLE,
    sysroot: Sysroot | None = None,
) -> Device:
    """Make a device with these ports, scan, and return it."""
    hca(tree, ports, attributes)
    return scan(sysroot or Sysroot()).lookup("infiniband_mlx5_0")


def infiniband(found: Device) -> Infiniband:
    """Return the capability, and expect it."""
    capability = found.capability(Infiniband)
    assert capability is not None
    return capability


def only_port(found: Device) -> InfinibandPort:
    """Return the one port."""
    (port,) = infiniband(found).ports
    return port


def faults(found: Device) -> list[tuple[str, str]]:
    """Return attribute and code of each fault."""
    return [(one.attribute, one.code) for one in found.errors]


def test_device_is_read_with_its_ports(tree: Tree) -> None:
    """Every attribute is in its field; XML has them in order."""
    found = device(tree, ACTIVE, ROCE)
    assert (found.path, found.types, found.errors) == (PATH, ("infiniband",), ())
    assert infiniband(found) == Infiniband(
        node_type="CA",
        node_guid="0200:0003:004a:0000",
        sys_image_guid="0200:0003:004a:0001",
        hca_type="MT4123",
        board_id="MT_0000000223",
        fw_ver="20.31.1014",
        ports=(
            ACTIVE_PORT,
            InfinibandPort(2, "ACTIVE", "LinkUp", "Ethernet", None, InfinibandRate(10.0, 1, "QDR")),
        ),
    )
    text = native_xml(found)
    validate(text)
    assert text.endswith(
        "  <capability type='infiniband'>\n"
        "    <node_type>CA</node_type>\n"
        "    <node_guid>0200:0003:004a:0000</node_guid>\n"
        "    <sys_image_guid>0200:0003:004a:0001</sys_image_guid>\n"
        "    <hca_type>MT4123</hca_type>\n"
        "    <board_id>MT_0000000223</board_id>\n"
        "    <fw_ver>20.31.1014</fw_ver>\n"
        "    <port number='1'>\n"
        "      <state>ACTIVE</state>\n"
        "      <phys_state>LinkUp</phys_state>\n"
        "      <link_layer>InfiniBand</link_layer>\n"
        "      <lid>18</lid>\n"
        "      <rate gbit='200' lanes='4' speed='HDR'/>\n"
        "    </port>\n"
        "    <port number='2'>\n"
        "      <state>ACTIVE</state>\n"
        "      <phys_state>LinkUp</phys_state>\n"
        "      <link_layer>Ethernet</link_layer>\n"
        "      <rate gbit='10' lanes='1' speed='QDR'/>\n"
        "    </port>\n"
        "  </capability>\n"
        "</device>\n"
    )


def test_rate_of_a_port_that_is_not_active_is_not_read(tree: Tree) -> None:
    """The kernel reports a rate all the same."""
    sysroot = FaultySysroot()
    port = only_port(device(tree, DOWN, sysroot=sysroot))
    assert port == InfinibandPort(1, "DOWN", "Polling", "InfiniBand", None, None)
    assert f"{PATH}/ports/1/rate" not in sysroot.reads


@pytest.mark.parametrize(
    ("text", "rate", "shown"),
    [
        ("2.5 Gb/sec (1X)", InfinibandRate(2.5, 1, None), {"gbit": "2.5", "lanes": "1"}),
        (
            "40 Gb/sec (4X FDR10)",
            InfinibandRate(40.0, 4, "FDR10"),
            {"gbit": "40", "lanes": "4", "speed": "FDR10"},
        ),
        (
            "1600 Gb/sec (8X XDR)",
            InfinibandRate(1600.0, 8, "XDR"),
            {"gbit": "1600", "lanes": "8", "speed": "XDR"},
        ),
    ],
)
def test_rate_has_the_lanes_and_their_speed(
    tree: Tree, text: str, rate: InfinibandRate, shown: dict[str, str]
) -> None:
    """Each in a field; the first speed, SDR, has no name in the attribute."""
    found = device(tree, {**ACTIVE, "rate": text})
    assert (only_port(found).rate, found.errors) == (rate, ())
    assert dict(find(validate(native_xml(found)), "capability/port/rate").items()) == shown


def test_attributes_of_other_drivers_are_absent(tree: Tree) -> None:
    """rdma_rxe has neither model, board nor firmware; the ABI promises the GUIDs."""
    found = device(
        tree,
        attributes={
            "node_type": "1: CA",
            "node_guid": "5054:00ff:fe12:3456",
            "sys_image_guid": "5054:00ff:fe12:3456",
        },
    )
    capability = infiniband(found)
    assert (capability.hca_type, capability.board_id, capability.fw_ver) == (None, None, None)
    assert (capability.ports, found.errors) == ((), ())
    assert "hca_type" not in native_xml(found)
    validate(native_xml(found))


def test_promised_attributes_that_are_missing_are_faults(tree: Tree) -> None:
    """The device and the port are shown without them."""
    found = device(tree, {"state": "4: ACTIVE"}, attributes={})
    assert set(faults(found)) == {
        ("node_guid", "absent"),
        ("sys_image_guid", "absent"),
        ("ports/1/phys_state", "absent"),
        ("ports/1/link_layer", "absent"),
        ("ports/1/lid", "absent"),
        ("ports/1/rate", "absent"),
    }
    root = validate(native_xml(found))
    assert len(root.findall("capability/*[@state='unknown']")) == 2
    assert len(root.findall("capability/port/*[@state='unknown']")) == 4


@pytest.mark.parametrize(
    ("attribute", "text"),
    [
        ("state", "ACTIVE"),
        ("phys_state", ""),
        ("lid", "twelve"),
        ("rate", "fast"),
        ("rate", "-1 Gb/sec (4X)"),
    ],
)
def test_malformed_attribute_of_a_port_is_a_fault(tree: Tree, attribute: str, text: str) -> None:
    """Only that value is unknown."""
    found = device(tree, {**ACTIVE, attribute: text})
    assert faults(found) == [(f"ports/1/{attribute}", "malformed")]
    assert getattr(only_port(found), attribute) is None
    find(validate(native_xml(found)), f"capability/port/{attribute}[@state='unknown']")


@pytest.mark.parametrize("attribute", ["node_type", "fw_ver", "ports/1/state", "ports/1/rate"])
def test_attribute_that_cannot_be_read_is_unknown(tree: Tree, attribute: str) -> None:
    """The driver fails to query its hardware, during a reset for example."""
    sysroot = FaultySysroot(errors={f"{PATH}/{attribute}": errno.EIO})
    found = device(tree, ACTIVE, sysroot=sysroot)
    assert faults(found) == [(attribute, "unreadable")]
    assert native_xml(found).count("state='unknown'") == 1
    validate(native_xml(found))


def test_word_that_the_kernel_does_not_know_is_shown(tree: Tree) -> None:
    """The text is escaped in XML."""
    found = device(tree, {**ACTIVE, "phys_state": "9: <unknown>"})
    assert (only_port(found).phys_state, found.errors) == ("<unknown>", ())
    assert validate(native_xml(found)).findtext("capability/port/phys_state") == "<unknown>"


def test_ports_are_sorted_by_number(tree: Tree) -> None:
    """Port 10 comes after port 2; an entry that is not a number is a fault."""
    path = hca(tree, [ACTIVE] * 10)
    tree.directory(f"{path}/ports/odd")
    found = scan(Sysroot()).lookup("infiniband_mlx5_0")
    assert [port.number for port in infiniband(found).ports] == list(range(1, 11))
    assert faults(found) == [("ports/odd", "malformed")]
    validate(native_xml(found))


def test_state_of_ports_is_volatile(tree: Tree) -> None:
    """Only ports are read again; the same values are the same object."""
    found = device(tree, ACTIVE)
    capability, sysroot = infiniband(found), FaultySysroot()
    assert found.is_volatile
    assert reread_volatile(sysroot, PATH, capability) is capability
    assert f"{PATH}/node_guid" not in sysroot.reads
    tree.attributes(f"{PATH}/ports/1", DOWN)
    again = reread_volatile(sysroot, PATH, capability)
    assert again is not None
    assert again == infiniband(scan(Sysroot()).lookup("infiniband_mlx5_0"))
    assert again.ports[0].state == "DOWN"


@pytest.mark.parametrize("gone", [True, False])
def test_ports_that_cannot_be_read_again_have_the_device_read(tree: Tree, gone: bool) -> None:
    """The device is gone, or has a fault to show."""
    capability = infiniband(device(tree, ACTIVE))
    if gone:
        tree.remove(PATH)
    else:
        tree.attributes(f"{PATH}/ports/1", {"state": "odd"})
    assert reread_volatile(Sysroot(), PATH, capability) is None


def test_device_removed_while_read_is_no_device(tree: Tree) -> None:
    """A device removed at any point of its read is dropped, without an error."""
    path = hca(tree, [ACTIVE])
    whole = FaultySysroot()
    assert read_device(whole, path, ["/sys/class/infiniband"]) is not None
    count = len([one for one in whole.reads if one.startswith(path)])
    assert count >= 13  # itself, seven attributes, its ports, five attributes of one
    for at in range(1, count + 1):
        hca(tree, [ACTIVE])
        sysroot = FaultySysroot(vanishing=path, at=at)
        assert read_device(sysroot, path, ["/sys/class/infiniband"]) is None
