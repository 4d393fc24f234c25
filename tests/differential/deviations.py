"""What may differ from libvirtd 9.0.0, one entry each; nothing else may.

Those of `DEVIATIONS` are on purpose, and rows of docs/dialects.md. Those of `VERSIONS` are how
9.0.0 differs from 11.3, whose format it is that nodedevd writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Shown = Mapping[str, str]
"""XML by name."""


@dataclass(frozen=True)
class Deviation:
    """One difference.

    Attributes:
        name: as in docs/dialects.md.
        libvirt: rewrites the XML of one device as libvirtd gives it.
        ours: rewrites the XML of one device as nodedevd gives it.
        extra: tells which devices only nodedevd shows, by XML and the host's directory.
    """

    name: str
    libvirt: Callable[[str], str] = str
    ours: Callable[[str], str] = str
    extra: Callable[[str, Path], bool] = lambda xml, root: False


def without(pattern: str) -> Callable[[str], str]:
    """Take away all lines that match."""
    lines = re.compile(rf"^ *(?:{pattern})\n", re.MULTILINE)
    return lambda xml: lines.sub("", xml)


def sub(pattern: str, replacement: str | Callable[[re.Match[str]], str]) -> Callable[[str], str]:
    """Replace all matches."""
    return lambda xml: re.sub(pattern, replacement, xml)


def top(kind: str) -> str:
    """Return how a device's own capability begins."""
    return f"\n  <capability type='{kind}'>\n"


def _in_bytes(match: re.Match[str]) -> str:
    """Read the number of blocks as sectors of 512 bytes, which it is."""
    tag, between, block_size, gap, sectors = match.groups()
    size = int(sectors) * 512
    return (
        f"<{tag}>{size}</{tag}>{between}<logical_block_size>{block_size}</logical_block_size>"
        f"{gap}<num_blocks>{size // int(block_size)}</num_blocks>"
    )


def _told_by_udev_alone(xml: str, root: Path) -> bool:
    """Tell whether libvirt would know a device if udev's database had it."""
    path = re.search("<path>(.*)</path>", xml)
    if path is None or (top("usb_device") not in xml and top("storage") not in xml):
        return False
    if re.search("<block>/dev/(?:vd|nvme|dasd)", xml):
        return False
    uevent = (root / path[1].lstrip("/") / "uevent").read_text(encoding="utf-8")
    major, minor = (re.search(f"^{name}=(.*)$", uevent, re.M) for name in ("MAJOR", "MINOR"))
    number = "" if major is None or minor is None else f"{major[1]}:{minor[1]}"
    data = root / "run/udev/data" / f"{'b' if top('storage') in xml else 'c'}{number}"
    return not (data.exists() and re.search("^E:ID_", data.read_text(encoding="utf-8"), re.M))


DEVIATIONS = (
    Deviation(
        "size",
        libvirt=sub(
            r"<(size|media_size)>\d+</\1>((?s:\s*(?:<media_label>.*?</media_label>\s*)?))"
            r"<logical_block_size>(\d+)</logical_block_size>(\s*)<num_blocks>(\d+)</num_blocks>",
            _in_bytes,
        ),
    ),
    Deviation("speed", libvirt=sub(" speed='4294967295'", "")),
    Deviation("blank", libvirt=sub(" />", "/>")),
    Deviation("feature", libvirt=without("<feature name='[a-z]*'/>")),
    Deviation("fabric", libvirt=without("<fabric_wwn>f{16}</fabric_wwn>")),
    Deviation(
        "parent", extra=lambda xml, root: top("mdev_types") in xml and "<name>mtty_" not in xml
    ),
    Deviation("udev", extra=_told_by_udev_alone),
)

VERSIONS = (
    Deviation(
        "ccw",
        ours=lambda xml: (
            without(r"<state>\w+</state>|<capability type='ccwgroup_member'>\n.*\n *</capability>")(
                xml
            )
            if top("ccw") in xml
            else xml
        ),
        extra=lambda xml, root: f"{top('ccw')}    <state>offline</state>" in xml,
    ),
    Deviation("ccwgroup", extra=lambda xml, root: top("ccwgroup") in xml),
    Deviation(
        "dasd",
        ours=lambda xml: (
            re.sub(
                r"    <serial>.*</serial>\n",
                "",
                re.sub("(<name>block_dasd[a-z]+)_.*(</name>)", r"\1\2", xml),
            ).replace("<drive_type>dasd<", "<drive_type>disk<")
            if "<drive_type>dasd<" in xml
            else xml
        ),
    ),
    Deviation("blocks", ours=without("<(logical_block_size|num_blocks)>0</.*>")),
)
