"""Devices of this machine: one whose uevents root may ask for, and those that others change."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple


def others_may_change(name: str) -> bool:
    """Return whether other programs, or tests beside this one, may make and change a device."""
    return re.match("block_(zram|loop|dm|nbd|ram|md)", name) is not None


class RealDevice(NamedTuple):
    """A device that stays as it is."""

    path: str
    """its directory in sysfs"""
    subsystem: str

    def change(self) -> None:
        """Have the kernel send a uevent `change`: Documentation/ABI/testing/sysfs-uevent."""
        Path(self.path, "uevent").write_text("change")


@cache
def find() -> RealDevice | None:
    """Return such a device, None if there is none or this process may not ask."""
    if os.geteuid() != 0:
        return None
    for directory in ("/sys/bus/pci/devices", "/sys/class/net"):
        for link in sorted(Path(directory).glob("*")):
            path = link.resolve()
            if os.access(path / "uevent", os.W_OK):
                return RealDevice(str(path), Path(directory).parts[3])
    return None
