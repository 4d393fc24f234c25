"""record: a copy scans to the same devices as the host, and does not identify the machine."""

from __future__ import annotations

import errno
import os
import random
import re
from pathlib import Path

import pytest

from nodedevd import __version__
from nodedevd.errors import (
    AlreadyExists,
    BadArchive,
    NoDirectory,
    NotASysroot,
    NotEmpty,
    NotRecordable,
)
from nodedevd.host.archive.disk import unpack
from nodedevd.host.archive.text import read_archive
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.scsi_host import ScsiHost
from nodedevd.kinds.scsi_target import ScsiTarget
from nodedevd.kinds.storage import Storage
from nodedevd.kinds.system import System
from nodedevd.model.device import Device
from nodedevd.tree.read import scan
from nodedevd.tree.record import RecordingSysroot, record
from tests.support.hosts import HOSTS, host_file
from tests.support.trees import Tree

RENAMED = ("mdev_", "net_", "block_")
MAC = rb"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b"
IDENTIFYING = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|" + MAC)
UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
GPU = "/sys/devices/pci0000:00/0000:00:02.0"
OWN = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
OTHER = "a2c1a9b0-5c3e-4f27-b6d4-0d6e2f9b7c02"


def devices(root: str | os.PathLike[str]) -> list[Device]:
    """Scan a host."""
    return list(scan(Sysroot(os.fspath(root))))


def everything(root: Path) -> bytes:
    """Return all names, links and contents below a directory, joined."""
    parts = []
    for directory, directories, files in sorted(os.walk(os.fsencode(root))):
        for name in sorted([*directories, *files]):
            path = os.path.join(directory, name)
            parts.append(os.path.relpath(path, os.fsencode(root)))
            if os.path.islink(path):
                parts.append(os.readlink(path))
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    parts.append(file.read())
    return b"\n".join(parts)


def build(root: Path) -> Tree:
    """Build a host with two mdevs, a serial number and a MAC address."""
    tree = Tree(root)
    gpu = tree.pci("0000:00:02.0", vendor=0x8086, device=0x3E98, class_=0x030000, driver="i915")
    tree.mdev_type(gpu, "i915-GVTg_V5_4", description=f"made for {OWN}, 02:42:ac:11:00:02")
    tree.mdev_parent(gpu)
    tree.mdev(gpu, OWN, "i915-GVTg_V5_4", driver="vfio_mdev", iommu_group=12, vfio=0)
    tree.mdev(gpu, OTHER, "i915-GVTg_V5_4")
    tree.dmi(
        product_name="Box 9000", product_serial="SN-1", product_uuid=OWN.upper(), sys_vendor="ACME"
    )
    return tree


# Raw


@pytest.mark.exhaustive
@pytest.mark.parametrize("target", ["copy", "copy.ttar"])
@pytest.mark.parametrize("host", HOSTS)
def test_raw_recording_of_a_host_scans_the_same(host: str, target: str, tmp_path: Path) -> None:
    """The same names, values and faults, from a directory and from a file."""
    recorded = record(str(host_file(host)), str(tmp_path / target), raw=True)
    original = devices(host_file(host))
    assert devices(tmp_path / target) == original
    assert (recorded.devices, recorded.replaced, recorded.lost) == (len(original), 0, ())


def test_recording_of_a_recording_is_the_same(tmp_path: Path) -> None:
    """A recording holds exactly what a scan reads."""
    build(tmp_path / "host")
    record(str(tmp_path / "host"), str(tmp_path / "one"), raw=True)
    record(str(tmp_path / "one"), str(tmp_path / "two"), raw=True)
    assert everything(tmp_path / "one") == everything(tmp_path / "two")


def test_recording_holds_only_what_was_read(tmp_path: Path) -> None:
    """An attribute that no kind reads is not copied."""
    tree = build(tmp_path / "host")
    tree.attributes(f"{GPU}/{OWN}", {"vendor/secret": "of the guest"})
    tree.file("/etc/passwd", "root\n")
    record(tree.root, str(tmp_path / "copy"), raw=True)
    assert b"secret" not in everything(tmp_path / "copy")
    assert not (tmp_path / "copy/etc").exists()


def test_links_on_the_way_to_an_attribute_are_kept(tmp_path: Path) -> None:
    """The copy is read by the same paths; links outside /sys are not copied."""
    tree = build(tmp_path)
    tree.file("/usr/lib/pci.ids", "8086  Intel\n")
    tree.link("/usr/share/misc/pci.ids", "../../lib/pci.ids")
    sysroot = RecordingSysroot(tree.root)
    assert sysroot.read(f"/sys/bus/mdev/devices/{OWN}/vfio-dev/vfio0/device/uevent")
    assert sysroot.pci_ids.vendor(0x8086) == "Intel"
    assert sysroot.links == {
        f"/sys/bus/mdev/devices/{OWN}": f"../../../devices/pci0000:00/0000:00:02.0/{OWN}",
        f"{GPU}/{OWN}/vfio-dev/vfio0/device": f"../../../{OWN}",
    }
    assert f"{GPU}/{OWN}/uevent" in sysroot.files


# Into one file


def test_recording_into_a_file_scans_the_same(tmp_path: Path) -> None:
    """It holds the same files as a recording into a directory."""
    tree = build(tmp_path / "host")
    in_file = record(tree.root, str(tmp_path / "host.ttar"), raw=True)
    in_directory = record(tree.root, str(tmp_path / "copy"), raw=True)
    assert in_file == in_directory
    assert devices(tmp_path / "host.ttar") == devices(tree.root)
    unpack(read_archive(str(tmp_path / "host.ttar")), str(tmp_path / "unpacked"))
    assert everything(tmp_path / "unpacked") == everything(tmp_path / "copy")


@pytest.mark.parametrize("raw", [True, False])
def test_recording_unpacked_and_packed_is_the_same(tmp_path: Path, raw: bool) -> None:
    """`record --raw` unpacks and packs."""
    tree = build(tmp_path / "host")
    for uuid in (OWN, OTHER):
        os.chmod(tree.at(f"{GPU}/{uuid}/remove"), 0o200)
    os.chmod(tree.at("/sys/devices/virtual/dmi/id/product_serial"), 0o400)
    record(tree.root, str(tmp_path / "one.ttar"), raw=raw)
    record(str(tmp_path / "one.ttar"), str(tmp_path / "copy"), raw=True)
    record(str(tmp_path / "copy"), str(tmp_path / "two.ttar"), raw=True)
    one, two = (read_archive(str(tmp_path / f"{name}.ttar")) for name in ("one", "two"))
    assert list(one.walk()) == list(two.walk())
    modes = {path.rpartition("/")[2]: mode for path, _, mode in two.walk()}
    assert (modes["remove"], modes["product_serial"], modes["uevent"]) == (0o200, 0o400, 0o644)


@pytest.mark.parametrize("raw", [True, False])
def test_recording_does_not_depend_on_the_order_of_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw: bool
) -> None:
    """Each file system lists them in an order of its own; stand-ins are numbered."""
    tree = build(tmp_path / "host")
    tree.net("eth1", address="02:42:ac:11:00:03")
    tree.net("eth0", address="02:42:ac:11:00:02")
    tree.definition("0000:00:02.0", OTHER, "i915-GVTg_V5_4")
    listdir = os.listdir

    def shuffled(path: str) -> list[str]:
        names = sorted(listdir(path))
        random.shuffle(names)
        return names

    monkeypatch.setattr(os, "listdir", shuffled)
    recordings = set()
    for number in range(8):
        random.seed(number)
        record(tree.root, str(tmp_path / f"{number}.ttar"), raw=raw)
        recordings.add((tmp_path / f"{number}.ttar").read_bytes())
    assert len(recordings) == 1


def test_head_of_a_recording_names_no_machine(tmp_path: Path) -> None:
    """It has the version, the kernel where it is this host's, and whether values are replaced.

    Of the kernel's release only the numbers: whoever built it may have named himself behind them.
    """
    tree = build(tmp_path / "host")
    record("/", str(tmp_path / "live.ttar"))
    record(tree.root, str(tmp_path / "copy.ttar"), raw=True)
    system = os.uname()
    version = re.split("[^0-9.]", system.release)[0]
    assert read_archive(str(tmp_path / "live.ttar")).about == (
        f"A host, Linux {version} on {system.machine}, recorded by nodedevd {__version__}.\n"
        "Its serial numbers, addresses, uuids, labels and chosen names are replaced by stand-ins.\n"
    )
    assert read_archive(str(tmp_path / "copy.ttar")).about == (
        f"A host, recorded by nodedevd {__version__}.\n"
        "Its serial numbers, addresses, uuids, labels and chosen names are as they were:"
        " the file identifies the machine.\n"
    )


@pytest.mark.parametrize(
    ("target", "there", "kind"),
    [
        ("x.ttar", None, "file"),
        ("x.ttar/", None, "directory"),
        ("x.ttar", "directory", "directory"),
        ("x", None, "directory"),
        (".ttar", None, "file"),
    ],
)
def test_target_is_a_file_by_its_name(
    tmp_path: Path, target: str, there: str | None, kind: str
) -> None:
    """Unless it is a directory already, or ends in a slash."""
    build(tmp_path / "host")
    if there is not None:
        (tmp_path / target).mkdir()
    record(str(tmp_path / "host"), f"{tmp_path}/{target}")
    assert (tmp_path / target).is_file() is (kind == "file")
    assert len(devices(tmp_path / target)) == 4


@pytest.mark.parametrize("there", ["file", "dangling link"])
def test_file_that_exists_is_never_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    """It is refused before the host is read, which may take long."""
    tree = build(tmp_path / "host")
    target = tmp_path / "host.ttar"
    target.write_text("mine\n") if there == "file" else target.symlink_to("nowhere")
    monkeypatch.setattr(Sysroot, "listdir", None)
    with pytest.raises(AlreadyExists, match="already exists; record into a new file"):
        record(tree.root, str(target))
    assert sorted(os.listdir(tmp_path)) == ["host", "host.ttar"]
    assert there != "file" or target.read_text() == "mine\n"


def test_damaged_archive_is_not_recorded(tmp_path: Path) -> None:
    """Nothing is written."""
    (tmp_path / "host.ttar").write_text("# A host\n")
    with pytest.raises(BadArchive, match="line 1: cut off"):
        record(str(tmp_path / "host.ttar"), str(tmp_path / "copy"))
    assert os.listdir(tmp_path) == ["host.ttar"]


def test_links_that_leave_the_host_are_recorded_as_links_inside(tmp_path: Path) -> None:
    """The copy leads where the host does, and can be an archive."""
    tree = build(tmp_path / "host")
    tree.link("/sys/bus/pci/devices/0000:00:02.0", GPU)
    tree.link(f"{GPU}/driver", "../" * 24 + "sys/bus/pci/drivers/i915")
    tree.link(f"{GPU}/{OWN}/driver", "../../pci0000:00/../../bus/mdev/drivers/vfio_mdev")
    record(tree.root, str(tmp_path / "host.ttar"), raw=True)
    assert devices(tmp_path / "host.ttar") == devices(tree.root)
    archive = read_archive(str(tmp_path / "host.ttar"))
    assert archive.readlink("/sys/bus/pci/devices/0000:00:02.0") == f"../../..{GPU[4:]}"
    assert archive.readlink(f"{GPU}/driver") == "../../../bus/pci/drivers/i915"


# Made anonymous


@pytest.mark.exhaustive
@pytest.mark.parametrize("host", HOSTS)
def test_recording_has_the_same_tree_without_uuids(host: str, tmp_path: Path) -> None:
    """No uuid of the host is anywhere in the copy, and each has one stand-in."""
    record(str(host_file(host)), str(tmp_path))
    secrets = IDENTIFYING.findall(host_file(host).read_bytes().lower())
    after = everything(tmp_path).lower()
    assert [secret for secret in secrets if secret in after] == []
    original, copy = devices(host_file(host)), devices(tmp_path)
    assert sorted(device.types for device in copy) == sorted(device.types for device in original)
    # Names of others have a uuid or a hardware address in them.
    assert [device.name for device in copy if not device.name.startswith(RENAMED)] == [
        device.name for device in original if not device.name.startswith(RENAMED)
    ]


def test_identifying_values_are_replaced_alike_everywhere(tmp_path: Path) -> None:
    """A uuid has one stand-in in names, links and contents, so that they still match."""
    tree = build(tmp_path / "host")
    recorded = record(tree.root, str(tmp_path / "copy"))
    text = everything(tmp_path / "copy")
    for secret in (OWN, OWN.upper(), OTHER, "SN-1", "02:42:ac:11:00:02"):
        assert secret.encode() not in text
    assert recorded.replaced == 4  # two uuids, a serial number, a MAC address
    stand_ins = sorted(set(UUID.findall(text)))
    assert len(stand_ins) == 2
    host = scan(Sysroot(str(tmp_path / "copy")))
    system = host.lookup("computer").capability(System)
    assert system is not None
    assert system.hardware.uuid is not None
    assert system.hardware.uuid.encode() in stand_ins
    assert system.hardware.serial is not None
    assert re.fullmatch("[A-Z]{2}-[0-9]", system.hardware.serial)
    assert system.hardware.vendor == "ACME"
    for uuid in stand_ins:
        mdev = host.lookup(uuid.decode())
        assert mdev.errors == ()
        assert mdev.parent == "pci_0000_00_02_0"
    parent = (tmp_path / "copy" / GPU.lstrip("/") / "mdev_supported_types/i915-GVTg_V5_4").resolve()
    assert (parent / "description").read_bytes().startswith(b"made for ")
    assert sorted(os.listdir(os.fsencode(parent / "devices"))) == stand_ins


def test_pci_ids_are_an_excerpt(tmp_path: Path) -> None:
    """It has the names of the host's devices, and no others."""
    tree = build(tmp_path / "host")
    tree.pci("0000:00:03.0", vendor=0x10DE, device=1, class_=2, subsystem=(0x10DE, 2))
    tree.file(
        "/usr/share/misc/pci.ids",
        "10de  NVIDIA\n\t0001  A chip\n\t\t10de 0002  A board\n\t0003  Another chip\n"
        "1af4  Red Hat\n8086  Intel & S\u00f6hne\n",
    )
    record(tree.root, str(tmp_path / "copy"))
    excerpt = (tmp_path / "copy/usr/share/misc/pci.ids").read_text(encoding="utf-8")
    assert excerpt == (
        "10de  NVIDIA\n\t0001  A chip\n\t\t10de 0002  A board\n8086  Intel & S\u00f6hne\n"
    )
    assert devices(tmp_path / "copy")[-1] == devices(tree.root)[-1]


def test_serial_numbers_and_names_of_storage_are_replaced_alike(tmp_path: Path) -> None:
    """In attributes, in udev's database, in links and in Vital Product Data; the tree stays."""
    record(str(host_file("server-storage-fc")), str(tmp_path))
    copied = everything(tmp_path)
    for secret in (
        *(b"EXS0001", b"EXCD0001", b"EXNVME0001", b"0e500001", b"3600a09803830304f"),
        *(b"000000bd0", b"c9000001", b"0000fab1", b"98394b5d", b"c500a0000001"),
        *(b"EXRFD0001", b"EX-ASSET-7", b"rack", b"89abcdef"),
    ):
        assert secret not in copied, secret
    host = scan(Sysroot(str(tmp_path)))
    assert [device.errors for device in host if device.errors] == []
    original = scan(Sysroot(str(host_file("server-storage-fc"))))
    assert len(host) == len(original)
    by_node = {device.devnode: device for device in host if device.devnode is not None}
    one, other = (by_node[f"/dev/{name}"].capability(Storage) for name in ("sdb", "sdc"))
    assert one is not None
    assert other is not None
    assert one.serial == other.serial
    target = host.lookup("scsi_target5_0_0").capability(ScsiTarget)
    assert target is not None
    assert target.fc_remote_port is not None
    way = f"/dev/disk/by-path/pci-0000:01:00.0-fc-0x{target.fc_remote_port.wwpn}-lun-1"
    assert way in by_node["/dev/sdb"].devlinks
    virtual = host.lookup("scsi_host6").capability(ScsiHost)
    assert virtual is not None
    assert virtual.fc_host is not None
    assert virtual.fc_host.fabric_wwn is None
    adapter = host.lookup("pci_0000_01_00_0").capability(Pci)
    assert adapter is not None
    assert adapter.vpd is not None
    assert adapter.vpd.read_only is not None
    assert adapter.vpd.read_only.part_number == "EX2690"
    original_adapter = original.lookup("pci_0000_01_00_0").capability(Pci)
    assert original_adapter is not None
    assert original_adapter.vpd is not None
    assert original_adapter.vpd.read_only is not None
    serial = adapter.vpd.read_only.serial_number
    assert serial != original_adapter.vpd.read_only.serial_number
    assert len(serial or "") == len(original_adapter.vpd.read_only.serial_number or "")


def test_serial_number_has_one_stand_in_in_sysfs_and_for_udev(tmp_path: Path) -> None:
    """An attribute is padded, a property is not."""
    tree = Tree(tmp_path / "host")
    behind = tree.device("/sys/devices/nvme0", attributes={"serial": "S1EXAMPLE      "})
    tree.block("nvme0n1", device=behind, number=(259, 0))
    other = tree.block("nvme1n1", device=behind, number=(259, 1))
    tree.udev(other, {"ID_SERIAL": "S1EXAMPLE"})
    record(tree.root, str(tmp_path / "copy"))
    found = [device.capability(Storage) for device in devices(tmp_path / "copy")]
    serials = [one.serial for one in found if one is not None]
    assert len(serials) == 2
    assert len(set(serials)) == 1
    assert re.fullmatch("[A-Z][0-9][A-Z]{7}", serials[0] or "")
    assert serials[0] != "S1EXAMPLE"


# What cannot be recorded


@pytest.mark.parametrize("content", ["file", "directory", "itself"])
def test_target_that_is_not_empty_is_refused(tmp_path: Path, content: str) -> None:
    """Existing files are never touched."""
    tree = build(tmp_path / "host")
    target = tmp_path / "copy"
    if content == "itself":
        target.write_text("a file\n")
    else:
        target.mkdir()
        (target / "x").mkdir() if content == "directory" else (target / "x").write_text("x")
    with pytest.raises(NotEmpty, match="not an empty directory"):
        record(tree.root, str(target))
    assert not target.is_dir() or len(list(target.iterdir())) == 1


def test_target_that_is_empty_is_taken(tmp_path: Path) -> None:
    """An existing directory, or a new one."""
    build(tmp_path / "host")
    (tmp_path / "there").mkdir()
    for target in ("there", "new"):
        assert record(str(tmp_path / "host"), str(tmp_path / target)).devices == 4


@pytest.mark.parametrize("target", ["gone/copy", "gone/copy.ttar", "host/sys/gone/copy"])
def test_target_in_a_missing_directory_is_refused(tmp_path: Path, target: str) -> None:
    """A mistyped path creates nothing; the error comes before the scan."""
    build(tmp_path / "host")
    path = tmp_path / target
    with pytest.raises(NoDirectory, match=f"{path.parent} does not exist; create it"):
        record(str(tmp_path / "host"), str(path))
    assert not path.parent.exists()


def test_source_that_is_no_sysroot_is_refused(tmp_path: Path) -> None:
    """Nothing is written."""
    (tmp_path / "host").mkdir()
    with pytest.raises(NotASysroot):
        record(str(tmp_path / "host"), str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, "refused"), (errno.EIO, "unreadable")])
def test_attribute_that_cannot_be_read_is_lost_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    """The copy shows it as absent; the report says what it was."""
    tree = build(tmp_path / "host")
    serial = "/sys/devices/virtual/dmi/id/product_serial"
    available = f"{GPU}/mdev_supported_types/i915-GVTg_V5_4/available_instances"

    read = Sysroot.read

    def failing(self: Sysroot, path: str, size: int | None = None) -> bytes:
        if path in (serial, available):
            raise OSError(number, os.strerror(number), path)
        return read(self, path, size)

    with monkeypatch.context() as patch:
        patch.setattr(Sysroot, "read", failing)
        recorded = record(tree.root, str(tmp_path / "copy"))
        assert code in [fault.code for fault in scan(Sysroot(tree.root)).lookup("computer").errors]
    assert set(recorded.lost) == {"computer/product_serial", available}
    copy = scan(Sysroot(str(tmp_path / "copy")))
    assert copy.lookup("computer").errors == ()
    faults = copy.lookup("pci_0000_00_02_0").errors
    assert [(fault.attribute, fault.code) for fault in faults] == [
        ("mdev_supported_types/i915-GVTg_V5_4/available_instances", "absent")
    ]
    assert not (tmp_path / "copy" / available.lstrip("/")).exists()


def test_recording_writes_no_links_that_leave_it(tmp_path: Path) -> None:
    """Nothing outside the copy is touched, wherever the host's links lead."""
    secret = tmp_path / "secret"
    secret.mkdir()
    tree = build(tmp_path / "host")
    tree.link("/sys/bus/pci/devices/0000:00:09.0", str(secret))
    tree.link("/sys/class/mdev_bus/out", "../" * 24 + str(secret).lstrip("/"))
    record(tree.root, str(tmp_path / "copy"))
    assert list(secret.iterdir()) == []


def test_recording_of_pci_ids_is_not_written_through_a_link(tmp_path: Path) -> None:
    """The recording fails if the host has a link in the place of their directory."""
    secret = tmp_path / "secret"
    secret.mkdir()
    tree = build(tmp_path / "host")
    tree.link("/usr/share/misc", str(secret))
    tree.file("/usr/share/hwdata/pci.ids", "8086  Intel\n")
    tree.remove("/sys/bus/mdev/devices")
    tree.link("/sys/bus/mdev/devices", "/usr/share")
    with pytest.raises(NotRecordable, match="'/usr/share/misc' has an entry already"):
        record(tree.root, str(tmp_path / "copy"))
    assert list(secret.iterdir()) == []
    assert not (tmp_path / "copy").exists()


def test_serial_numbers_in_udevs_database_are_replaced(tmp_path: Path) -> None:
    """In properties and in the links named by them; properties that nothing reads are left out."""
    tree = Tree(tmp_path / "host")
    model = tree.device("/sys/devices/0", attributes={"model": "Ultra", "vendor": "SanDisk"})
    disk = tree.block("sda", size=8, attributes={"dev": "8:0"}, device=model)
    tree.file(f"{disk}/uevent", "MAJOR=8\nMINOR=0\nDEVNAME=sda\nDEVTYPE=disk\n")
    tree.udev(
        disk,
        {
            "ID_MODEL": "Ultra",
            "ID_SERIAL": "SanDisk_Ultra_4C530001",
            "ID_SERIAL_SHORT": "4C530001",
            "ID_WWN": "0x5000c500a1b2c3d4",
            "ID_SCSI_SERIAL": "8",
            "ID_FS_UUID": OWN,
        },
        links=[
            "disk/by-id/usb-SanDisk_Ultra_4C530001",
            "disk/by-id/wwn-0x5000c500a1b2c3d4",
            "disk/by-path/pci-0000:00:14.0",
        ],
    )
    record(str(tmp_path / "host"), str(tmp_path / "copy"))
    copied = (tmp_path / "copy/run/udev/data/b8:0").read_text(encoding="ascii")
    assert "4C53" not in copied
    assert "a1b2c3d4" not in copied
    assert OWN not in copied
    assert copied == (
        "S:disk/by-id/usb-SanDisk_Ultra_0A000000\n"
        "S:disk/by-id/wwn-0x5000000000000001\n"
        "S:disk/by-path/pci-0000:00:14.0\n"
        "E:ID_SERIAL=SanDisk_Ultra_0A000000\n"
    )
    (found,) = (one for one in devices(tmp_path / "copy") if one.devnode == "/dev/sda")
    assert len(found.devlinks) == 3
    assert "/dev/disk/by-path/pci-0000:00:14.0" in found.devlinks


# mdevctl's definitions


def test_definitions_are_recorded_under_the_stand_ins_of_their_devices(tmp_path: Path) -> None:
    """In file names and in contents; a copy shows the same mdevs as defined."""
    tree = build(tmp_path / "host")
    absent, address = "c3d7b1e4-8f2a-4e60-9b15-7a4c2d1e5f03", "0000:00:02.0"
    tree.definition(address, OWN, "i915-GVTg_V5_4", start="auto", attributes=[("peer", OTHER)])
    tree.definition("0000:99:00.0", OWN, "i915-GVTg_V5_4")
    tree.definition("0000:99:00.0", absent, "i915-GVTg_V5_4")
    tree.file(f"/etc/mdevctl.d/{address}/{OWN}~", OWN)
    tree.file(f"/etc/mdevctl.d/scripts.d/callouts/{OWN}", "#!/bin/sh\n")
    record(tree.root, str(tmp_path / "copy"))
    after = everything(tmp_path / "copy")
    assert [one for one in (OWN, OTHER, absent) if one.encode() in after.lower()] == []
    mdevs = {}
    for root in ("host", "copy"):
        found = [device.capability(MdevChild) for device in devices(tmp_path / root)]
        mdevs[root] = [one for one in found if one is not None]
    for each in mdevs.values():
        assert sorted((one.parent_addr, one.state, str(one.autostart)) for one in each) == [
            (address, "complete", "None"),
            (address, "complete", "True"),
            ("0000:99:00.0", "inactive", "False"),
            ("0000:99:00.0", "inactive", "False"),
        ]
    own = next(one for one in mdevs["copy"] if one.autostart)
    other = next(one for one in mdevs["copy"] if one.autostart is None)
    assert own.definition is not None
    attributes = own.definition.attributes
    assert [(one.name, one.value) for one in attributes] == [("peer", other.uuid)]
    twice = [one.uuid for one in mdevs["copy"] if one.state == "inactive"]
    assert own.uuid in twice
    recorded = {path.name for path in (tmp_path / "copy/etc/mdevctl.d").rglob("*")}
    assert recorded == {address, "0000:99:00.0", *twice, "scripts.d", "callouts"}


def test_definition_that_is_nonsense_is_recorded_as_it_is(tmp_path: Path) -> None:
    """The copy shows the same fault."""
    tree = build(tmp_path / "host")
    path = tree.file(f"/etc/mdevctl.d/mtty/{OWN}", '{"mdev_type"')
    recorded = record(tree.root, str(tmp_path / "copy"), raw=True)
    assert devices(tmp_path / "copy") == devices(tmp_path / "host")
    assert (tmp_path / f"copy{path}").read_text() == '{"mdev_type"'
    assert recorded.lost == ()
