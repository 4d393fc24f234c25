"""device_nodes: the nodes and links below /dev, and the sysfs paths of their devices.

Read when a client asks for a node that no device of the tree has, and never by a scan.

Reads  /sys/dev/{block,char}, the uevent of each device (DEVNAME), /run/udev/data; in a recording
       without /sys/dev, every directory below /sys/devices that has a file `uevent`
ABI    Documentation/ABI/testing/sysfs-dev; drivers/base/core.c, dev_uevent
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from nodedevd.host.lines import lines_of
from nodedevd.host.nvme_multipath import controllers_of, is_multipath
from nodedevd.host.sysroot import Sysroot
from nodedevd.host.tolerant import TolerantReads
from nodedevd.host.udev_db import DIRECTORY as UDEV_DATA
from nodedevd.host.udev_db import parse
from nodedevd.text import printable_path

_DEV = "/sys/dev"
_DEVICES = "/sys/devices"
# Memory, virtual consoles and their contents belong to no device, and a host has many of them;
# Documentation/admin-guide/devices.txt.
_OF_NO_DEVICE = re.compile("1:.*|4:[0-9]|4:[1-5][0-9]|4:6[0-3]|7:.*")


class DeviceNodes(msgspec.Struct, frozen=True):
    """The nodes below /dev by what the kernel and udev call them."""

    paths: Mapping[str, str] = {}
    """the sysfs path of each node, and of each link that udev makes to one"""
    controllers: Mapping[str, tuple[str, ...]] = {}
    """the paths of the controllers that lead to an NVMe device with several paths, by its path"""


def read_device_nodes(sysroot: Sysroot) -> DeviceNodes:
    """Read all nodes. What cannot be read is left out. Blocking.

    Raises OSError if something is left out for want of descriptors or memory.
    """
    sysroot.forget()
    reads = TolerantReads(sysroot)
    nodes: dict[str, str] = {}
    links: dict[str, str] = {}
    controllers = {}
    for kind, number, path in _devices(reads):
        name = _name(reads, path)
        if name is None:
            continue
        shown = printable_path(path)
        nodes[f"/dev/{name}"] = shown
        for link in _links(reads, f"{kind}{number}") if number else ():
            links.setdefault(link, shown)
        if is_multipath(path):
            controllers[shown] = tuple(map(printable_path, controllers_of(reads, path)))
    reads.check()
    return DeviceNodes({**links, **nodes}, controllers)


def _devices(reads: TolerantReads) -> Iterator[tuple[str, str, str]]:
    """Yield b or c, number and path of each device that has a node."""
    if not reads.exists(_DEV):
        yield from _devices_below(reads, _DEVICES)
        return
    for kind in ("block", "char"):
        for number in reads.names(f"{_DEV}/{kind}"):
            if kind == "char" and _OF_NO_DEVICE.fullmatch(number):
                continue
            path = reads.target(f"{_DEV}/{kind}/{number}")
            if path is not None:
                yield kind[0], number, path


def _devices_below(reads: TolerantReads, directory: str) -> Iterator[tuple[str, str, str]]:
    todo = [directory]
    while todo:
        path = todo.pop()
        names = reads.names(path)
        if "uevent" in names:
            kind = "b" if reads.target_name(f"{path}/subsystem") == "block" else "c"
            yield kind, (reads.text(f"{path}/dev") or "").removesuffix("\n"), path
        todo += [one for name in names if reads.is_directory(one := f"{path}/{name}")]


def _name(reads: TolerantReads, path: str) -> str | None:
    """Return the name of a device's node below /dev, None if it has none."""
    for line in lines_of(reads.text(f"{path}/uevent") or ""):
        if line.startswith("DEVNAME="):
            return line.removeprefix("DEVNAME=") or None
    return None


def _links(reads: TolerantReads, device_id: str) -> tuple[str, ...]:
    return parse(reads.text(f"{UDEV_DATA}/{device_id}") or "").links
