"""proc: what a recording keeps of /proc, without the places and addresses of a machine.

Of the mounts only those of block devices are kept, of routes and addresses only their interfaces.
"""

from __future__ import annotations

from collections.abc import Iterable

from nodedevd.host.assignment.interfaces import ADDRESSES, ROUTES
from nodedevd.host.assignment.mounts import MOUNTINFO, SWAPS
from nodedevd.host.lines import fields_of
from nodedevd.tree.stand_ins.names import Names
from nodedevd.tree.stand_ins.nodes import Nodes
from nodedevd.tree.stand_ins.texts import Texts

_DEV = "/dev/"
_ROUTE_HEAD = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT"
# file-hierarchy(7): these directories are the same on every machine.
_STANDARD = frozenset(
    {
        *("boot", "efi", "etc", "home", "media", "mnt", "opt", "root", "run", "srv", "tmp"),
        *("usr", "var", "cache", "lib", "libvirt", "images", "log"),
    }
)


def without_private(path: str, text: str, texts: Texts, nodes: Nodes, names: Names) -> str:
    """Return the content of a file of /proc with stand-ins; empty for one that is not read."""
    lines = text.split("\n")
    if path == MOUNTINFO:
        return "\n".join(_mounts(lines, texts, nodes))
    if path == SWAPS:
        return "\n".join(["Filename Type", *[_swap(line, texts, nodes) for line in lines[1:]]])
    if path == ROUTES:
        return "\n".join([_ROUTE_HEAD, *[_route(line, names) for line in lines[1:]]])
    if path == ADDRESSES:
        return "\n".join([_address(line, names) for line in lines])
    return ""


def _mounts(lines: Iterable[str], texts: Texts, nodes: Nodes) -> list[str]:
    """Return the mounts of nodes, or of block devices, without options."""
    kept = []
    for line in lines:
        mount, dash, rest = line.partition(" - ")
        fields, others = mount.split(" "), rest.split(" ")
        if not dash or len(fields) < 6 or len(others) < 2:
            continue
        if others[1].startswith(_DEV):
            root = "/" if fields[3] == "/" else "/recorded"
            source = _source(others[1], nodes)
            point = _place(fields[4], texts)
            kept.append(" ".join([*fields[:3], root, point, "rw - " + others[0], source, "rw"]))
    return [*kept, ""]


def _source(text: str, nodes: Nodes) -> str:
    """Return what is mounted; bcachefs has several nodes there. Names of arrays have colons."""
    parts = text.split(f":{_DEV}")
    return f":{_DEV}".join([_DEV + nodes.node(part.removeprefix(_DEV)) for part in parts])


def _swap(line: str, texts: Texts, nodes: Nodes) -> str:
    """Return the node or file of a swap space, and which of both it is."""
    name, *rest = fields_of(line)[:2] or [""]
    if name.startswith(_DEV):
        name = _DEV + nodes.node(name.removeprefix(_DEV))
    elif name:
        name = _place(name, texts)
    return " ".join([name, *[one for one in rest if one in ("partition", "file")]])


def _place(path: str, texts: Texts) -> str:
    parts = path.split("/")
    return "/".join([part if part in _STANDARD else texts.secret(part) for part in parts])


def _route(line: str, names: Names) -> str:
    """Return a route with its interface and flags, and zeros for the rest."""
    fields = line.split("\t")
    if len(fields) < 4:
        return ""
    zeros = ["00000000", "00000000", fields[3], *["0"] * len(fields[4:])]
    return "\t".join([names.interface(fields[0].strip(" ")), *zeros])


def _address(line: str, names: Names) -> str:
    """Return the address of an interface as 2001:db8::, with its scope."""
    fields = fields_of(line)
    if len(fields) != 6:
        return ""
    return " ".join(["20010db8" + "0" * 24, *fields[1:5], names.interface(fields[5])])
