"""Stand-ins in a recording: the files of a host hold a serial number anywhere among anything."""

from __future__ import annotations

import re

from nodedevd.host.udev_db import parse as parse_udev_data
from nodedevd.tree.stand_ins import StandIns
from tests.fuzz.target import Cutter, Target

_SECRET = b"S3CR3TQ7"
_DEVICE = "/sys/devices/pci0000:00/0000:00:01.0"
_PATHS = (
    f"{_DEVICE}/uevent",
    f"{_DEVICE}/address",
    f"{_DEVICE}/wwid",
    f"{_DEVICE}/block/dm-0/dm/uuid",
    f"{_DEVICE}/net/eth0/ifalias",
    f"{_DEVICE}/vpd",
    f"{_DEVICE}/config",
    f"{_DEVICE}/model",
    "/run/udev/data/b8:0",
    "/etc/mdevctl.d/0000:00:01.0/5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01",
    "/proc/self/mountinfo",
    "/proc/swaps",
    "/proc/net/route",
    "/proc/net/if_inet6",
    "/etc/machine-id",
    "/usr/lib/udev/rules.d/60-mdevctl.rules",
)
_KEPT = {f"{_DEVICE}/uevent", f"{_DEVICE}/config", "/proc/net/route", "/proc/net/if_inet6"}
"""The name of an interface stays, but for a hardware address in it; and registers."""
_WORD = re.compile(rb"(?<![0-9A-Za-z\x80-\xff])" + _SECRET + rb"(?![0-9A-Za-z\x80-\xff])")


def check(data: bytes) -> None:
    """The serial number, which one file has alone, is a word of no file, and no file gets large.

    `@` stands for the number: two files, of each a byte for the path, one for the length.
    """
    cutter = Cutter(data)
    files = {f"{_DEVICE}/serial": _SECRET + b"\n"}
    for _ in range(2):
        path = _PATHS[cutter.byte() % len(_PATHS)]
        files[path] = cutter.piece(cutter.byte()).replace(b"@", _SECRET)
    stand_ins = StandIns(files, {}, [_DEVICE])
    for path, content in files.items():
        written = stand_ins.content(path, content)
        assert len(written) <= 400 + 16 * len(content), path
        assert path in _KEPT or _WORD.search(_chosen(path, written)) is None, (path, written)
        assert stand_ins.content(path, content) == written
    entry = files.get("/run/udev/data/b8:0")
    if entry is not None:
        written = stand_ins.content("/run/udev/data/b8:0", entry)
        before = parse_udev_data(entry.decode("utf-8", "backslashreplace"))
        after = parse_udev_data(written.decode("utf-8", "backslashreplace"))
        assert len(after.links) >= len(before.links)
        assert bool(after.properties) == bool(before.properties)


def _chosen(path: str, written: bytes) -> bytes:
    """Return what is not the kernel's own: of a mount not its numbers and its type."""
    if path != "/proc/self/mountinfo":
        return written
    lines = [line.split(b" ") for line in written.split(b"\n")]
    return b" ".join(field for fields in lines for field in (*fields[3:5], *fields[8:]))


TARGET = Target(
    "stand-ins",
    check,
    reads=tuple(
        f"nodedevd/tree/stand_ins/{name}.py"
        for name in ("__init__", "definitions", "nodes", "proc", "table", "texts", "udev_data")
    ),
    words=(
        b"@",
        b"E:ID_SERIAL=model_@\nS:disk/by-id/ata-model_@-part1\n",
        b"E:ID_FS_LABEL=",
        b"INTERFACE=enx0200abcdef12\nDEVNAME=",
        b'{"mdev_type":"@","start":"auto","attrs":[{"@":"@"}]}',
        b"36 35 98:0 / /@ rw - ext4 /dev/disk/by-id/@ rw\n",
        b"/@ file 1 0 -2\n",
        b"CRYPT-LUKS2-0123456789abcdef0123456789abcdef-@",
        b"naa.5000c500a1b2c3d4",
        b"5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01",
        b"02:00:ab:cd:ef:12",
        b"192.168.7.9",
        b"iqn.2001-04.com.example:@",
        b"fe80::1",
        b"\\x2d",
        b"\\040",
        b"\xff",
    ),
    most_bytes=400,
    steps=(6000, 300),
    share=0.5,
)
