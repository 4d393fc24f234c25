"""mounts: the mounted file systems and the swap spaces of a host.

Reads  /proc/self/mountinfo, /proc/swaps
ABI    proc_pid_mountinfo(5), proc_swaps(5)
"""

from __future__ import annotations

import re

import msgspec

from nodedevd.host.lines import fields_of, lines_of
from nodedevd.host.sysroot import Sysroot
from nodedevd.text import printable_path

MOUNTINFO = "/proc/self/mountinfo"
SWAPS = "/proc/swaps"
_OCTAL = re.compile(r"\\([01][0-7]{2})")  # the kernel writes none above \134


class Mount(msgspec.Struct, frozen=True, gc=False):
    """A mounted file system."""

    number: str
    """major:minor of its block device; major 0 for a file system that has several, or none"""
    root: str
    """the directory of the file system that is mounted"""
    point: str
    """where it is mounted"""
    file_system: str
    source: str
    """usually the node of a block device"""


def read_mounts(sysroot: Sysroot) -> list[Mount] | None:
    """Return the mounts of this mount namespace; None if they cannot be read."""
    text = _read(sysroot, MOUNTINFO)
    return None if text is None else parse_mountinfo(text)


def parse_mountinfo(text: str) -> list[Mount]:
    """Parse the lines of mountinfo; others are left out."""
    found = []
    for line in lines_of(text):
        mount, dash, file_system = line.partition(" - ")
        fields, rest = mount.split(" "), file_system.split(" ")
        if dash and len(fields) >= 6 and len(rest) >= 2:
            number, root, point = fields[2:5]
            found.append(Mount(number, _plain(root), _plain(point), rest[0], _plain(rest[1])))
    return found


def read_swaps(sysroot: Sysroot) -> list[str] | None:
    """Return the nodes and files that are swap space; None if they cannot be read."""
    text = _read(sysroot, SWAPS)
    if text is None:
        return None
    lines = [fields_of(line) for line in lines_of(text)[1:]]
    return [_plain(fields[0]) for fields in lines if fields]


def _plain(text: str) -> str:
    r"""Return text without the escapes of blanks and backslashes: \040."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)


def _read(sysroot: Sysroot, path: str) -> str | None:
    try:
        data = sysroot.read(path)
    except OSError:
        return None
    return printable_path(data.decode("utf-8", "surrogateescape"))
