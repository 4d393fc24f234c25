"""blocks: block devices, the devices that they lie on, and their uses.

A partition lies on its disk, a logical volume or an array on its members, and a disk that NVMe
reaches by several controllers on these.

Reads  /sys/class/block, and of each block device dev, holders, slaves, dm/{name,uuid},
       md/level; /sys/fs/btrfs/*/devices; /run/udev/data (ID_FS_TYPE)
ABI    Documentation/ABI/stable/sysfs-block, testing/sysfs-block-dm, admin-guide/md.rst
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from nodedevd.host.assignment.mounts import Mount
from nodedevd.host.nvme_multipath import controllers_of, is_multipath
from nodedevd.host.tolerant import TolerantReads
from nodedevd.host.udev_db import DIRECTORY as UDEV_DATA
from nodedevd.host.udev_db import parse
from nodedevd.text import printable_path

_BLOCKS = "/sys/class/block"
_BTRFS = "/sys/fs/btrfs"
_REDUNDANT_LEVELS = frozenset({"raid1", "raid4", "raid5", "raid6", "raid10"})


class BlockDevice(msgspec.Struct, frozen=True):
    """A disk, a partition, or a device made of others."""

    name: str
    """the name that its administrator knows: of the device mapper, or else the kernel's"""
    below: tuple[str, ...]
    """sysfs paths of the devices that it lies on"""
    redundant: str | None
    """what it has several of, and does not need all: paths, members; None if it needs all"""
    mounts: tuple[str, ...]
    """mount points of its file system"""
    swap: bool
    pool: str | None
    """zfs: it is a member of a pool, whose mounts do not name it"""


def read_blocks(
    reads: TolerantReads, mounts: Sequence[Mount], swaps: Sequence[str]
) -> dict[str, BlockDevice]:
    """Return all block devices, by sysfs path."""
    links = {name: f"{_BLOCKS}/{name}" for name in reads.names(_BLOCKS)}
    paths = {name: path for name, link in links.items() if (path := reads.target(link))}
    below: dict[str, set[str]] = {path: set() for path in paths.values()}
    for path in paths.values():
        disk = path.rpartition("/")[0]
        below[path].update([disk] if disk in below else controllers_of(reads, path))
        # Both directories say the same, and a recording may have one of them.
        for name in reads.names(f"{path}/slaves", recorded=True):
            below[path].update([paths[name]] if name in paths else [])
        for name in reads.names(f"{path}/holders", recorded=True):
            if name in paths:
                below[paths[name]].add(path)
    uses = _Uses(mounts, swaps, _btrfs_members(reads))
    return {path: _read(reads, path, tuple(sorted(below[path])), uses) for path in paths.values()}


class _Uses:
    """The mounts and the swap space of a host, by block device."""

    def __init__(
        self, mounts: Sequence[Mount], swaps: Sequence[str], pools: Sequence[frozenset[str]]
    ) -> None:
        self._swaps = frozenset(swaps)
        self._pool_of = {name: pool for pool in pools for name in pool}
        self._by_number: dict[str, list[Mount]] = {}
        self._by_source: dict[str, list[Mount]] = {}
        for mount in mounts:
            self._by_number.setdefault(mount.number, []).append(mount)
            for source in mount.source.split(":"):  # bcachefs lists all members
                self._by_source.setdefault(source, []).append(mount)

    def mounts(self, kernel_name: str, nodes: Iterable[str], number: str) -> list[Mount]:
        """Return the mounts of a device, and of the Btrfs file system that it is a member of."""
        members = self._pool_of.get(kernel_name, frozenset())
        by_source = [
            mount
            for node in dict.fromkeys([*nodes, *(f"/dev/{name}" for name in sorted(members))])
            for mount in self._by_source.get(node, ())
        ]
        if not number:
            return by_source
        # Btrfs and bcachefs have a number of their own, of no device.
        anonymous = [mount for mount in by_source if mount.number.startswith("0:")]
        return [*self._by_number.get(number, ()), *anonymous]

    def is_swap(self, nodes: Iterable[str]) -> bool:
        """Return whether a device of these nodes is swap space."""
        return not self._swaps.isdisjoint(nodes)


def _read(reads: TolerantReads, path: str, below: tuple[str, ...], uses: _Uses) -> BlockDevice:
    kernel_name = printable_path(path.rpartition("/")[2])
    mapped = _text(reads, f"{path}/dm/name") if kernel_name.startswith("dm-") else None
    number = _text(reads, f"{path}/dev") or ""
    nodes = [f"/dev/{kernel_name.replace('!', '/')}"]
    nodes += [f"/dev/mapper/{mapped}"] if mapped else []
    return BlockDevice(
        name=mapped or kernel_name,
        below=below,
        redundant=_redundant(reads, path, kernel_name, below),
        mounts=_points(uses.mounts(kernel_name, nodes, number)),
        swap=uses.is_swap(nodes),
        pool="ZFS" if _file_system(reads, number) == "zfs_member" else None,
    )


def _points(mounts: Iterable[Mount]) -> tuple[str, ...]:
    """Return the mount points without those of single directories, if the whole is mounted."""
    mounts = list(mounts)
    whole = [one.point for one in mounts if one.root == "/"]
    return tuple(dict.fromkeys(whole or [one.point for one in mounts]))


def _redundant(
    reads: TolerantReads, path: str, kernel_name: str, below: Sequence[str]
) -> str | None:
    if is_multipath(path) and path.rpartition("/")[0] not in below:
        return "paths"
    if kernel_name.startswith("dm-"):
        # The prefix of the uuid is the owner's name: LVM-, CRYPT-, mpath-.
        uuid = _text(reads, f"{path}/dm/uuid") or ""
        return "paths" if uuid.startswith("mpath-") else None
    if kernel_name.startswith("md") and len(below) > 1:
        return "members" if _text(reads, f"{path}/md/level") in _REDUNDANT_LEVELS else None
    return None


def _btrfs_members(reads: TolerantReads) -> list[frozenset[str]]:
    """Return the kernel names of the members of each Btrfs file system."""
    return [
        frozenset(reads.names(f"{_BTRFS}/{name}/devices", recorded=True))
        for name in reads.names(_BTRFS)
        if name != "features"
    ]


def _file_system(reads: TolerantReads, number: str) -> str | None:
    text = reads.text(f"{UDEV_DATA}/b{number}")
    return None if text is None else parse(text).properties.get("ID_FS_TYPE")


def _text(reads: TolerantReads, path: str) -> str | None:
    text = reads.text(path)
    return None if text is None else text.removesuffix("\n")
