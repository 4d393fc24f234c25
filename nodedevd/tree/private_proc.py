"""private_proc: what a recording keeps of /proc, without the places and addresses of a machine.

Of the mounts only those of block devices are kept, of routes and addresses only their interfaces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nodedevd.host.assignment.interfaces import ADDRESSES, ROUTES
from nodedevd.host.assignment.mounts import MOUNTINFO, SWAPS

Replace = Callable[[bytes], bytes]
"""Returns the stand-in of a value."""

# file-hierarchy(7): these directories are the same on every machine.
_STANDARD = frozenset(
    b"boot efi etc home media mnt opt root run srv tmp usr var cache lib libvirt images log".split()
)


def without_private(path: str, data: bytes, replace: Replace) -> bytes | None:
    """Return the content of a file of /proc with stand-ins; None for a file of another place."""
    lines = data.split(b"\n")
    if path == MOUNTINFO:
        return b"\n".join(_mounts(lines, replace))
    if path == SWAPS:
        return b"\n".join([_swap(line, replace) for line in lines])
    if path == ROUTES:
        return b"\n".join(map(_route, lines))
    if path == ADDRESSES:
        return b"\n".join(map(_address, lines))
    return None


def _mounts(lines: Iterable[bytes], replace: Replace) -> list[bytes]:
    """Return the mounts of nodes, or of block devices, without options."""
    kept = []
    for line in lines:
        mount, dash, rest = line.partition(b" - ")
        fields, others = mount.split(b" "), rest.split(b" ")
        if not dash or len(fields) < 6 or len(others) < 2:
            continue
        if others[1].startswith(b"/dev/"):
            root = b"/" if fields[3] == b"/" else b"/recorded"
            source = b"/dev/" + _node(others[1][5:], replace)
            point = _place(fields[4], replace)
            kept.append(b" ".join([*fields[:3], root, point, b"rw - " + others[0], source, b"rw"]))
    return [*kept, b""]


def _swap(line: bytes, replace: Replace) -> bytes:
    """Return the node or file of a swap space, and which of both it is."""
    name, *rest = line.split()[:2] or [b""]
    if name.startswith(b"/dev/"):
        name = b"/dev/" + _node(name[5:], replace)
    elif name.startswith(b"/"):
        name = _place(name, replace)
    return b" ".join([name, *rest])


def _node(name: bytes, replace: Replace) -> bytes:
    """Return the name of a node: administrators choose those of the device mapper."""
    if name.startswith(b"mapper/"):
        return b"mapper/" + replace(name[7:])
    return name


def _place(path: bytes, replace: Replace) -> bytes:
    parts = path.split(b"/")
    return b"/".join([part if part in _STANDARD or not part else replace(part) for part in parts])


def _route(line: bytes) -> bytes:
    """Return a route with its interface, and zeros for its addresses."""
    fields = line.split(b"\t")
    if len(fields) > 2 and fields[0].strip() != b"Iface":
        fields[1:3] = [b"00000000", b"00000000"]
    return b"\t".join(fields)


def _address(line: bytes) -> bytes:
    """Return the address of an interface as 2001:db8::, with its scope."""
    fields = line.split()
    if len(fields) != 6:
        return b""
    return b" ".join([b"20010db8" + b"0" * 24, *fields[1:]])
