"""net: one network interface, as the kernel, its driver and its administrator make it."""

from __future__ import annotations

import errno
from pathlib import Path

import msgspec
import pytest

from nodedevd.host import ethtool
from nodedevd.host.faults import Fault
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.net import Net, NetLink
from nodedevd.model.device import Device
from nodedevd.tree.read import read_device, scan
from nodedevd.tree.unread import HostNotRead
from nodedevd.tree.update import update
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree
from tests.support.xml import attributes, find, native_xml, validate

PATH = "/sys/devices/virtual/net/eth0"
NAME = "net_eth0_52_54_00_12_34_56"
LISTED_IN = ["/sys/class/net"]


def device(name: str = NAME, sysroot: Sysroot | None = None) -> Device:
    """Scan the host and return its interface."""
    return scan(sysroot or Sysroot()).lookup(name)


def net(of: Device) -> Net:
    """Return the capability, and expect it."""
    found = of.capability(Net)
    assert found is not None
    return found


def test_whole_interface_shows_each_field(tree: Tree) -> None:
    """Every attribute is in its field; XML has them in order."""
    tree.pci("0000:01:00.0", vendor=0x10EC, device=0x8168, class_=0x020000)
    path = tree.net("eth0", parent="0000:01:00.0", attributes={"speed": 2500})
    found = device()
    assert (found.path, found.parent) == (path, "pci_0000_01_00_0")
    assert (found.subsystem, found.sysname, found.driver) == ("net", "eth0", None)
    assert (found.types, found.errors) == (("net",), ())
    assert net(found) == Net(
        interface="eth0",
        address="52:54:00:12:34:56",
        devtype=None,
        link=NetLink(state="up", speed=2500),
        features=None,
        medium="80203",
        uppers=(),
    )
    text = native_xml(found)
    validate(text)
    assert text == (
        "<device>\n"
        f"  <name>{NAME}</name>\n"
        f"  <path>{path}</path>\n"
        "  <parent>pci_0000_01_00_0</parent>\n"
        "  <capability type='net'>\n"
        "    <interface>eth0</interface>\n"
        "    <address>52:54:00:12:34:56</address>\n"
        "    <link speed='2500' state='up'/>\n"
        "    <capability type='80203'/>\n"
        "  </capability>\n"
        "</device>\n"
    )


@pytest.mark.parametrize("devtype", ["bridge", "bond", "vlan", "vxlan", "wlan", "wwan", "gadget"])
def test_devtype_is_told_and_wlan_alone_is_wireless(tree: Tree, devtype: str) -> None:
    """Interfaces of every DEVTYPE are shown."""
    tree.net("eth0", devtype=devtype)
    found = device()
    assert (net(found).devtype, found.errors) == (devtype, ())
    medium = "80211" if devtype == "wlan" else "80203"
    root = validate(native_xml(found))
    assert attributes(find(root, "capability/capability")) == {"type": medium}
    assert root.findtext("capability/devtype") == devtype


@pytest.mark.parametrize(
    "state", ["unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant"]
)
def test_speed_of_a_link_that_is_not_up_is_not_asked(tree: Tree, state: str) -> None:
    """A driver may keep the speed of a link that is down; it is not shown."""
    tree.net("eth0", operstate=state, attributes={"speed": 1000})
    sysroot = FaultySysroot(errors={f"{PATH}/speed": errno.EINVAL})
    found = device(sysroot=sysroot)
    assert net(found).link == NetLink(state=state, speed=None)
    assert f"{PATH}/speed" not in sysroot.reads
    link = find(validate(native_xml(found)), "capability/link")
    assert (attributes(link), found.errors) == ({"state": state}, ())


@pytest.mark.parametrize("speed", ["-1", "0"])
def test_speed_that_the_driver_does_not_know_is_left_out(tree: Tree, speed: str) -> None:
    """-1 is SPEED_UNKNOWN of ethtool; some drivers have 0 instead."""
    tree.net("eth0", attributes={"speed": speed})
    found = device()
    assert (net(found).link, found.errors) == (NetLink(state="up", speed=None), ())
    assert "speed" not in attributes(find(validate(native_xml(found)), "capability/link"))


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
def test_speed_of_a_driver_that_has_none_is_no_fault(tree: Tree, number: int) -> None:
    """A link that is up may have no speed, such as that of a tunnel."""
    tree.net("eth0", attributes={"speed": 1000})
    found = device(sysroot=FaultySysroot(errors={f"{PATH}/speed": number}))
    assert (net(found).link, found.errors) == (NetLink(state="up", speed=None), ())


@pytest.mark.parametrize("speed", ["", "fast", "-2", "10.5", "1000\n1000", "9" * 30])
def test_speed_that_makes_no_sense_is_a_fault(tree: Tree, speed: str) -> None:
    """Only the speed is unknown, with an error that has the text."""
    tree.net("eth0", attributes={"speed": speed})
    found = device()
    assert net(found).link == NetLink(state="up", speed=None)
    assert found.errors == (Fault("speed", "malformed", speed),)
    validate(native_xml(found))


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, "refused"), (errno.EIO, "unreadable")])
@pytest.mark.parametrize("attribute", ["address", "operstate", "speed", "uevent"])
def test_attribute_that_cannot_be_read_costs_no_other(
    tree: Tree, attribute: str, number: int, code: str
) -> None:
    """One error of the driver makes one field unknown."""
    tree.net("eth0", devtype="bridge", attributes={"speed": 1000})
    snapshot = scan(FaultySysroot(errors={f"{PATH}/{attribute}": number}))
    (name,) = (name for name in snapshot.names if name.startswith("net_"))
    found = snapshot.lookup(name)
    assert net(found) == Net(
        interface="eth0",
        address=None if attribute == "address" else "52:54:00:12:34:56",
        devtype=None if attribute == "uevent" else "bridge",
        link=NetLink(
            state=None if attribute == "operstate" else "up",
            speed=None if attribute in ("operstate", "speed") else 1000,
        ),
        features=None,
        medium="80203",
        uppers=(),
    )
    assert [(one.attribute, one.code) for one in found.errors] == [(attribute, code)]
    root = validate(native_xml(found))
    unknown = [one.tag for one in root.findall(".//*[@state='unknown']")]
    assert unknown == {"address": ["address"], "operstate": ["link"]}.get(attribute, [])


def test_interface_without_address_has_none_in_its_name(tree: Tree) -> None:
    """A tunnel has no hardware address: the attribute is empty."""
    tree.net("tun0", address="", operstate="unknown")
    found = device("net_tun0")
    assert (net(found).address, found.errors) == (None, ())
    assert validate(native_xml(found)).find("capability/address") is None


def test_interface_without_address_attribute_has_none(tree: Tree) -> None:
    """It is no fault if the kernel has no such attribute at all."""
    tree.net("eth0", address=None)
    found = device("net_eth0")
    assert (net(found).address, found.errors) == (None, ())


def test_address_of_infiniband_is_told_whole(tree: Tree) -> None:
    """An IPoIB address has twenty bytes, all in address and name."""
    address = ":".join(f"{byte:02x}" for byte in range(0x80, 0x94))
    tree.net("ib0", address=address)
    found = device(f"net_ib0_{address.replace(':', '_')}")
    assert net(found).address == address
    assert validate(native_xml(found)).findtext("capability/address") == address


def test_address_that_makes_no_sense_is_told_as_it_is(tree: Tree) -> None:
    """The kernel prints addresses of many lengths: all are accepted, and the XML stays valid."""
    tree.net("eth0", address="<no & address>")
    found = device("net_eth0__no___address_")
    assert net(found).address == "<no & address>"
    root = validate(native_xml(found))
    assert root.findtext("capability/address") == "<no & address>"


def test_state_that_is_absent_is_a_fault(tree: Tree) -> None:
    """The ABI promises operstate."""
    tree.net("eth0", operstate=None)
    found = device()
    assert net(found).link == NetLink(state=None, speed=None)
    assert found.errors == (Fault("operstate", "absent", ""),)
    link = find(validate(native_xml(found)), "capability/link")
    assert attributes(link) == {"state": "unknown"}
    data = msgspec.json.decode(msgspec.json.encode(found))
    assert data["capabilities"][0]["link"] == {"state": None, "speed": None}


def test_interface_of_odd_name_can_be_shown(tmp_path: Path) -> None:
    r"""The kernel takes any bytes but blanks, slash and colon for a name: shown as \xNN."""
    tree = Tree(tmp_path)
    path = tree.net("e\udcff'<")
    tree.remove(f"{path}/uevent")
    snapshot = scan(Sysroot(str(tmp_path)))
    found = next(one for one in snapshot if one.capability(Net) is not None)
    assert net(found).interface == r"e\xff'<"
    assert msgspec.json.decode(msgspec.json.encode(found), type=Device) == found
    assert validate(native_xml(found)).findtext("capability/interface") == r"e\xff'<"


def test_two_interfaces_of_one_address_keep_apart(tree: Tree) -> None:
    """A bridge takes the address of a port: their names differ all the same."""
    tree.net("br0", devtype="bridge")
    tree.net("eth0")
    assert [name for name in scan(Sysroot()).names if name.startswith("net_")] == [
        "net_br0_52_54_00_12_34_56",
        NAME,
    ]


def test_interface_is_found_by_its_link(tree: Tree) -> None:
    """Its link in /sys/class/net is a name that does not change with the address."""
    path = tree.net("eth0")
    assert device("/sys/class/net/eth0").path == path == PATH


def test_file_among_the_interfaces_is_none(tree: Tree) -> None:
    """Bonding keeps a file beside the links of /sys/class/net."""
    tree.file("/sys/class/net/bonding_masters", "bond0\n")
    tree.net("eth0")
    assert scan(Sysroot()).names == ("computer", NAME)


def test_interface_removed_while_read_is_no_device(tree: Tree) -> None:
    """An interface removed at any point of its read is dropped, without an error."""
    tree.net("eth0", attributes={"speed": 1000})
    reads = FaultySysroot()
    whole = read_device(reads, PATH, LISTED_IN)
    assert whole is not None
    count = len([path for path in reads.reads if f"{path}/".startswith(f"{PATH}/")])
    assert count == 5  # itself, uevent, operstate, address, speed
    for at in range(1, count + 1):
        assert read_device(FaultySysroot(vanishing=PATH, at=at), PATH, LISTED_IN) is None
        tree.net("eth0", attributes={"speed": 1000})
    assert read_device(Sysroot(), PATH, LISTED_IN) == whole


def test_interface_that_is_being_unregistered_is_no_device(tree: Tree) -> None:
    """Its directory is still there, and the kernel answers EINVAL for its address.

    Shown without it, it would be told as another device, of another name.
    """
    tree.net("eth0")
    sysroot = FaultySysroot(errors={f"{PATH}/address": errno.EINVAL})
    assert scan(sysroot).names == ("computer",)


def test_link_of_an_interface_that_is_gone_is_no_device(tree: Tree) -> None:
    """The class may still list a device whose directory is gone."""
    tree.remove(tree.net("eth0"))
    assert scan(Sysroot()).names == ("computer",)


# Features


def test_features_are_told_of_an_interface_that_the_kernel_knows(
    live_tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked by name and index; XML has libvirt's words in their order."""
    asked = []

    def active_features(interface: str, index: int) -> frozenset[str]:
        asked.append((interface, index))
        return frozenset({"tx-udp_tnl-segmentation", "rx-gro", "rx-checksum", "highdma"})

    monkeypatch.setattr("nodedevd.host.sysroot.active_features", active_features)
    monkeypatch.setattr("nodedevd.host.sysroot.is_switchdev", lambda bus, device: False)
    path = live_tree.net("eth0", parent="/sys/devices/pci0000:00/nic")
    live_tree.file(f"{path}/uevent", "INTERFACE=eth0\nIFINDEX=2\n")
    live_tree.directory("/sys/devices/pci0000:00/nic/infiniband/mlx5_0")
    found = device()
    assert asked == [("eth0", 2)]
    assert net(found).features == ("rx", "gro", "rdma", "txudptnl")
    root = validate(native_xml(found))
    shown = [attributes(one)["name"] for one in root.findall("capability/feature")]
    assert shown == ["rx", "gro", "rdma", "txudptnl"]


@pytest.mark.parametrize("uevent", ["INTERFACE=eth0\n", "IFINDEX=2\n", "IFINDEX=-2\n"])
def test_features_of_an_interface_without_an_index_are_unknown(
    live_tree: Tree, monkeypatch: pytest.MonkeyPatch, uevent: str
) -> None:
    """The kernel would be asked of another one."""
    monkeypatch.setattr(
        "nodedevd.host.sysroot.active_features", lambda interface, index: {"rx-gro"}
    )
    live_tree.file(f"{live_tree.net('eth0')}/uevent", uevent)
    assert (net(device()).features, device().errors) == (None, ())


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENODEV, errno.EPERM])
def test_features_that_the_kernel_does_not_tell_are_unknown(
    live_tree: Tree, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """This is not a fault: many drivers report none."""

    def active_features(interface: str, index: int) -> frozenset[str]:
        raise OSError(number, "")

    monkeypatch.setattr("nodedevd.host.sysroot.active_features", active_features)
    path = live_tree.net("eth0")
    live_tree.file(f"{path}/uevent", "INTERFACE=eth0\nIFINDEX=2\n")
    assert (net(device()).features, device().errors) == (None, ())


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.ENOBUFS])
@pytest.mark.parametrize("call", ["active_features", "is_switchdev"])
def test_features_that_cannot_be_asked_for_are_an_error(
    live_tree: Tree, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """For want of a descriptor or memory; the device is kept as it was then."""

    def fails(*arguments: object) -> frozenset[str]:
        raise OSError(number, "")

    monkeypatch.setattr("nodedevd.host.sysroot.active_features", lambda *one: frozenset())
    monkeypatch.setattr("nodedevd.host.sysroot.is_switchdev", lambda *one: False)
    monkeypatch.setattr(f"nodedevd.host.sysroot.{call}", fails)
    live_tree.pci("0000:08:00.0", vendor=1, device=2, class_=0x020000)
    path = live_tree.net("eth0", parent="0000:08:00.0")
    live_tree.file(f"{path}/uevent", "INTERFACE=eth0\nIFINDEX=2\n")
    with pytest.raises(HostNotRead, match=errno.errorcode[number]):
        scan(Sysroot())


def test_features_of_a_recorded_host_are_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel of this machine does not know the interfaces of a sample host."""
    on = frozenset({"rx-gro"})
    monkeypatch.setattr("nodedevd.host.sysroot.active_features", lambda interface, index: on)
    assert Sysroot(str(tmp_path)).ethtool_features("lo", 1) is None
    assert Sysroot().ethtool_features("lo", 1) == on


@pytest.mark.parametrize("function", ["0000:08:00.0", "0000:08:00.4"])
def test_switchdev_is_a_mode_of_the_physical_function(
    live_tree: Tree, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """The interface of a virtual function has the mode of its card."""
    live_tree.pci("0000:08:00.0", vendor=0x15B3, device=0x101D, class_=0x020000)
    live_tree.pci("0000:08:00.4", vendor=0x15B3, device=0x101E, class_=0x020000)
    live_tree.sriov("0000:08:00.0", ["0000:08:00.4"])
    path = live_tree.net("eth0", parent=function)
    live_tree.file(f"{path}/uevent", "INTERFACE=eth0\nIFINDEX=2\n")
    asked = []

    def is_switchdev(bus: str, device: str) -> bool:
        asked.append((bus, device))
        return True

    monkeypatch.setattr(
        "nodedevd.host.sysroot.active_features", lambda interface, index: frozenset()
    )
    monkeypatch.setattr("nodedevd.host.sysroot.is_switchdev", is_switchdev)
    found = read_device(Sysroot(), path)
    assert found is not None
    (capability,) = found.capabilities
    assert isinstance(capability, Net)
    assert capability.features == ("switchdev",)
    assert asked == [("pci", "0000:08:00.0")]


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP, errno.EPERM])
def test_mode_that_cannot_be_asked_for_is_a_fault_only_if_refused(
    live_tree: Tree, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Most cards have no switch, which is no fault; not to be allowed to ask is one."""

    def is_switchdev(bus: str, device: str) -> bool:
        raise OSError(number, "")

    monkeypatch.setattr(
        "nodedevd.host.sysroot.active_features", lambda interface, index: frozenset()
    )
    monkeypatch.setattr("nodedevd.host.sysroot.is_switchdev", is_switchdev)
    live_tree.pci("0000:08:00.0", vendor=0x15B3, device=0x101D, class_=0x020000)
    path = live_tree.net("eth0", parent="0000:08:00.0")
    live_tree.file(f"{path}/uevent", "INTERFACE=eth0\nIFINDEX=2\n")
    found = read_device(Sysroot(), path)
    assert found is not None
    (capability,) = found.capabilities
    assert isinstance(capability, Net)
    assert capability.features == ()
    assert [fault.code for fault in found.errors] == (["refused"] if number == errno.EPERM else [])


def test_word_stands_for_any_of_the_kernels_features() -> None:
    """Checksums and segmentation have a feature for each protocol."""
    for name in ("tx-checksum-ipv4", "tx-checksum-ipv6", "tx-checksum-ip-generic"):
        assert ethtool.words(frozenset({name})) == ("tx",)
    assert ethtool.words(frozenset({"tx-tcp6-segmentation"})) == ("tso",)
    assert ethtool.words(frozenset({"tx-udp-segmentation", "highdma"})) == ()


def test_interface_names_those_that_are_stacked_on_it(tree: Tree) -> None:
    """A port has its bridge, and any interface its VLANs."""
    port = tree.net("eth0", attributes={"speed": 1000})
    bridge = tree.net("br0", devtype="bridge", address="52:54:00:00:00:01")
    vlan = tree.net("eth0.7", devtype="vlan", address="52:54:00:00:00:02")
    tree.stack(port, vlan)
    tree.stack(port, bridge)
    found = device()
    assert net(found).uppers == (bridge, vlan)
    root = validate(native_xml(found))
    assert [one.text for one in root.findall("capability/upper")] == ["br0", "eth0.7"]


def test_speed_of_what_is_stacked_on_a_port_follows_it(tree: Tree) -> None:
    """A VLAN on a bridge, and the bridge on its port: one change leads to all."""
    port = tree.net("eth0", attributes={"speed": 10000})
    bridge = tree.net(
        "br0", devtype="bridge", address="52:54:00:00:00:01", attributes={"speed": 10000}
    )
    vlan = tree.net("br0.7", devtype="vlan", address=None, attributes={"speed": 10000})
    tree.stack(port, bridge)
    tree.stack(bridge, vlan)
    sysroot = Sysroot()
    before = scan(sysroot)
    for path in (port, bridge, vlan):
        tree.attributes(path, {"speed": 100})
    after = update(sysroot, before, {port}).snapshot
    assert list(after) == list(scan(Sysroot()))
    assert list(after) != list(before)


def test_message_of_a_port_has_what_is_stacked_on_it_read(tree: Tree) -> None:
    """A bond learns late that its port has failed: by then the port itself is as it was."""
    port = tree.net("eth0", attributes={"speed": 1000})
    bond = tree.net("bond0", devtype="bond", address=None, attributes={"speed": 2000})
    vlan = tree.net("bond0.7", devtype="vlan", address=None, attributes={"speed": 2000})
    tree.stack(port, bond)
    tree.stack(bond, vlan)
    tree.stack(vlan, port)  # No kernel does this, a recording may.
    sysroot = Sysroot()
    before = scan(sysroot)
    for path in (bond, vlan):
        tree.attributes(path, {"speed": 1000})
    after = update(sysroot, before, {"/sys/class/net/eth0"}).snapshot
    assert list(after) == list(scan(Sysroot()))
    assert list(after) != list(before)


@pytest.mark.parametrize("how", ["leaves", "goes"])
def test_bridge_is_read_again_when_a_port_leaves_it(tree: Tree, how: str) -> None:
    """Its speed is that of the ports that are left; the port alone has a message."""
    port = tree.net("eth0", attributes={"speed": 10000})
    bridge = tree.net("br0", devtype="bridge", address=None, attributes={"speed": 10000})
    tree.stack(port, bridge)
    sysroot = Sysroot()
    before = scan(sysroot)
    if how == "leaves":
        tree.remove(f"{port}/upper_br0")
    else:
        tree.remove("/sys/class/net/eth0")
        tree.remove(port)
    tree.attributes(bridge, {"speed": 100})
    after = update(sysroot, before, {port}).snapshot
    assert list(after) == list(scan(Sysroot()))
    found = after.lookup(bridge).capability(Net)
    assert found is not None
    assert found.link.speed == 100


def test_speed_of_a_virtual_function_follows_the_port_of_its_card(tree: Tree) -> None:
    """The driver of a virtual function whose link is forced up reports the port's speed."""
    card, function = "0000:01:00.0", "0000:01:00.2"
    for address in (card, function):
        tree.pci(address, vendor=0x15B3, device=0x1017, class_=0x020000)
    tree.sriov(card, [function])
    port = tree.net("eth0", parent=card, attributes={"speed": 25000})
    virtual = tree.net(
        "eth1", parent=function, address="52:54:00:00:00:01", attributes={"speed": 25000}
    )
    sysroot = Sysroot()
    before = scan(sysroot)
    for path in (port, virtual):
        tree.attributes(path, {"speed": 10000})
    after = update(sysroot, before, {port}).snapshot
    assert list(after) == list(scan(Sysroot()))
    assert list(after) != list(before)
