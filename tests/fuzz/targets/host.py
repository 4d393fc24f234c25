"""Whole hosts whose files hold anything: a scan, and all that is said about the tree."""

from __future__ import annotations

import errno
import logging
import os
from functools import cache

import msgspec

from nodedevd.formats import FORMATS, dump
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.device import Device
from nodedevd.questions.fits import fits, types
from nodedevd.tree.read import scan
from nodedevd.tree.unread import HostNotRead
from tests.fuzz.target import Cutter, Target
from tests.support.hosts import host_file

HOSTS = (
    "vgpu-vendor-vfio",
    "vgpu-pf",
    "igpu-gvtg",
    "mdev-modified-while-it-runs",
    "nvme-behind-vmd",
    "s390x-ap-ccw",
    "infiniband-hca",
    "samples",
)
_ERRNOS = (errno.EIO, errno.EACCES, errno.ENODEV, errno.ENXIO, errno.EINVAL, errno.EMFILE)


class Overlaid(Sysroot):
    """A sample host; some of its files have another content, or cannot be read."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.over: dict[str, bytes | int] = {}
        self.asked: dict[str, None] = {}

    def read(self, path: str, size: int | None = None) -> bytes:
        """Return what lies over a file, or the file."""
        self.asked[path] = None
        found = self.over.get(path)
        if isinstance(found, int):
            raise OSError(found, os.strerror(found), path)
        return super().read(path, size) if found is None else found[:size]


@cache
def _host(name: str) -> tuple[Overlaid, list[str]]:
    """Return a host, and the paths of the files that its scan reads."""
    sysroot = Overlaid(str(host_file(name)))
    scan(sysroot)
    return sysroot, [path for path in sysroot.asked if "pci.ids" not in path]


def check(data: bytes) -> None:
    """As `_check`; what is logged of defects is not printed."""
    logging.disable(logging.CRITICAL)
    try:
        _check(data)
    finally:
        logging.disable(logging.NOTSET)


def _check(data: bytes) -> None:
    """The tree holds together, every device can be sent and written, and no kind has failed.

    The first byte chooses a host; then come files: two bytes for the path, one for the length.
    """
    cutter = Cutter(data)
    sysroot, paths = _host(HOSTS[cutter.byte() % len(HOSTS)])
    sysroot.over = {}
    sysroot.remembered.clear()
    while cutter.left:
        path = paths[int.from_bytes(cutter.piece(2), "little") % len(paths)]
        length = cutter.byte()
        content: bytes | int = cutter.piece(length)
        if length == 255:
            content = _ERRNOS[cutter.byte() % len(_ERRNOS)]
        sysroot.over[path] = content
    try:
        snapshot = scan(sysroot)
    except HostNotRead:
        assert errno.EMFILE in sysroot.over.values()
        return
    for device in snapshot:
        assert not [error for error in device.errors if error.code == "internal"], device.errors
        assert device.parent is None or snapshot.get(device.parent) is not None
        text = msgspec.json.encode(device)
        assert len(text) <= 64 * 1024 + 40 * len(data)
        assert msgspec.json.decode(text, type=Device) == device
    for form in FORMATS:
        xml = dump(snapshot, None, form)
        xml.encode()
        assert xml.isprintable() or not any(ord(one) < 0x20 and one not in "\t\n\r" for one in xml)
    msgspec.json.encode(fits(snapshot, None, 1, None))
    msgspec.json.encode(types(snapshot, None))


TARGET = Target(
    "host",
    check,
    reads=tuple(
        f"nodedevd/kinds/{name}.py"
        for name in [
            "ap_card",
            "ap_queue",
            "ccw",
            "css",
            "infiniband",
            "mdev_child",
            "mdev_parent",
            "net",
            "scsi",
            "scsi_host",
            "storage",
            "system",
            "usb",
            "usb_device",
            "vgpu",
            "pci/__init__",
            "shared/mdevctl",
            "shared/vfio_ap",
        ]
    ),
    words=(
        b"0x10de\n",
        b"DEVTYPE=",
        b"MAJOR=8\nMINOR=0\n",
        b"PCI_SLOT_NAME=0000:02:00.0\n",
        b"E:ID_SERIAL=",
        b"E:DM_MULTIPATH_DEVICE_PATH=1",
        b"00:11:22:33:44:55\n",
        b"vfio-pci\n",
        b"1148  : NVIDIA L40S-2Q\n",
        b'{"mdev_type":"a","start":"auto"}',
        b"18446744073709551616\n",
        b"-1\n",
        b"\xff",
        b"\0",
        "\u2028".encode(),
    ),
    most_bytes=700,
    steps=(150_000, 2000),
    share=0.02,
)
