"""Uevent: one message of udevd or the kernel about a device."""

from __future__ import annotations

import msgspec


class Uevent(msgspec.Struct, frozen=True, gc=False):
    """The parts of a uevent that decide what is read again."""

    action: str
    """ACTION: add, remove, change, move, bind, unbind …"""
    path: str
    """sysfs path, with /sys in front of DEVPATH"""
    subsystem: str | None
    old_path: str | None = None
    """the path before a move, with /sys in front of DEVPATH_OLD"""
