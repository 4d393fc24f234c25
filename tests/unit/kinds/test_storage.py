"""storage: one block device, whatever is behind it."""

from __future__ import annotations

import errno
from pathlib import Path

import msgspec
import pytest

from nodedevd.host.faults import Fault
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.storage import Removable, Storage
from nodedevd.model.device import Device
from nodedevd.tree.read import read_device, scan
from tests.support.faulty import FaultySysroot
from tests.support.trees import Attributes, Tree
from tests.support.xml import attributes, find, native_xml, validate

HOST = "/sys/devices/pci0000:00/0000:00:17.0"
LUN = f"{HOST}/ata1/host0/target0:0:0/0:0:0:0"
PATH = f"{LUN}/block/sda"
LISTED_IN = ["/sys/class/block"]


def disk(tree: Tree, *, size: int | str | None = 2048, block_size: int | str | None = 512) -> str:
    """Make a SATA disk that has everything."""
    values: Attributes = {"vendor": "ATA     ", "model": "Example Disk 1TB", "type": 0}
    tree.device(LUN, bus="scsi", driver="sd", attributes=values)
    return tree.block("sda", above=f"{LUN}/block", device=LUN, size=size, block_size=block_size)


def device(name: str = "block_sda", sysroot: Sysroot | None = None) -> Device:
    """Scan the host and return a disk."""
    return scan(sysroot or Sysroot()).lookup(name)


def storage(of: Device) -> Storage:
    """Return the capability, and expect it."""
    found = of.capability(Storage)
    assert found is not None
    return found


def test_whole_disk_shows_each_field(tree: Tree) -> None:
    """Every attribute is in its field; XML has them in order."""
    tree.pci("0000:00:17.0", vendor=0x8086, device=0xA352, class_=0x010601)
    tree.udev(
        disk(tree, size=1953525168),
        {"ID_TYPE": "disk", "ID_BUS": "ata", "ID_SERIAL": "Example_Disk_1TB_EX0001"},
    )
    found = device("block_sda_Example_Disk_1TB_EX0001")
    assert (found.path, found.parent) == (PATH, "pci_0000_00_17_0")
    assert (found.subsystem, found.sysname, found.driver) == ("block", "sda", None)
    assert (found.types, found.errors) == (("storage",), ())
    assert storage(found) == Storage(
        block="/dev/sda",
        bus="ata",
        drive_type="disk",
        model="Example Disk 1TB",
        vendor="ATA",
        serial="Example_Disk_1TB_EX0001",
        removable=None,
        size_bytes=1000204886016,
        logical_block_size=512,
    )
    text = native_xml(found)
    validate(text)
    assert text.partition("  <capability")[2] == (
        " type='storage'>\n"
        "    <block>/dev/sda</block>\n"
        "    <bus>ata</bus>\n"
        "    <drive_type>disk</drive_type>\n"
        "    <model>Example Disk 1TB</model>\n"
        "    <vendor>ATA</vendor>\n"
        "    <serial>Example_Disk_1TB_EX0001</serial>\n"
        "    <size>1000204886016</size>\n"
        "    <logical_block_size>512</logical_block_size>\n"
        "    <num_blocks>1953525168</num_blocks>\n"
        "  </capability>\n"
        "</device>\n"
    )


@pytest.mark.parametrize(("block_size", "blocks"), [(512, 8388608), (4096, 1048576)])
def test_size_counts_sectors_of_512_bytes_always(tree: Tree, block_size: int, blocks: int) -> None:
    """The kernel reports the size of a disk with 4096-byte blocks in sectors, as of any other."""
    disk(tree, size=8388608, block_size=block_size)
    found = device()
    assert storage(found).size_bytes == 4 << 30
    assert storage(found).logical_block_size == block_size
    assert validate(native_xml(found)).findtext("capability/num_blocks") == str(blocks)


def test_size_zero_is_a_size(tree: Tree) -> None:
    """An unused zram and a drive without a medium are present, with a size of 0."""
    tree.block("zram0", size=0, block_size=4096)
    found = device("block_zram0")
    assert (storage(found).size_bytes, found.errors) == (0, ())
    root = validate(native_xml(found))
    assert root.findtext("capability/size") == root.findtext("capability/num_blocks") == "0"


def test_partition_is_no_device(tree: Tree) -> None:
    """The kernel lists partitions among the disks; they are part of their disk."""
    tree.partition(disk(tree), "sda1")
    assert scan(Sysroot()).names == ("block_sda", "computer")


@pytest.mark.parametrize(("hidden", "there"), [("1", False), ("0", True)])
def test_hidden_path_of_a_disk_is_no_device(tree: Tree, hidden: str, there: bool) -> None:
    """NVMe with multipath has one for each controller, with no node in /dev and no events."""
    tree.block("nvme0c0n1", attributes={"hidden": hidden})
    assert ("block_nvme0c0n1" in scan(Sysroot()).names) is there


def test_loop_device_is_one_while_a_file_is_bound(tree: Tree) -> None:
    """The kernel keeps spare ones; bound, they have a directory of their own name."""
    tree.block("loop0", size=131072, attributes={"loop/backing_file": "/image.iso"})
    tree.block("loop1")
    snapshot = scan(Sysroot())
    assert snapshot.names == ("block_loop0", "computer")
    assert storage(snapshot.lookup("block_loop0")).size_bytes == 64 << 20


def test_device_whose_node_is_in_a_directory_is_named_by_both(tree: Tree) -> None:
    """The kernel writes `!` for the slash in its name, and the slash in DEVNAME."""
    path = tree.block("cciss!c0d0", size=16)
    found = device("block_cciss_c0d0")
    assert (found.path, storage(found).block) == (path, "/dev/cciss/c0d0")
    tree.remove(f"{path}/uevent")
    assert storage(device("block_cciss_c0d0")).block == "/dev/cciss/c0d0"


def test_device_of_odd_name_can_be_shown(tmp_path: Path) -> None:
    r"""Bytes that are no text are shown as \xNN."""
    tree = Tree(tmp_path)
    path = tree.block("sd\udcff")
    tree.remove(f"{path}/uevent")
    snapshot = scan(Sysroot(str(tmp_path)))
    found = next(one for one in snapshot if one.capability(Storage) is not None)
    assert storage(found).block == r"/dev/sd\xff"
    assert msgspec.json.decode(msgspec.json.encode(found), type=Device) == found
    validate(native_xml(found))


def test_blanks_around_model_and_vendor_are_padding(tree: Tree) -> None:
    """SCSI and NVMe pad to a fixed width; padding alone is no value."""
    disk(tree)
    tree.attributes(LUN, {"model": "  Two Words      ", "vendor": "        "})
    found = device()
    assert (storage(found).model, storage(found).vendor) == ("Two Words", None)
    assert validate(native_xml(found)).find("capability/vendor") is None


def test_disk_that_is_no_hardware_has_no_model(tree: Tree) -> None:
    """A device without `device` has no model."""
    tree.block("zram0", size=8)
    sysroot = FaultySysroot()
    found = device("block_zram0", sysroot)
    assert (storage(found).model, storage(found).vendor, found.errors) == (None, None, ())
    assert [path for path in sysroot.reads if "/device/" in path] == []


def test_device_without_model_and_vendor_has_none(tree: Tree) -> None:
    """A virtio disk has a device behind it, and that has no model."""
    virtio = tree.device("/sys/devices/pci0000:00/virtio0", bus="virtio")
    tree.block("vda", above=f"{virtio}/block", device=virtio, size=8)
    found = device("block_vda")
    assert (storage(found).model, storage(found).vendor, found.errors) == (None, None, ())


def test_missing_queue_leaves_out_blocks(tree: Tree) -> None:
    """Without a block size there is no number of blocks; the size is as good as ever."""
    disk(tree, block_size=None)
    found = device()
    assert (storage(found).size_bytes, storage(found).logical_block_size) == (1 << 20, None)
    assert found.errors == ()
    root = validate(native_xml(found))
    assert root.find("capability/logical_block_size") is None
    assert root.find("capability/num_blocks") is None


def test_block_size_zero_divides_nothing(tree: Tree) -> None:
    """A block size of 0 is shown, without a number of blocks."""
    disk(tree, block_size=0)
    root = validate(native_xml(device()))
    assert root.findtext("capability/logical_block_size") == "0"
    assert root.find("capability/num_blocks") is None


def test_absent_size_is_a_fault(tree: Tree) -> None:
    """The ABI promises a size."""
    disk(tree, size=None)
    found = device()
    assert storage(found).size_bytes is None
    assert found.errors == (Fault("size", "absent", ""),)
    size = find(validate(native_xml(found)), "capability/size")
    assert attributes(size) == {"state": "unknown"}


@pytest.mark.parametrize("size", ["-1", "big", "0x10", "1 2", "9" * 20])
def test_size_that_makes_no_sense_is_a_fault(tree: Tree, size: str) -> None:
    """A malformed size is unknown; the other values are read."""
    disk(tree, size=size)
    found = device()
    assert (storage(found).size_bytes, storage(found).logical_block_size) == (None, 512)
    assert found.errors == (Fault("size", "malformed", size),)
    validate(native_xml(found))


def test_largest_size_can_be_told(tree: Tree) -> None:
    """Bytes of the largest number of sectors still fit JSON and XML."""
    disk(tree, size=(1 << 63) - 1)
    found = device()
    data = msgspec.json.encode(found)
    assert msgspec.json.decode(data, type=Device) == found
    assert validate(native_xml(found)).findtext("capability/size") == str((1 << 72) - 512)


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, "refused"), (errno.EIO, "unreadable")])
@pytest.mark.parametrize(
    ("path", "attribute", "element"),
    [
        (PATH, "size", "size"),
        (PATH, "queue/logical_block_size", "logical_block_size"),
        (PATH, "device/model", "model"),
        (PATH, "device/vendor", "vendor"),
    ],
)
def test_attribute_that_cannot_be_read_costs_no_other(
    tree: Tree, path: str, attribute: str, element: str, number: int, code: str
) -> None:
    """One error of the driver makes one field unknown, in XML and JSON."""
    disk(tree)
    found = device(sysroot=FaultySysroot(errors={f"{path}/{attribute}": number}))
    assert [(one.attribute, one.code) for one in found.errors] == [(attribute, code)]
    root = validate(native_xml(found))
    assert [one.tag for one in root.findall(".//*[@state='unknown']")] == [element]
    fields = msgspec.json.decode(msgspec.json.encode(found))["capabilities"][0]
    assert {key for key, value in fields.items() if value is None} == {
        "size_bytes" if element == "size" else element,
        *("bus", "serial", "removable"),  # there is no udev, and no such thing
    }


def test_uevent_that_cannot_be_read_leaves_the_kernels_name(tree: Tree) -> None:
    """Where the kernel does not name the node, it is named as the device."""
    disk(tree)
    found = device(sysroot=FaultySysroot(errors={f"{PATH}/uevent": errno.EIO}))
    assert storage(found).block == "/dev/sda"
    assert [(one.attribute, one.code) for one in found.errors] == [("uevent", "unreadable")]


def test_disk_removed_while_read_is_no_device(tree: Tree) -> None:
    """A disk removed at any point of its read is dropped, without an error."""
    disk(tree)
    reads = FaultySysroot()
    whole = read_device(reads, PATH, LISTED_IN)
    assert whole is not None
    count = len([path for path in reads.reads if f"{path}/".startswith(f"{PATH}/")])
    # itself, uevent; device/ type, model, vendor, serial; size, logical_block_size
    assert count == 8
    for at in range(1, count + 1):
        assert read_device(FaultySysroot(vanishing=PATH, at=at), PATH, LISTED_IN) is None
        disk(tree)
    assert read_device(Sysroot(), PATH, LISTED_IN) == whole


# What kind of drive


@pytest.mark.parametrize(
    ("name", "properties", "kind"),
    [
        ("sda", {"ID_TYPE": "disk"}, "disk"),
        ("sr0", {"ID_TYPE": "cd"}, "cdrom"),
        ("sr0", {"ID_TYPE": "cd/dvd"}, "cdrom"),
        ("sdb", {"ID_TYPE": "floppy"}, "floppy"),
        ("sdb", {"ID_TYPE": "sd"}, "sd"),
        ("sdb", {"ID_TYPE": "optical", "ID_CDROM": "1"}, None),
        ("sdb", {"ID_TYPE": "generic", "ID_CDROM": "1"}, "cdrom"),
        ("sdb", {"ID_TYPE": "generic"}, None),
        ("sdb", {"ID_DRIVE_FLOPPY": "1", "ID_CDROM": "1"}, "floppy"),
        ("sdb", {"ID_DRIVE_FLOPPY": "0", "ID_CDROM": "1"}, "cdrom"),
        ("mmcblk0", {"ID_DRIVE_FLASH_SD": "1"}, "sd"),
        ("dasda", {"ID_TYPE": "disk"}, "dasd"),
        ("dasda", {}, "dasd"),
        ("vda", {}, "disk"),
        ("nvme0n1", {}, "disk"),
        ("nvme0c1n1", {}, "disk"),
        ("sr0", {}, "cdrom"),
        ("fd0", {}, "floppy"),
        ("loop0", {}, None),
        ("md127", {"MD_LEVEL": "raid1"}, None),
        ("dm-0", {"DM_NAME": "mpatha"}, None),
        ("nbd0", {}, None),
        ("zram0", {}, None),
    ],
)
def test_kind_of_drive_is_udevs_word_or_the_kernels_name(
    tree: Tree, name: str, properties: dict[str, str], kind: str | None
) -> None:
    """A device that is not a drive has no type, and is shown all the same."""
    path = tree.block(name, attributes={"loop/backing_file": "/image"}, number=(240, 0))
    if properties:
        tree.udev(path, properties)
    found = device(f"block_{name.replace('-', '_')}")
    assert (storage(found).drive_type, found.errors) == (kind, ())
    root = validate(native_xml(found))
    assert root.findtext("capability/drive_type") == kind


@pytest.mark.parametrize(
    ("number", "kind"), [("0", "disk"), ("5", "cdrom"), ("7", None), ("SD", "sd"), ("MMC", None)]
)
def test_kind_of_drive_is_told_by_what_is_behind_it(
    tree: Tree, number: str, kind: str | None
) -> None:
    """Without udev, the type is that of the SCSI device or of the card."""
    behind = tree.device(LUN, attributes={"type": number})
    tree.block("sda", above=f"{behind}/block", device=behind)
    assert storage(device()).drive_type == kind


# Serial numbers


@pytest.mark.parametrize("properties", [{}, {"ID_SERIAL": ""}])
def test_serial_number_is_told_without_udev(tree: Tree, properties: dict[str, str]) -> None:
    """NVMe and MMC have it behind the disk, padded; it is part of the name."""
    behind = tree.device("/sys/devices/nvme0", attributes={"serial": "EX1       "})
    path = tree.block("nvme0n1", device=behind)
    if properties:
        tree.udev(path, properties)
    assert storage(device("block_nvme0n1_EX1")).serial == "EX1"


def test_serial_number_of_a_virtio_disk_is_its_own(tree: Tree) -> None:
    """It is an attribute of the disk; an empty one is no value."""
    tree.block("vda", attributes={"serial": "guest-1"})
    tree.block("vdb", attributes={"serial": b""})
    snapshot = scan(Sysroot())
    assert snapshot.names == ("block_vda_guest_1", "block_vdb", "computer")
    assert storage(snapshot.lookup("block_vdb")).serial is None


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOTTY])
def test_virtio_disk_that_knows_no_serial_number_has_none(tree: Tree, number: int) -> None:
    """The device refuses the request, and the driver passes that on."""
    path = tree.block("vda", attributes={"serial": "guest-1"})
    found = scan(FaultySysroot(errors={f"{path}/serial": number})).lookup(path)
    assert found.errors == ()
    assert storage(found).serial is None


def test_serial_number_of_a_dasd_is_its_uid(tree: Tree) -> None:
    """The serial number that udev has for a DASD is not unique."""
    behind = tree.device("/sys/devices/css0/0.0.0001", attributes={"uid": "IBM.750000000A.0a00.01"})
    tree.udev(tree.block("dasda", device=behind), {"ID_SERIAL": "0X0001"})
    found = device("block_dasda_IBM_750000000A_0a00_01")
    assert storage(found).serial == "IBM.750000000A.0a00.01"


def test_udevs_serial_number_comes_first(tree: Tree) -> None:
    """It is the one that libvirt has in its name."""
    path = tree.block("vda", attributes={"serial": "guest-1"})
    tree.udev(path, {"ID_SERIAL": "guest <1>"})
    found = device("block_vda_guest__1_")
    assert validate(native_xml(found)).findtext("capability/serial") == "guest <1>"


def test_serial_number_that_cannot_be_read_is_a_fault(tree: Tree) -> None:
    """And no part of the name."""
    path = tree.block("vda", attributes={"serial": "guest-1"})
    found = device("block_vda", FaultySysroot(errors={f"{path}/serial": errno.EIO}))
    assert (storage(found).serial, [one.attribute for one in found.errors]) == (None, ["serial"])


# Media


def drive(
    tree: Tree, properties: dict[str, str], *, name: str = "sr0", removable: str = "1"
) -> Device:
    """Make a drive with 2048-byte blocks and an entry in udev's database, and read it."""
    path = tree.block(
        name, size=2097151, block_size=2048, number=(11, 0), attributes={"removable": removable}
    )
    if properties:
        tree.udev(path, properties)
    return device(f"block_{name}")


@pytest.mark.parametrize(
    ("name", "properties", "label"),
    [
        ("sr0", {"ID_CDROM": "1", "ID_CDROM_MEDIA": "1"}, None),
        ("sr0", {"ID_CDROM": "1", "ID_CDROM_MEDIA": "1", "ID_FS_LABEL": "A & B"}, "A & B"),
        ("fd0", {"ID_FS_LABEL": "DISK"}, "DISK"),
        ("fd0", {"ID_FS_TYPE": "vfat"}, None),
    ],
)
def test_medium_is_told_with_its_size_and_label(
    tree: Tree, name: str, properties: dict[str, str], label: str | None
) -> None:
    """The size of a drive is that of its medium."""
    found = drive(tree, properties, name=name)
    assert storage(found).removable == Removable(media_available=True, media_label=label)
    removable = find(validate(native_xml(found)), "capability/capability")
    assert attributes(removable) == {"type": "removable"}
    texts = {one.tag: one.text for one in removable}
    assert texts == {
        "media_available": "1",
        "media_size": str(2097151 * 512),
        **({} if label is None else {"media_label": label}),
        "logical_block_size": "2048",
        "num_blocks": str(2097151 * 512 // 2048),
    }
    assert found.errors == ()


@pytest.mark.parametrize(
    ("name", "properties"),
    [
        ("sr0", {"ID_CDROM": "1"}),
        ("sr0", {"ID_CDROM": "1", "ID_CDROM_MEDIA": "0"}),
        ("fd0", {"ID_DRIVE_FLOPPY": "1"}),
    ],
)
def test_drive_without_a_medium_holds_nothing(
    tree: Tree, name: str, properties: dict[str, str]
) -> None:
    """Without a medium, the kernel's size is stale."""
    found = drive(tree, properties, name=name)
    assert storage(found).removable == Removable(media_available=False, media_label=None)
    assert (storage(found).size_bytes, storage(found).logical_block_size) == (0, None)
    removable = find(validate(native_xml(found)), "capability/capability")
    assert {one.tag: one.text for one in removable} == {"media_available": "0", "media_size": "0"}


def test_drive_that_udev_has_not_seen_has_an_unknown_medium(tree: Tree) -> None:
    """The kernel does not report the medium; its size may be stale."""
    found = drive(tree, {})
    assert storage(found).removable == Removable(media_available=None, media_label=None)
    assert storage(found).size_bytes == 2097151 * 512
    root = validate(native_xml(found))
    assert root.find(".//media_available") is None
    assert root.findtext(".//media_size") == str(2097151 * 512)


@pytest.mark.parametrize(("name", "removable"), [("sr0", "0"), ("sda", "1"), ("sr0", "odd")])
def test_other_drive_has_its_size_as_any_disk(tree: Tree, name: str, removable: str) -> None:
    """A stick is removable as a whole; a drive that is not removable always has its medium."""
    found = drive(tree, {}, name=name, removable=removable)
    assert storage(found).removable is None
    root = validate(native_xml(found))
    assert root.findtext("capability/size") == str(2097151 * 512)
    assert root.find("capability/capability") is None


def test_size_of_a_medium_that_cannot_be_read_is_unknown(tree: Tree) -> None:
    """It is present, and its size is unknown."""
    drive(tree, {"ID_CDROM": "1", "ID_CDROM_MEDIA": "1"})
    path = "/sys/devices/virtual/block/sr0"
    found = device("block_sr0", FaultySysroot(errors={f"{path}/size": errno.EIO}))
    size = find(validate(native_xml(found)), ".//media_size")
    assert attributes(size) == {"state": "unknown"}
