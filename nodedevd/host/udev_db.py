"""udev_db: the properties and links of a device in udevd's database.

Reads  /run/udev/data/<id>, one small file a device
Form   E:KEY=VALUE is a property, S:LINK a symbolic link below /dev; udevd uses the other lines.
       A value may be text from a disk, such as the label of its file system: any but a newline.
       systemd's src/libsystemd/sd-device writes it, libudev reads it.

To read the files works for a live and a recorded host, and takes a tenth of libudev's time.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from nodedevd.host.lines import lines_of

DIRECTORY = "/run/udev/data"


class UdevData(msgspec.Struct, frozen=True):
    """The entry of a device; empty if udevd does not know the device or is not running."""

    properties: Mapping[str, str] = {}
    links: tuple[str, ...] = ()
    """paths of the symbolic links to the device node, sorted"""


def parse(text: str) -> UdevData:
    """Parse an entry."""
    properties = {}
    links = []
    for line in lines_of(text):
        if line.startswith("E:"):
            name, equals, value = line[2:].partition("=")
            if equals:
                properties[name] = value
        elif line.startswith("S:"):
            links.append(f"/dev/{line[2:]}")
    return UdevData(properties, tuple(sorted(links)))


def device_id(subsystem: str | None, sysname: str, uevent: Mapping[str, str]) -> str:
    """Return the name of a device's entry: by device number, interface index, or kernel name."""
    if "MAJOR" in uevent and "MINOR" in uevent:
        kind = "b" if subsystem == "block" else "c"
        return f"{kind}{uevent['MAJOR']}:{uevent['MINOR']}"
    if "IFINDEX" in uevent:
        return f"n{uevent['IFINDEX']}"
    return f"+{subsystem}:{sysname}"
