"""udevdb: what udevd's rules found out about a device, from its database.

Reads  /run/udev/data/<id>, one small file a device
Form   E:KEY=VALUE a property, S:LINK a symbolic link below /dev; other lines are udevd's own.
       systemd's src/libsystemd/sd-device writes it, libudev reads it.

The files are read as they are: it is the same for a live and a recorded host, and a tenth of
what asking libudev for one device costs.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

DIRECTORY = "/run/udev/data"


class UdevData(msgspec.Struct, frozen=True):
    """One device's entry; an empty one where udevd has not seen the device, or does not run."""

    properties: Mapping[str, str] = {}
    links: tuple[str, ...] = ()
    """paths of symbolic links to the device's node, sorted"""


def parse(text: str) -> UdevData:
    """Read an entry."""
    properties = {}
    links = []
    for line in text.splitlines():
        if line.startswith("E:"):
            name, equals, value = line[2:].partition("=")
            if equals:
                properties[name] = value
        elif line.startswith("S:"):
            links.append(f"/dev/{line[2:]}")
    return UdevData(properties, tuple(sorted(links)))


def device_id(subsystem: str | None, sysname: str, uevent: Mapping[str, str]) -> str:
    """Return the name of a device's entry: by number, interface index, or kernel name."""
    if "MAJOR" in uevent and "MINOR" in uevent:
        kind = "b" if subsystem == "block" else "c"
        return f"{kind}{uevent['MAJOR']}:{uevent['MINOR']}"
    if "IFINDEX" in uevent:
        return f"n{uevent['IFINDEX']}"
    return f"+{subsystem}:{sysname}"
