"""Uevent: one message of the kernel or udevd about a device."""

from __future__ import annotations

import msgspec


class Uevent(msgspec.Struct, frozen=True, gc=False):
    """A uevent, reduced to what is acted upon."""

    action: str
    path: str
    """sysfs path, /sys in front"""
    subsystem: str | None
    old_path: str | None = None
    """DEVPATH_OLD of a move, /sys in front"""
