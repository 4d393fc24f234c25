"""storage: a block device; partitions are part of it, and no device of their own.

Reads  uevent (DEVNAME, DEVTYPE), size, queue/logical_block_size, device/{model,vendor}
ABI    Documentation/ABI/stable/sysfs-block
"""

from __future__ import annotations

from nodedevd.capabilities.base import Capability, Kind
from nodedevd.node import Node, shown
from nodedevd.xmltext import Out

_SECTOR_BYTES = 512
"""The unit of `size`, whatever the device's own blocks are."""


class Storage(Capability, frozen=True, gc=False, tag="storage"):
    """A block device."""

    block: str
    """device node"""
    model: str | None
    """device/model"""
    vendor: str | None
    """device/vendor"""
    size_bytes: int | None
    """size; 0 for a device that is not set up, such as an unused zram"""
    logical_block_size: int | None
    """bytes"""


def read(node: Node) -> Storage | None:
    """Read a block device; a partition, and a loop device bound to nothing, are none."""
    if node.uevent.get("DEVTYPE") == "partition":
        return None
    if node.sysname.startswith("loop") and not node.has("loop"):
        return None  # the directory `loop` is there while a file is bound
    sectors = node.read_number("size", promised=True)
    return Storage(
        block=f"/dev/{node.uevent.get('DEVNAME') or shown(node.sysname).replace('!', '/')}",
        model=_trimmed(node, "device/model"),
        vendor=_trimmed(node, "device/vendor"),
        size_bytes=None if sectors is None else sectors * _SECTOR_BYTES,
        logical_block_size=node.read_number("queue/logical_block_size"),
    )


def _trimmed(node: Node, attribute: str) -> str | None:
    if "device" not in node.entries:
        return None
    text = node.read(attribute)
    return None if text is None else text.strip() or None


def write(cap: Storage, out: Out) -> None:
    """Write in libvirt's order."""
    out.text("block", cap.block)
    out.value("model", cap.model, "device/model")
    out.value("vendor", cap.vendor, "device/vendor")
    out.value("size", cap.size_bytes, "size")
    out.value("logical_block_size", cap.logical_block_size, "queue/logical_block_size")
    if cap.size_bytes is not None and cap.logical_block_size:
        out.text("num_blocks", cap.size_bytes // cap.logical_block_size)


KIND = Kind(capability=Storage, read=read, write=write, subsystems=frozenset({"block"}))
