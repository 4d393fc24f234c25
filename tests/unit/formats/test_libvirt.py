"""The format libvirt: which devices it lists, with which names and elements."""

from __future__ import annotations

import re

import pytest
from hypothesis import given

from nodedevd.errors import NoSuchDevice, NotInFormat
from nodedevd.formats import dump, libvirt
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds import KINDS
from nodedevd.kinds.system import System
from nodedevd.model.changes import Changed, Update
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.store import Store
from nodedevd.server.encodings import Encodings
from nodedevd.tree.read import scan
from tests.support.golden import Golden
from tests.support.hosts import HOSTS, snapshot_of
from tests.support.trees import Express, Tree
from tests.support.xml import libvirt_xml, parse
from tests.unit.formats.test_native import devices

UUID = "c0ffee00-0000-4000-8000-000000000001"
MDEV = "mdev_c0ffee00_0000_4000_8000_000000000001"


def scanned(tree: Tree) -> Snapshot:
    """Scan a host that a test has built."""
    return scan(Sysroot(tree.root))


def xml(snapshot: Snapshot, name: str) -> str:
    """Return one device in the format libvirt."""
    return dump(snapshot, [name], "libvirt")


@pytest.mark.parametrize("host", sorted(HOSTS))
def test_host_in_libvirts_format_is_the_golden_one(host: str, golden: Golden) -> None:
    """The document of all devices, in the text that was read by a person."""
    golden.check(f"{host}/libvirt.xml", dump(snapshot_of(host), None, "libvirt"))


@pytest.mark.parametrize("host", sorted(HOSTS))
def test_every_parent_is_a_device_that_is_shown(host: str) -> None:
    """The devices are one tree, though some are left out; no two have one name."""
    document = parse(dump(snapshot_of(host), None, "libvirt"))
    names = [device.findtext("name") for device in document]
    assert len(set(names)) == len(names)
    for device in document:
        if device.findtext("name") == "computer":
            assert device.find("parent") is None
        else:
            assert device.findtext("parent") in names


@pytest.mark.parametrize("host", sorted(set(HOSTS) - {"broken"}))  # where a uuid is none
def test_every_device_is_found_by_its_name_in_the_format(host: str) -> None:
    """Every name in the document is accepted by a lookup."""
    snapshot = snapshot_of(host)
    for device in snapshot:
        if libvirt.shows(device):
            assert snapshot.lookup(libvirt.placed(device, snapshot).name) is device


@pytest.mark.slow
@given(devices())
def test_any_device_that_is_shown_is_one_capability_of_libvirts(device: Device) -> None:
    """For every device; unknown values are left out."""
    if not libvirt.shows(device):
        return
    computer = Device("computer", None, None, None, None, None, (System(),), (), None, ())
    text = libvirt_xml(libvirt.placed(device, Snapshot([computer, device])))
    root = parse(text)
    assert len(root.findall("capability")) == 1
    assert "unknown'" not in re.sub("<link [^>]*state='unknown'/>", "", text)


def test_every_kind_is_libvirts() -> None:
    """A kind that libvirt does not have is to be named here."""
    assert {kind.name for kind in KINDS if kind.libvirt is None} == {"accel", "infiniband", "vgpu"}


def test_mdev_has_the_name_and_the_elements_of_libvirt(tree: Tree) -> None:
    """Its name ends with the parent's kernel name, in the document and as a parent."""
    parent = tree.pci("0000:00:02.0", vendor=0x8086, device=0x3E98, class_=0x030000)
    tree.mdev_type(parent, "i915-GVTg_V5_4", available=1, description="fence: 4")
    tree.mdev_parent(parent)
    tree.mdev(parent, UUID, "i915-GVTg_V5_4", driver="vfio_mdev", iommu_group=12)
    snapshot = scanned(tree)
    for name in (MDEV, UUID, f"{MDEV}_0000_00_02_0"):
        assert xml(snapshot, name) == (
            "<device>\n"
            f"  <name>{MDEV}_0000_00_02_0</name>\n"
            f"  <path>/sys/devices/pci0000:00/0000:00:02.0/{UUID}</path>\n"
            "  <parent>pci_0000_00_02_0</parent>\n"
            "  <driver>\n"
            "    <name>vfio_mdev</name>\n"
            "  </driver>\n"
            "  <capability type='mdev'>\n"
            "    <type id='i915-GVTg_V5_4'/>\n"
            f"    <uuid>{UUID}</uuid>\n"
            "    <parent_addr>0000:00:02.0</parent_addr>\n"
            "    <iommuGroup number='12'/>\n"
            "  </capability>\n"
            "</device>\n"
        )


def test_mdev_that_is_defined_alone_is_shown_as_libvirt_shows_it(tree: Tree) -> None:
    """Without path, driver and IOMMU group, with the attributes of its definition."""
    parent = tree.pci("0000:00:02.0", vendor=0x8086, device=0x3E98, class_=0x030000)
    tree.mdev_type(parent, "one", available=1)
    tree.mdev_parent(parent)
    tree.definition("0000:00:02.0", UUID, "one", attributes=[("a", "1"), ("a&b", "<")])
    assert xml(scanned(tree), UUID) == (
        "<device>\n"
        f"  <name>{MDEV}_0000_00_02_0</name>\n"
        "  <parent>pci_0000_00_02_0</parent>\n"
        "  <capability type='mdev'>\n"
        "    <type id='one'/>\n"
        f"    <uuid>{UUID}</uuid>\n"
        "    <parent_addr>0000:00:02.0</parent_addr>\n"
        "    <attr name='a' value='1'/>\n"
        "    <attr name='a&amp;b' value='&lt;'/>\n"
        "  </capability>\n"
        "</device>\n"
    )


def test_types_stand_between_the_functions_and_the_group_of_a_pci_device(tree: Tree) -> None:
    """In libvirt's order, with only libvirt's elements."""
    parent = tree.pci(
        "0000:00:02.0",
        vendor=0x8086,
        device=0x3E98,
        class_=0x030000,
        revision=2,
        iommu_group=1,
        express=Express(9),
    )
    tree.mdev_type(parent, "b", name="B", available=1, description="more")
    tree.mdev_type(parent, "a", available=0)
    tree.mdev_type(parent, "half", available=None)
    tree.mdev_parent(parent)
    document = xml(scanned(tree), "0000:00:02.0")
    assert document[document.index("    <vendor") :] == (
        "    <vendor id='0x8086'/>\n"
        "    <capability type='mdev_types'>\n"
        "      <type id='a'>\n"
        "        <deviceAPI>vfio-pci</deviceAPI>\n"
        "        <availableInstances>0</availableInstances>\n"
        "      </type>\n"
        "      <type id='b'>\n"
        "        <name>B</name>\n"
        "        <deviceAPI>vfio-pci</deviceAPI>\n"
        "        <availableInstances>1</availableInstances>\n"
        "      </type>\n"
        "    </capability>\n"
        "    <iommuGroup number='1'>\n"
        "      <address domain='0x0000' bus='0x00' slot='0x02' function='0x0'/>\n"
        "    </iommuGroup>\n"
        "    <pci-express/>\n"
        "  </capability>\n"
        "</device>\n"
    )


def test_group_names_its_pci_devices_alone(tree: Tree) -> None:
    """A member that is not on PCI has no address; the others still have."""
    tree.pci("0000:00:02.0", vendor=0x8086, device=0x3E98, class_=0x030000, iommu_group=1)
    tree.file("/sys/kernel/iommu_groups/1/devices/ARMH0D80:00")
    document = xml(scanned(tree), "0000:00:02.0")
    assert document.count("<address") == 1
    assert "ARMH" not in document


def test_parent_of_no_bus_that_libvirt_knows_is_shown_like_mtty(tree: Tree) -> None:
    """Types inside of types, and its mdevs below it."""
    parent = tree.device("/sys/devices/virtual/mdpy/mdpy", class_="mdpy")
    tree.mdev_type(parent, "mdpy-hd", available=3)
    tree.mdev_parent(parent)
    tree.mdev(parent, UUID, "mdpy-hd", driver="mdpy", iommu_group=2)
    snapshot = scanned(tree)
    assert parse(xml(snapshot, UUID)).findtext("parent") == "mdpy_mdpy"
    document = parse(xml(snapshot, "mdpy_mdpy"))
    types = document.findall("capability[@type='mdev_types']/capability[@type='mdev_types']/type")
    assert [one.get("id") for one in types] == ["mdpy-hd"]


@pytest.mark.parametrize("missing", ["mdev_type", "iommu_group"])
def test_mdev_that_is_half_made_is_not_shown(tree: Tree, missing: str) -> None:
    """Libvirt waits a second for both, and gives up on a device that lacks one."""
    parent = tree.pci("0000:00:02.0", vendor=0x8086, device=0x3E98, class_=0x030000)
    tree.mdev_type(parent, "one", available=1)
    tree.mdev_parent(parent)
    mdev = tree.mdev(parent, UUID, "one", driver="vfio_mdev", iommu_group=12)
    assert libvirt.shows(scanned(tree).lookup(UUID))
    tree.remove(f"{mdev}/{missing}")
    snapshot = scanned(tree)
    with pytest.raises(NotInFormat) as caught:
        xml(snapshot, UUID)
    assert (caught.value.name, caught.value.format) == (MDEV, "libvirt")
    assert caught.value.code == "not-in-format"
    assert MDEV not in dump(snapshot, None, "libvirt")


def test_device_that_is_not_there_is_no_such_device(tree: Tree) -> None:
    """In either format."""
    with pytest.raises(NoSuchDevice):
        xml(scanned(tree), "pci_0000_00_02_0")


def test_host_without_dmi_has_a_uuid_of_zeros() -> None:
    """It is the one element of the format that is never left out."""
    computer = Device("computer", None, None, None, None, None, (System(),), (), None, ())
    uuid = parse(libvirt_xml(computer)).findtext("capability/hardware/uuid")
    assert uuid == "00000000-0000-0000-0000-000000000000"


def test_parent_that_is_shown_or_hidden_changes_the_text_of_its_children(tree: Tree) -> None:
    """Cached text of a device is not used after its parent changes."""
    tree.net("br0", devtype="bridge")
    before = scanned(tree)
    bridge = before.lookup("/sys/class/net/br0")
    assert not libvirt.shows(bridge)
    below = Device("x", f"{bridge.path}/x", bridge.name, None, "x", None, (System(),), (), None, ())
    hidden = Snapshot([*before, below])
    shown = Snapshot([*(one for one in before if one is not bridge), below, _plain(bridge)])
    store = Store(hidden)
    encodings = Encodings(store)
    for snapshot, parent in ((hidden, "computer"), (shown, bridge.name), (hidden, "computer")):
        was, now = store.snapshot.lookup(bridge.name), snapshot.lookup(bridge.name)
        store.publish(Update(snapshot, () if was is now else (Changed(was, now),)))
        text = encodings.document(below, form="libvirt").decode()
        assert f"<parent>{parent}</parent>" in text
    # A stream that began before still sends what was shown then.
    piece = encodings.json_piece(below, shown, form="libvirt").decode()
    assert f"<parent>{bridge.name}</parent>" in piece


def _plain(device: Device) -> Device:
    """Return the device with a capability that libvirt shows."""
    return Device(
        device.name, device.path, device.parent, None, device.sysname, None, (System(),), (),
        None, (),
    )  # fmt: skip
