"""storage: a block device; partitions are not devices of the tree.

Reads  uevent (DEVNAME, DEVTYPE), hidden, size, removable, serial, queue/logical_block_size,
       device/{model,vendor,serial,type,uid}, and udev's database (ID_TYPE, ID_BUS, ID_SERIAL,
       ID_CDROM, ID_CDROM_MEDIA, ID_DRIVE_FLOPPY, ID_DRIVE_FLASH_SD, ID_FS_LABEL, ID_FS_TYPE)
ABI    Documentation/ABI/stable/sysfs-block
"""

from __future__ import annotations

import errno
import re
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from nodedevd.host.node import Node
from nodedevd.kinds.base import Capability, DeviceLike, Kind, LibvirtForm
from nodedevd.text import printable_path
from nodedevd.xml_writer import Out

_SECTOR_BYTES = 512
"""The unit of `size`, whatever the block size of the device."""

_NO_SERIAL = (errno.EOPNOTSUPP, errno.ENOTTY)
"""What virtio_blk answers for `serial` if the device does not know the request: serial_show() in
drivers/block/virtio_blk.c returns the error, EIO alone becomes empty text."""

DriveType: TypeAlias = Literal["disk", "cdrom", "floppy", "sd", "dasd"]

# The type of a drive is udev's, or else the kernel's: by the name of the device, the type of an
# MMC card, the SCSI peripheral device type.
_BY_ID_TYPE: dict[str, DriveType] = {
    "disk": "disk",
    "cd": "cdrom",
    "cd/dvd": "cdrom",
    "floppy": "floppy",
    "sd": "sd",
    "dasd": "dasd",
}
_BY_PROPERTY: dict[str, DriveType] = {
    "ID_DRIVE_FLOPPY": "floppy",
    "ID_CDROM": "cdrom",
    "ID_DRIVE_FLASH_SD": "sd",
}
_BY_NAME: tuple[tuple[re.Pattern[str], DriveType], ...] = (
    (re.compile("vd[a-z]+"), "disk"),
    (re.compile("nvme[0-9].*"), "disk"),
    (re.compile("sr[0-9]+"), "cdrom"),
    (re.compile("fd[0-9]+"), "floppy"),
)
_BY_DEVICE_TYPE: dict[str, DriveType] = {"0": "disk", "5": "cdrom", "SD": "sd"}


class Removable(msgspec.Struct, frozen=True, gc=False):
    """The medium of a drive whose medium can be removed."""

    media_available: bool | None
    """None is unknown: only udev detects it"""
    media_label: str | None
    """label of its file system"""


class Storage(Capability, frozen=True, gc=False, tag="storage"):
    """A block device."""

    block: str
    """device node"""
    bus: str | None
    """ID_BUS: ata, scsi, usb, …"""
    drive_type: DriveType | None
    """None for loop, md, dm and zram, which are not drives, and for drives of other types"""
    model: str | None
    """device/model"""
    vendor: str | None
    """device/vendor"""
    serial: str | None
    """ID_SERIAL, which often begins with the model; else the serial number alone"""
    removable: Removable | None
    """medium of a CD-ROM or floppy drive; None for other drives"""
    size_bytes: int | None
    """size; 0 without a medium, and for a device that is not set up, such as an unused zram"""
    logical_block_size: int | None
    """queue/logical_block_size, in bytes; None without a medium"""


def read(node: Node) -> Storage | None:
    """Read a block device; None for a partition, an unbound loop device and a hidden device.

    A hidden device is one path of a disk with multipath; it has no node and sends no events.
    """
    if node.has("hidden") and node.read("hidden") != "0":
        return None
    if "partition" in node.entries or node.uevent.get("DEVTYPE") == "partition":
        return None
    if node.faults.doubtful and "uevent" not in node.entries:
        return None  # it could not be listed, and may be a partition
    if node.sysname.startswith("loop") and not node.has("loop"):
        return None  # the directory `loop` exists while a file is bound
    properties = node.udev.properties
    name = node.uevent.get("DEVNAME") or printable_path(node.sysname).replace("!", "/")
    drive_type = _read_drive_type(node)
    removable = _read_removable(node, drive_type)
    empty = removable is not None and removable.media_available is False
    # Without a medium, `size` is stale.
    sectors = 0 if empty else node.read_number("size", promised=True)
    return Storage(
        block=f"/dev/{name}",
        bus=properties.get("ID_BUS") or None,
        drive_type=drive_type,
        model=_read_drive(node, "model"),
        vendor=_read_drive(node, "vendor"),
        serial=_read_serial(node, drive_type),
        removable=removable,
        size_bytes=None if sectors is None else sectors * _SECTOR_BYTES,
        logical_block_size=None if empty else node.read_number("queue/logical_block_size"),
    )


def _read_drive_type(node: Node) -> DriveType | None:
    if node.sysname.startswith("dasd"):
        return "dasd"
    properties = node.udev.properties
    id_type = properties.get("ID_TYPE", "generic")
    if id_type != "generic":  # udev does not know the type
        return _BY_ID_TYPE.get(id_type)
    for name, drive_type in _BY_PROPERTY.items():
        if properties.get(name, "0") != "0":
            return drive_type
    for pattern, drive_type in _BY_NAME:
        if pattern.fullmatch(node.sysname):
            return drive_type
    return _BY_DEVICE_TYPE.get(_read_drive(node, "type") or "")


def _read_removable(node: Node, drive_type: DriveType | None) -> Removable | None:
    if drive_type not in ("cdrom", "floppy") or node.read("removable") != "1":
        return None
    properties = node.udev.properties
    available: bool | None = None
    if drive_type == "cdrom" and properties:
        available = properties.get("ID_CDROM_MEDIA", "0") != "0"
    elif properties:
        available = "ID_FS_LABEL" in properties or "ID_FS_TYPE" in properties
    return Removable(media_available=available, media_label=properties.get("ID_FS_LABEL") or None)


def _read_serial(node: Node, drive_type: DriveType | None) -> str | None:
    if drive_type == "dasd":
        return _read_drive(node, "uid")
    found = node.udev.properties.get("ID_SERIAL")
    # virtio has it in the disk's directory, NVMe and MMC in device/, SCSI in no text attribute.
    return found or node.read_padded("serial", absent=_NO_SERIAL) or _read_drive(node, "serial")


def _read_drive(node: Node, attribute: str) -> str | None:
    return node.read_padded(f"device/{attribute}") if "device" in node.entries else None


def write(cap: Storage, out: Out) -> None:
    """Write as libvirt does."""
    out.text("block", cap.block)
    if cap.bus is not None:
        out.text("bus", cap.bus)
    if cap.drive_type is not None:
        out.text("drive_type", cap.drive_type)
    out.value("model", cap.model, "device/model")
    out.value("vendor", cap.vendor, "device/vendor")
    if cap.serial is not None:
        out.text("serial", cap.serial)
    if cap.removable is None:
        _write_size("size", cap, out)
        return
    with out.begin("capability", type="removable"):
        available = cap.removable.media_available
        if available is not None:
            out.text("media_available", int(available))
        _write_size("media_size", cap, out)


def _write_size(tag: str, cap: Storage, out: Out) -> None:
    out.value(tag, cap.size_bytes, "size")
    if cap.removable is not None and cap.removable.media_label is not None:
        out.text("media_label", cap.removable.media_label)
    out.value("logical_block_size", cap.logical_block_size, "queue/logical_block_size")
    if cap.size_bytes is not None and cap.logical_block_size:
        out.text("num_blocks", cap.size_bytes // cap.logical_block_size)


def write_as_libvirt(cap: Storage, out: Out) -> None:
    """Write a drive whose medium is unknown as one without a medium."""
    removable = cap.removable
    if removable is not None and removable.media_available is None:
        removable = replace(removable, media_available=False)
        cap = replace(cap, removable=removable, size_bytes=0, logical_block_size=None)
    write(cap, out)


def _shown_by_libvirt(cap: Storage, device: DeviceLike) -> bool:
    # The serial number of a DASD is its uid, and every DASD has one.
    return cap.drive_type is not None and (cap.drive_type != "dasd" or cap.serial is not None)


KIND = Kind(
    capability=Storage,
    read=read,
    write=write,
    subsystems=frozenset({"block"}),
    identifying=frozenset({"serial", "uid"}),
    suffix=lambda cap: cap.serial,
    libvirt=LibvirtForm("storage", bit=8, write=write_as_libvirt, shown=_shown_by_libvirt),
)
