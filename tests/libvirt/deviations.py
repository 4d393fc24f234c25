"""What may differ from libvirtd 9.0.0, one entry each; nothing else may.

Those of `DEVIATIONS` are on purpose, and rows of docs/formats.md. Those of `VERSIONS` are how
9.0.0 differs from 11.3, whose format it is that nodedevd writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from nodedevd.names import sanitise

Shown = Mapping[str, str]
"""XML by name."""


Rewrite: TypeAlias = Callable[[str, Path], str]
"""Rewrites the XML of one device of the host in a directory."""


@dataclass(frozen=True)
class Deviation:
    """One difference.

    Attributes:
        name: as in docs/formats.md.
        libvirt: makes of what libvirtd shows what it ought to.
        ours: makes of what nodedevd shows what libvirtd does.
        extra: tells which devices only nodedevd shows.
    """

    name: str
    libvirt: Rewrite = lambda xml, root: xml
    ours: Rewrite = lambda xml, root: xml
    extra: Callable[[str, Path], bool] = lambda xml, root: False


def without(pattern: str) -> Rewrite:
    """Take away all lines that match."""
    lines = re.compile(rf"^ *(?:{pattern})\n", re.MULTILINE)
    return lambda xml, root: lines.sub("", xml)


def sub(pattern: str, replacement: str | Callable[[re.Match[str]], str]) -> Rewrite:
    """Replace all matches."""
    return lambda xml, root: re.sub(pattern, replacement, xml)


def where(test: Callable[[str, Path], bool], *rewrites: Rewrite) -> Rewrite:
    """Rewrite those devices alone that pass a test."""

    def rewrite(xml: str, root: Path) -> str:
        if test(xml, root):
            for one in rewrites:
                xml = one(xml, root)
        return xml

    return rewrite


def has(text: str) -> Callable[[str, Path], bool]:
    """Test whether the XML has a text in it."""
    return lambda xml, root: text in xml


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


def _attribute(xml: str, root: Path, name: str) -> bytes:
    """Return an attribute of a device; nothing if it has none."""
    path = re.search("<path>(.*)</path>", xml)
    attribute = root / (path[1] if path is not None else "/none").lstrip("/") / name
    return attribute.read_bytes() if attribute.exists() else b""


def _udev_data(xml: str, root: Path) -> str:
    """Return the entry of a device with a device number in udev's database."""
    uevent = _attribute(xml, root, "uevent").decode()
    number = [re.search(f"^{name}=(.*)$", uevent, re.M) for name in ("MAJOR", "MINOR")]
    letter = "b" if top("storage") in xml else "c"
    name = letter + ":".join(match[1] for match in number if match is not None)
    entry = root / "run/udev/data" / name
    return entry.read_text(encoding="utf-8") if entry.exists() else ""


def _told_by_udev_alone(xml: str, root: Path) -> bool:
    if top("usb_device") not in xml and top("storage") not in xml:
        return False
    if re.search("<block>/dev/(?:vd|nvme|dasd)", xml) is not None:
        return False
    kinds = "TYPE|CDROM|DRIVE_FLOPPY|DRIVE_FLASH_SD" if top("storage") in xml else ""
    return re.search(f"^E:ID_(?:{kinds})", _udev_data(xml, root), re.M) is None


def _dynamic_drm_minor(xml: str, root: Path) -> bool:
    minor = re.search("^MINOR=(.*)$", _attribute(xml, root, "uevent").decode(), re.M)
    return top("drm") in xml and minor is not None and int(minor[1]) >= 192


def _serial_by_sysfs(xml: str, root: Path) -> bool:
    dasd = "<block>/dev/dasd" in xml
    return top("storage") in xml and not dasd and "E:ID_SERIAL=" not in _udev_data(xml, root)


def _inactive(xml: str, root: Path) -> bool:
    return top("mdev") in xml and "\n  <path>" not in xml


def _active_mdev(xml: str, root: Path) -> bool:
    return top("mdev") in xml and "\n  <path>" in xml


def _by_its_link(xml: str, root: Path) -> str:
    """Put the type that an mdev runs as in place of the one that is defined."""
    path = re.search("<path>(.*)</path>", xml)
    assert path is not None
    link = root / path[1].lstrip("/") / "mdev_type"
    return re.sub("<type id='.*'/>", f"<type id='{link.readlink().name}'/>", xml)


def _without_capability_list(xml: str, root: Path) -> bool:
    config = _attribute(xml, root, "config")
    return top("pci") in xml and len(config) >= 64 and not config[6] & 0x10


def _by_udevs_serial(xml: str, root: Path) -> str:
    """Put what udev has for a serial number in place of what sysfs has."""
    found = re.search("^E:ID_SERIAL=(.*)$", _udev_data(xml, root), re.M)
    serial = "" if found is None else f"    <serial>{found[1]}</serial>\n"
    suffix = "" if found is None else f"_{sanitise(found[1])}"
    xml = re.sub(r" *<serial>.*</serial>\n", serial, xml)
    return re.sub("<name>(block_[A-Za-z0-9]+).*</name>", rf"<name>\1{suffix}</name>", xml)


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
    Deviation("fabric", libvirt=without("<fabric_wwn>f{16}</fabric_wwn>")),
    Deviation("express", libvirt=where(_without_capability_list, without("<pci-express/>"))),
    Deviation("inactive", libvirt=where(_inactive, without("<iommuGroup number='0'/>"))),
    Deviation(
        "parent",
        extra=lambda xml, root: top("mdev_types") in xml and "<name>mtty_" not in xml,
    ),
    Deviation("minor", extra=_dynamic_drm_minor),
    Deviation("udev", extra=_told_by_udev_alone),
    Deviation("serial", ours=where(_serial_by_sysfs, _by_udevs_serial)),
)

VERSIONS = (
    Deviation(
        "ccw",
        ours=where(
            has(top("ccw")),
            without(r"<state>\w+</state>|<capability type='ccwgroup_member'>\n.*\n *</capability>"),
        ),
        extra=has(f"{top('ccw')}    <state>offline</state>"),
    ),
    Deviation("ccwgroup", extra=has(top("ccwgroup"))),
    Deviation(
        "dasd",
        ours=where(
            has("<drive_type>dasd<"),
            _by_udevs_serial,
            sub("<drive_type>dasd<", "<drive_type>disk<"),
        ),
    ),
    # 9.0 has one configuration of an mdev, and shows the definition's for both.
    Deviation(
        "configuration",
        libvirt=where(_active_mdev, _by_its_link, without("<attr .*/>")),
        ours=where(_active_mdev, without("<attr .*/>")),
    ),
    Deviation("blocks", ours=without("<(logical_block_size|num_blocks)>0</.*>")),
)
