"""Files of /proc that name what users choose: mounts, swap files, interfaces; fdinfo."""

from __future__ import annotations

import errno
import os
from typing import cast

from nodedevd.host.assignment.interfaces import ADDRESSES, ROUTES, read_interfaces
from nodedevd.host.assignment.mounts import MOUNTINFO, SWAPS, read_mounts, read_swaps
from nodedevd.host.processes import _CAPABILITIES, _FLAGS, _SYSPATH
from nodedevd.host.sysroot import Sysroot
from nodedevd.host.tolerant import TolerantReads
from tests.fuzz.target import Cutter, Target


class _Files:
    """A host on which every file has the same content, and no directory is listed."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.asked: set[str] = set()

    def read(self, path: str, size: int | None = None) -> bytes:
        """Return the content."""
        self.asked.add(path)
        return self._data[:size]

    def listdir(self, path: str) -> list[str]:
        """Refuse."""
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), path)

    def interfaces_with_address(self) -> None:
        """Return None, as a recorded host."""


def check(data: bytes) -> None:
    """A line of the file is one mount, and one swap space; all text can be encoded."""
    cutter = Cutter(data)
    which = cutter.byte() % 4
    content = cutter.rest()
    files = _Files(content)
    sysroot = cast(Sysroot, files)
    lines = content.count(b"\n") + 1
    if which == 0:
        mounts = read_mounts(sysroot)
        assert mounts is not None
        assert len(mounts) <= lines
        for mount in mounts:
            texts = (mount.number, mount.root, mount.point, mount.file_system, mount.source)
            assert sum(map(len, texts)) <= 4 * len(content)
            "".join(texts).encode()
        assert files.asked == {MOUNTINFO}
    elif which == 1:
        swaps = read_swaps(sysroot)
        assert swaps is not None
        assert len(swaps) < lines
        "".join(swaps).encode()
        assert files.asked == {SWAPS}
    elif which == 2:
        interfaces, known = read_interfaces(TolerantReads(sysroot))
        assert (interfaces, known) == ({}, True)
        assert files.asked == {ROUTES, ADDRESSES}
    else:
        _check_fdinfo(content)


def _check_fdinfo(content: bytes) -> None:
    path = _SYSPATH.search(content)
    if path is not None:
        assert b"\n" not in path[1]
        os.fsdecode(path[1])
    flags = _FLAGS.search(content)
    if flags is not None:
        int(flags[1], 8)
    mask = _CAPABILITIES.search(content.decode("utf-8", "replace"))
    if mask is not None:
        int(mask[1], 16)


TARGET = Target(
    "host-files",
    check,
    reads=("nodedevd/host/assignment/mounts.py", "nodedevd/host/lines.py"),
    words=(
        b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw\n",
        b"\\040",
        b"\\134",
        b"\\777",
        b" - ",
        b"/swapfile file 1 0 -2\n",
        b"eth0\t00000000\t",
        b"fe80000000000000021122fffe334455 02 40 20 80 eth0\n",
        b"vfio-device-syspath: /sys/devices/",
        b"flags:\t02000002\n",
        "\u2028".encode(),
        b"\xff",
        b"\x1d",
    ),
    most_bytes=512,
    share=3.0,
)
