"""pci: a PCI function, by its uevent, its attributes and its configuration space."""

from __future__ import annotations

import errno

import msgspec
import pytest

from nodedevd.host.faults import Fault
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.base import HardwareId
from nodedevd.kinds.pci import IommuGroup, Pci, VirtualFunctions
from nodedevd.kinds.pci.config import PciExpress, PciLink
from nodedevd.kinds.pci.vpd import parse_vpd
from nodedevd.kinds.shared.vfio import VfioDevice
from nodedevd.model.device import Device
from nodedevd.tree.read import read_device, scan
from tests.support.faulty import FaultySysroot
from tests.support.trees import Express, Tree, config_space
from tests.support.vpd import END, resource, vital_product_data
from tests.support.xml import attributes, find, libvirt_xml, native_xml, validate

ADDRESS = "0000:05:00.0"
PATH = f"/sys/devices/pci0000:00/{ADDRESS}"
LISTED_IN = ["/sys/bus/pci/devices"]
IDS = ["class", "vendor", "device", "subsystem_vendor", "subsystem_device"]


def make(tree: Tree, address: str = ADDRESS, express: Express | None = None) -> str:
    """Make a network card; no two of its ids are alike."""
    return tree.pci(
        address,
        vendor=0xABCD,
        device=0x1234,
        class_=0x020001,
        subsystem=(0x10DE, 0x157E),
        revision=0xA1,
        express=express,
    )


def device(sysroot: Sysroot | None = None, path: str = PATH) -> Device:
    """Scan the host and return the device at a path."""
    return scan(sysroot or Sysroot()).lookup(path)


def pci(of: Device) -> Pci:
    """Return the capability, and expect it."""
    found = of.capability(Pci)
    assert found is not None
    return found


def test_whole_function_shows_each_field(tree: Tree) -> None:
    """Every attribute is in its field; XML has libvirt's elements in its order, then the others."""
    tree.pci("0000:00:1c.0", vendor=0x8086, device=0xA33C, class_=0x060400)
    path = tree.pci(
        ADDRESS,
        parent="0000:00:1c.0",
        vendor=0xABCD,
        device=0x1234,
        class_=0x020000,
        subsystem=(0x10DE, 0x157E),
        revision=0xA1,
        driver="fastnic",
        numa_node=1,
        iommu_group=12,
        express=Express(0, 3, 8, 2, 1, 4),
    )
    vfs = ["0000:05:10.0", "0000:05:10.2"]
    for vf in vfs:
        tree.pci(vf, parent="0000:00:1c.0", vendor=0xABCD, device=0x1234, class_=0x020000)
    tree.sriov(path, vfs, total=63)
    tree.pci_ids({(0xABCD, "Fast & Co"): {0x1234: "Fast NIC"}, (0x10DE, "NVIDIA"): {}})
    found = device(path=path)
    assert found.errors == ()
    assert found.driver == "fastnic"
    assert found.capabilities == (
        Pci(
            address=ADDRESS,
            class_code="0x020000",
            vendor=HardwareId("0xabcd", "Fast & Co"),
            product=HardwareId("0x1234", "Fast NIC"),
            subsystem_vendor=HardwareId("0x10de", "NVIDIA"),
            subsystem_product=HardwareId("0x157e", None),
            revision="0xa1",
            physical_function=None,
            virtual_functions=VirtualFunctions(63, tuple(vfs)),
            bridge=None,
            vpd=None,
            iommu_group=IommuGroup(12, (ADDRESS,)),
            numa_node=1,
            pci_express=PciExpress(PciLink(8.0, 8, 2), PciLink(2.5, 4)),
            vfio_device=None,
        ),
    )
    text = native_xml(found)
    validate(text)
    assert text == (
        "<device>\n"
        "  <name>pci_0000_05_00_0</name>\n"
        "  <path>/sys/devices/pci0000:00/0000:00:1c.0/0000:05:00.0</path>\n"
        "  <parent>pci_0000_00_1c_0</parent>\n"
        "  <driver>\n"
        "    <name>fastnic</name>\n"
        "  </driver>\n"
        "  <capability type='pci'>\n"
        "    <class>0x020000</class>\n"
        "    <domain>0</domain>\n"
        "    <bus>5</bus>\n"
        "    <slot>0</slot>\n"
        "    <function>0</function>\n"
        "    <product id='0x1234'>Fast NIC</product>\n"
        "    <vendor id='0xabcd'>Fast &amp; Co</vendor>\n"
        "    <capability type='virt_functions' maxCount='63'>\n"
        "      <address domain='0x0000' bus='0x05' slot='0x10' function='0x0'/>\n"
        "      <address domain='0x0000' bus='0x05' slot='0x10' function='0x2'/>\n"
        "    </capability>\n"
        "    <iommuGroup number='12'>\n"
        "      <address domain='0x0000' bus='0x05' slot='0x00' function='0x0'/>\n"
        "    </iommuGroup>\n"
        "    <numa node='1'/>\n"
        "    <pci-express>\n"
        "      <link validity='cap' port='2' speed='8' width='8'/>\n"
        "      <link validity='sta' speed='2.5' width='4'/>\n"
        "    </pci-express>\n"
        "    <revision>0xa1</revision>\n"
        "    <subsystem_product id='0x157e'/>\n"
        "    <subsystem_vendor id='0x10de'>NVIDIA</subsystem_vendor>\n"
        "  </capability>\n"
        "</device>\n"
    )


# Ids


def test_ids_are_taken_from_the_uevent_in_one_read(tree: Tree) -> None:
    """The uevent has all ids: their own files are not opened."""
    make(tree)
    sysroot = FaultySysroot()
    found = pci(device(sysroot))
    assert (found.class_code, found.vendor, found.product) == (
        "0x020001",
        HardwareId("0xabcd"),
        HardwareId("0x1234"),
    )
    assert (found.subsystem_vendor, found.subsystem_product) == (
        HardwareId("0x10de"),
        HardwareId("0x157e"),
    )
    assert [name for name in IDS if f"{PATH}/{name}" in sysroot.reads] == []


@pytest.mark.parametrize("uevent", [None, "", "DRIVER=nvidia\n", "PCI_ID=garbage\nPCI_CLASS=\n"])
def test_ids_without_a_useful_uevent_are_read_one_by_one(tree: Tree, uevent: str | None) -> None:
    """Each id has a file of its own, with the same number in it."""
    whole = pci(device(path=make(tree)))
    tree.remove(f"{PATH}/uevent")
    if uevent is not None:
        tree.file(f"{PATH}/uevent", uevent)
    found = device()
    assert (pci(found), found.errors) == (whole, ())


@pytest.mark.parametrize("name", ["class", "vendor", "device"])
def test_id_in_neither_place_is_unknown(tree: Tree, name: str) -> None:
    """These three the ABI promises: without one the function stays, and is blamed."""
    make(tree)
    tree.file(f"{PATH}/uevent", "")
    tree.remove(f"{PATH}/{name}")
    found = device()
    assert found.errors == (Fault(name, "absent", ""),)
    tag = {"device": "product"}.get(name, name)
    root = validate(native_xml(found))
    assert [one.tag for one in root.findall(".//*[@state='unknown']")] == [tag]
    field = {"class": "class_code", "device": "product"}.get(name, name)
    assert getattr(pci(found), field) is None


@pytest.mark.parametrize("content", ["garbage", "1234", "0xg", "0x12345678", "-0x1", "0x", "0x 1"])
@pytest.mark.parametrize("name", IDS)
def test_id_that_is_no_number_is_unknown(tree: Tree, name: str, content: str) -> None:
    """Ids are 0x and hex digits, and not more than fit."""
    make(tree)
    tree.file(f"{PATH}/uevent", "")
    tree.file(f"{PATH}/{name}", f"{content}\n")
    found = device()
    assert found.errors == (Fault(name, "malformed", content),)
    validate(native_xml(found))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EINVAL, errno.ENODEV])
def test_uevent_that_fails_is_a_fault_and_no_loss(tree: Tree, number: int) -> None:
    """The ids of their own stand in for the uevent."""
    whole = pci(device(path=make(tree)))
    found = device(FaultySysroot(errors={f"{PATH}/uevent": number}))
    assert pci(found) == whole
    assert [fault.attribute for fault in found.errors] == ["uevent"]


def test_function_without_subsystem_ids_has_none(tree: Tree) -> None:
    """Bridges have 0000:0000, which is not an id."""
    path = tree.pci("0000:00:1c.0", vendor=0x8086, device=0xA33C, class_=0x060400)
    found = device(path=path)
    assert (pci(found).subsystem_vendor, pci(found).subsystem_product) == (None, None)
    assert found.errors == ()
    root = validate(native_xml(found))
    assert root.find("capability/subsystem_vendor") is None


def test_subsystem_product_of_zero_is_an_id(tree: Tree) -> None:
    """Only 0000 as vendor means that there is no id."""
    path = tree.pci(ADDRESS, vendor=1, device=2, class_=3, subsystem=(0x8086, 0))
    assert pci(device(path=path)).subsystem_product == HardwareId("0x0000")


def test_host_without_pci_ids_has_no_names(tree: Tree) -> None:
    """The ids are known without the names."""
    found = device(path=make(tree))
    assert pci(found).vendor == HardwareId("0xabcd", None)
    root = validate(native_xml(found))
    assert find(root, "capability/vendor").text is None


def test_revision_without_config_is_that_of_its_attribute(tree: Tree) -> None:
    """Configuration space has it first; the attribute stands in."""
    make(tree)
    tree.file(f"{PATH}/revision", "0x0b\n")
    assert pci(device()).revision == "0xa1"
    tree.remove(f"{PATH}/config")
    assert pci(device()).revision == "0x0b"
    tree.remove(f"{PATH}/revision")
    found = device()
    assert (pci(found).revision, found.errors) == (None, ())
    assert validate(native_xml(found)).find("capability/revision") is None


def test_revision_that_is_no_number_is_unknown(tree: Tree) -> None:
    """Eight bits are all a revision has."""
    make(tree)
    tree.remove(f"{PATH}/config")
    tree.file(f"{PATH}/revision", "0x100\n")
    found = device()
    assert found.errors == (Fault("revision", "malformed", "0x100"),)
    element = find(validate(native_xml(found)), "capability/revision")
    assert element.get("state") == "unknown"


# Addresses


@pytest.mark.parametrize(
    ("address", "name", "numbers"),
    [
        ("0001:c8:1f.7", "pci_0001_c8_1f_7", ["1", "200", "31", "7"]),
        ("10000:e0:06.0", "pci_10000_e0_06_0", ["65536", "224", "6", "0"]),
    ],
)
def test_address_of_any_domain_is_read(
    tree: Tree, address: str, name: str, numbers: list[str]
) -> None:
    """Domains behind Intel VMD have five digits."""
    found = device(path=make(tree, address))
    assert (found.name, pci(found).address) == (name, address)
    root = validate(native_xml(found))
    tags = ["domain", "bus", "slot", "function"]
    assert [root.findtext(f"capability/{tag}") for tag in tags] == numbers


def test_device_whose_name_is_no_address_is_shown(tree: Tree) -> None:
    """Every device of the bus is a function, whatever else is wrong with it."""
    path = make(tree, "0000:00:02.0")
    odd = tree.device("/sys/devices/pci0000:00/thing", bus="pci")
    tree.attributes(odd, {"vendor": "0x8086", "device": "0x0001", "class": "0x060000"})
    found = device(path=odd)
    assert (found.name, pci(found).address) == ("pci_thing", None)
    assert found.errors == (Fault("", "malformed", "the name of a PCI function is its address"),)
    root = validate(native_xml(found))
    assert root.find("capability/domain") is None
    assert device(path=path).errors == ()


# SR-IOV


def test_virtual_function_names_its_physical_one(tree: Tree) -> None:
    """The link physfn leads to the PF; a VF has no VFs."""
    pf = make(tree)
    vf = make(tree, "0000:05:10.0")
    tree.sriov(pf, [vf], total=8)
    found = device(path=vf)
    assert (pci(found).physical_function, pci(found).virtual_functions) == (ADDRESS, None)
    address = find(
        validate(native_xml(found)), "capability/capability[@type='phys_function']/address"
    )
    assert attributes(address) == {
        "domain": "0x0000",
        "bus": "0x05",
        "slot": "0x00",
        "function": "0x0",
    }


def test_physical_function_without_vfs_shows_what_it_could_have(tree: Tree) -> None:
    """VFs that are not enabled are a number alone."""
    tree.sriov(make(tree), total=63)
    found = device()
    assert pci(found).virtual_functions == VirtualFunctions(63, ())
    element = find(validate(native_xml(found)), "capability/capability")
    assert (attributes(element), len(element)) == (
        {"type": "virt_functions", "maxCount": "63"},
        0,
    )


def test_function_with_no_room_for_vfs_has_no_sriov(tree: Tree) -> None:
    """A card whose SR-IOV is switched off has a maximum of 0."""
    tree.sriov(make(tree), total=0)
    assert pci(device()).virtual_functions is None


def test_virtual_functions_are_in_the_order_of_their_numbers(tree: Tree) -> None:
    """virtfn10 comes after virtfn9, gaps and odd names do no harm."""
    path = make(tree)
    for index in [0, 2, 9, 10, 11]:
        tree.link(f"{path}/virtfn{index}", f"../0000:05:{index:02x}.0")
    tree.link(f"{path}/virtfnX", "../0000:05:1f.0")
    tree.link(f"{path}/virtfn", "../0000:05:1f.0")
    found = device()
    assert pci(found).virtual_functions == VirtualFunctions(
        None, tuple(f"0000:05:{index:02x}.0" for index in [0, 2, 9, 10, 11])
    )
    assert found.errors == ()
    element = find(validate(native_xml(found)), "capability/capability")
    assert element.get("maxCount") is None


def test_link_to_a_virtual_function_that_fails_costs_no_other(tree: Tree) -> None:
    """A VF whose link is refused does not affect the others."""
    path = make(tree)
    tree.link(f"{path}/virtfn0", "../0000:05:10.0")
    tree.link(f"{path}/virtfn1", "../0000:05:10.1")
    found = device(FaultySysroot(errors={f"{PATH}/virtfn0": errno.EIO}))
    assert pci(found).virtual_functions == VirtualFunctions(None, ("0000:05:10.1",))
    assert found.errors == (Fault("virtfn0", "unreadable", "EIO: Input/output error"),)


def test_maximum_of_virtual_functions_that_is_no_number_is_a_fault(tree: Tree) -> None:
    """The VFs there are stay; how many there could be is unknown."""
    path = make(tree)
    tree.file(f"{path}/sriov_totalvfs", "many\n")
    tree.link(f"{path}/virtfn0", "../0000:05:10.0")
    found = device()
    assert pci(found).virtual_functions == VirtualFunctions(None, ("0000:05:10.0",))
    assert found.errors == (Fault("sriov_totalvfs", "malformed", "many"),)
    validate(native_xml(found))


# IOMMU group and NUMA node


def test_iommu_group_lists_all_members_sorted(tree: Tree) -> None:
    """A group is handed out whole; a member on another bus is named as the kernel does."""
    path = tree.pci(ADDRESS, vendor=1, device=2, class_=3, iommu_group=7)
    tree.pci("0000:00:02.0", vendor=1, device=2, class_=3, iommu_group=7)
    tree.device("/sys/devices/platform/arm-smmu.1", bus="platform", iommu_group=7)
    found = device(path=path)
    assert pci(found).iommu_group == IommuGroup(7, ("0000:00:02.0", ADDRESS, "arm-smmu.1"))
    group = find(validate(native_xml(found)), "capability/iommuGroup")
    assert [(one.tag, one.get("bus"), one.get("name")) for one in group] == [
        ("address", "0x00", None),
        ("address", "0x05", None),
        ("device", None, "arm-smmu.1"),
    ]


def test_iommu_group_that_is_gone_keeps_its_number(tree: Tree) -> None:
    """The link names the group; its members are unknown."""
    path = make(tree)
    tree.link(f"{path}/iommu_group", "../../../kernel/iommu_groups/404")
    found = device()
    assert pci(found).iommu_group == IommuGroup(404, ())
    assert found.errors == (Fault("iommu_group/devices", "absent", "dangling"),)
    validate(native_xml(found))


def test_iommu_group_without_number_is_unknown(tree: Tree) -> None:
    """The kernel names groups by number; another name is a fault."""
    path = make(tree)
    tree.link(f"{path}/iommu_group", "../../../kernel/iommu_groups/none")
    found = device()
    assert pci(found).iommu_group is None
    assert found.errors == (Fault("iommu_group", "malformed", "none"),)
    element = find(validate(native_xml(found)), "capability/iommuGroup")
    assert attributes(element) == {"state": "unknown"}


def test_numa_node_of_none_is_absent(tree: Tree) -> None:
    """-1 stands for no node, and is not a fault."""
    found = device(path=tree.pci(ADDRESS, vendor=1, device=2, class_=3, numa_node=-1))
    assert (pci(found).numa_node, found.errors) == (None, ())
    assert validate(native_xml(found)).find("capability/numa") is None


@pytest.mark.parametrize("content", ["many", "-2", "", "1 2"])
def test_numa_node_that_is_no_number_is_unknown(tree: Tree, content: str) -> None:
    """Text that is not a number is a fault."""
    tree.file(f"{make(tree)}/numa_node", f"{content}\n")
    found = device()
    assert found.errors == (Fault("numa_node", "malformed", content),)
    element = find(validate(native_xml(found)), "capability/numa")
    assert attributes(element) == {"state": "unknown"}


# Configuration space


@pytest.mark.parametrize(
    ("header_type", "bridge"), [(0, None), (1, "pci-bridge"), (2, "cardbus-bridge"), (3, None)]
)
@pytest.mark.parametrize("multifunction", [0, 0x80])
def test_header_type_tells_bridges(
    tree: Tree, header_type: int, bridge: str | None, multifunction: int
) -> None:
    """The type is the seven low bits of byte 0x0e; the eighth marks several functions."""
    config = config_space(1, 2, 3, header_type=header_type | multifunction)
    found = device(path=tree.pci(ADDRESS, vendor=1, device=2, class_=3, config=config))
    assert (pci(found).bridge, found.errors) == (bridge, ())
    inner = validate(native_xml(found)).findall("capability/capability")
    assert [one.get("type") for one in inner] == ([bridge] if bridge else [])


@pytest.mark.parametrize("port_type", [9, 10])
def test_port_without_link_has_an_empty_pci_express(tree: Tree, port_type: int) -> None:
    """Integrated endpoints and event collectors are PCI Express, and have no link."""
    found = device(path=make(tree, express=Express(port_type, 3, 8, 0, 3, 8)))
    assert pci(found).pci_express == PciExpress()
    element = find(validate(native_xml(found)), "capability/pci-express")
    assert (len(element), attributes(element)) == (0, {})


@pytest.mark.parametrize(
    ("code", "speed", "shown"),
    [
        (0, None, None),
        (1, 2.5, "2.5"),
        (2, 5.0, "5"),
        (3, 8.0, "8"),
        (4, 16.0, "16"),
        (5, 32.0, "32"),
        (6, 64.0, "64"),
        (7, 128.0, "128"),
        (8, None, None),
        (15, None, None),
    ],
)
def test_link_speed_is_told_by_its_code(
    tree: Tree, code: int, speed: float | None, shown: str | None
) -> None:
    """The speed of a code that no standard has is unknown, without a fault."""
    found = device(path=make(tree, express=Express(0, code, 16, 255, code, 63)))
    assert pci(found).pci_express == PciExpress(PciLink(speed, 16, 255), PciLink(speed, 63))
    assert found.errors == ()
    links = validate(native_xml(found)).findall("capability/pci-express/link")
    assert [(one.get("speed"), one.get("width"), one.get("port")) for one in links] == [
        (shown, "16", "255"),
        (shown, "63", None),
    ]


def test_conventional_pci_has_no_pci_express(tree: Tree) -> None:
    """A capability list without that capability is not a fault."""
    found = device(path=make(tree))
    assert (pci(found).pci_express, found.errors) == (None, ())
    assert validate(native_xml(found)).find("capability/pci-express") is None


@pytest.mark.parametrize(
    ("size", "code", "detail"),
    [
        (10, "malformed", "10 bytes, expected at least 64"),
        (63, "malformed", "63 bytes, expected at least 64"),
        (64, "refused", "only root reads beyond the first 64 bytes"),
        (65, "malformed", "capability at 0x40 is cut off"),
        (0x63, "malformed", "capability at 0x50 is cut off"),
    ],
)
def test_config_that_ends_early_leaves_pci_express_unknown(
    tree: Tree, size: int, code: str, detail: str
) -> None:
    """Values beyond the end are unknown; those before it are read."""
    path = make(tree, express=Express(0, 3, 8, 0, 3, 8))
    whole = config_space(0xABCD, 0x1234, 0x020001, express=Express(0, 3, 8), revision=0xA1)
    tree.file(f"{path}/config", whole[:size])
    found = device()
    assert [msgspec.structs.astuple(one) for one in found.errors] == [("config", code, detail)]
    assert (pci(found).pci_express, pci(found).revision) == (None, "0xa1")
    root = validate(native_xml(found))
    assert [one.tag for one in root.findall(".//*[@state='unknown']")] == ["pci-express"]
    data = msgspec.json.decode(msgspec.json.encode(found))
    assert data["capabilities"][0]["pci_express"] is None
    assert data["errors"] == [{"attribute": "config", "code": code, "detail": detail}]


@pytest.mark.parametrize("size", [256, 4096])
def test_config_of_either_whole_size_is_read(tree: Tree, size: int) -> None:
    """PCI has 256 bytes, PCI Express 4096, and the first 256 are read."""
    config = config_space(1, 2, 3, express=Express(4, 3, 8, 1, 3, 8), size=size)
    found = device(path=tree.pci(ADDRESS, vendor=1, device=2, class_=3, config=config))
    assert pci(found).pci_express == PciExpress(PciLink(8.0, 8, 1), PciLink(8.0, 8))


def test_empty_config_says_nothing(tree: Tree) -> None:
    """An empty config, as in a recording, is the same as a missing one."""
    tree.file(f"{make(tree)}/config", b"")
    found = device()
    assert (pci(found).bridge, pci(found).pci_express, found.errors) == (None, None, ())
    assert pci(found).revision == "0xa1"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_config_that_cannot_be_read_leaves_the_rest(tree: Tree, number: int) -> None:
    """All else has files of its own."""
    whole = pci(device(path=make(tree, express=Express(0, 3, 8, 0, 3, 8))))
    found = device(FaultySysroot(errors={f"{PATH}/config": number}))
    assert pci(found) == msgspec.structs.replace(whole, pci_express=None)
    assert [fault.attribute for fault in found.errors] == ["config"]
    root = validate(native_xml(found))
    assert [one.tag for one in root.findall(".//*[@state='unknown']")] == ["pci-express"]


def test_capability_list_that_loops_ends(tree: Tree) -> None:
    """A list that comes back to itself is broken, and its walk ends."""
    config = bytearray(config_space(1, 2, 3, express=Express(0, 3, 8, 0, 3, 8)))
    config[0x41] = 0x40
    path = tree.pci(ADDRESS, vendor=1, device=2, class_=3, config=bytes(config))
    found = device(path=path)
    assert found.errors == (Fault("config", "malformed", "capability list breaks at 0x40"),)
    assert pci(found).bridge is None
    validate(native_xml(found))


def test_function_that_fell_off_the_bus_is_told(tree: Tree) -> None:
    """A function that does not answer reads as all ones, which are no values."""
    path = tree.pci(ADDRESS, vendor=1, device=2, class_=3, config=b"\xff" * 256)
    tree.file(f"{path}/revision", "0x02\n")
    found = device()
    detail = "all ones: the function does not answer"
    assert found.errors == (Fault("config", "unreadable", detail),)
    assert (pci(found).bridge, pci(found).revision) == (None, "0x02")


def test_virtual_function_whose_ids_are_all_ones_is_read(tree: Tree) -> None:
    """SR-IOV 1.1, section 3.4.1.1: a VF's ids read as FFFF; the rest of its config counts."""
    express = Express(0, 4, 16, 0, 4, 16)
    config = config_space(0xFFFF, 0xFFFF, 0x030200, express=express, revision=0xA1)
    path = tree.pci(ADDRESS, vendor=0x10DE, device=0x25B6, class_=0x030200, config=config)
    found = device(path=path)
    assert found.errors == ()
    assert pci(found).vendor == HardwareId("0x10de")
    assert pci(found).pci_express == PciExpress(PciLink(16.0, 16, 0), PciLink(16.0, 16))


# Vanishing


def test_function_removed_while_read_is_no_device(tree: Tree) -> None:
    """A function removed at any point of its read is dropped, without an error."""

    def build() -> None:
        path = tree.pci(ADDRESS, vendor=1, device=2, class_=3, driver="odd", iommu_group=1)
        tree.link(f"{path}/virtfn0", "../0000:05:10.0")

    build()
    reads = FaultySysroot()
    whole = read_device(reads, PATH, LISTED_IN)
    assert whole is not None
    count = len([path for path in reads.reads if f"{path}/".startswith(f"{PATH}/")])
    assert count == 7  # itself, uevent, config, virtfn0, iommu_group, numa_node, driver
    for at in range(1, count + 1):
        assert read_device(FaultySysroot(vanishing=PATH, at=at), PATH, LISTED_IN) is None
        build()
    assert read_device(Sysroot(), PATH, LISTED_IN) == whole


def test_attribute_that_goes_alone_is_absent(tree: Tree) -> None:
    """An attribute that is removed after the listing, of a device that stays, is not a fault."""
    make(tree)
    found = device(FaultySysroot(errors={f"{PATH}/numa_node": errno.ENOENT}))
    assert (pci(found).numa_node, found.errors) == (None, ())


def test_directory_that_cannot_be_listed_is_a_fault(tree: Tree) -> None:
    """A function whose directory is refused is shown, with its errors."""
    make(tree)
    found = device(FaultySysroot(errors={PATH: errno.EACCES}))
    assert pci(found).address == ADDRESS
    assert found.errors[0] == Fault("", "refused", "EACCES")
    validate(native_xml(found))


# Vital Product Data

VPD = vital_product_data(
    "Fast <NIC>", {"PN": "PN-1", "SN": "S&1", "V1": "abc"}, {"YA": "TAG", "Y0": "rack"}
)


def test_vital_product_data_stands_before_the_group(tree: Tree) -> None:
    """In libvirt's elements and order; a filter finds the device by it."""
    tree.attributes(make(tree), {"vpd": VPD})
    found = device()
    assert found.words == {"pci", "vpd"}
    assert found.errors == ()
    assert pci(found).vpd == parse_vpd(VPD)
    text = native_xml(found)
    validate(text)
    assert (
        "    <capability type='vpd'>\n"
        "      <name>Fast &lt;NIC&gt;</name>\n"
        "      <fields access='readonly'>\n"
        "        <part_number>PN-1</part_number>\n"
        "        <serial_number>S&amp;1</serial_number>\n"
        "        <vendor_field index='1'>abc</vendor_field>\n"
        "      </fields>\n"
        "      <fields access='readwrite'>\n"
        "        <asset_tag>TAG</asset_tag>\n"
        "        <system_field index='0'>rack</system_field>\n"
        "      </fields>\n"
        "    </capability>\n"
        "    <revision>"
    ) in text


def test_vital_product_data_longer_than_a_page_is_read_whole(tree: Tree) -> None:
    """It may have 32 KiB."""
    data = vital_product_data("Board", {"PN": "PN-1"}, {})[:-1]
    data += resource(0x85, bytes(30000)) + bytes([END])
    tree.attributes(make(tree), {"vpd": data})
    assert pci(device()).vpd == parse_vpd(data)


def test_vital_product_data_is_read_no_further_than_it_can_reach(tree: Tree) -> None:
    """Data without an end within 32 KiB has no end."""
    data = vital_product_data("Board", {})[:-1] + resource(0x85, bytes(40000)) + bytes([END])
    tree.attributes(make(tree), {"vpd": data})
    assert [(one.attribute, one.code) for one in device().errors] == [("vpd", "malformed")]


@pytest.mark.parametrize("number", [errno.ENODEV, errno.EIO])
def test_board_without_vital_product_data_has_none(tree: Tree, number: int) -> None:
    """The kernel reports it at the read; an empty file means the same."""
    tree.attributes(make(tree), {"vpd": b""})
    assert (pci(device()).vpd, device().errors) == (None, ())
    found = device(FaultySysroot(errors={f"{PATH}/vpd": number}))
    assert (pci(found).vpd, found.errors) == (None, ())


@pytest.mark.parametrize(
    ("number", "code"), [(errno.EACCES, "refused"), (errno.ETIMEDOUT, "unreadable")]
)
def test_vital_product_data_that_cannot_be_read_is_unknown(
    tree: Tree, number: int, code: str
) -> None:
    """Root alone may, and a board may not answer."""
    tree.attributes(make(tree), {"vpd": VPD})
    found = device(FaultySysroot(errors={f"{PATH}/vpd": number}))
    assert [(one.attribute, one.code) for one in found.errors] == [("vpd", code)]
    part = find(validate(native_xml(found)), "capability/capability")
    assert attributes(part) == {"type": "vpd", "state": "unknown"}


def test_vital_product_data_of_a_wrong_checksum_is_unknown(tree: Tree) -> None:
    """None of its values is used."""
    tree.attributes(make(tree), {"vpd": VPD.replace(b"PN-1", b"PN-2")})
    found = device()
    assert found.errors == (Fault("vpd", "malformed", "the checksum is wrong"),)
    assert pci(found).vpd is None
    assert found.words == {"pci"}


def test_function_bound_to_vfio_shows_its_vfio_device(tree: Tree) -> None:
    """The node under which a process gets hold of it, on a kernel that has such nodes."""
    path = tree.pci(ADDRESS, vendor=0xABCD, device=0x1234, class_=0x020000, driver="vfio-pci")
    tree.vfio_device(path, 7)
    found = device(path=path)
    assert pci(found).vfio_device == VfioDevice("vfio7", "/dev/vfio/devices/vfio7")
    text = native_xml(found)
    validate(text)
    assert "    <vfioDevice name='vfio7' node='/dev/vfio/devices/vfio7'/>\n" in text
    assert "vfioDevice" not in libvirt_xml(found)
