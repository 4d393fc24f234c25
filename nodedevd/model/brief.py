"""brief: devices in brief, as lists have them; apart from `listing`, which needs every kind."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

State: TypeAlias = Literal["active", "inactive", "removing"]
"""inactive: there is a definition, but no device; removing: the kernel has begun to remove it, and
waits until no process has it open"""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A device in a list."""

    name: str
    parent: str | None
    path: str | None
    capabilities: tuple[str, ...]
    """types of its capabilities"""
    state: State
    type: str | None
    """id of the mdev type, or of the vGPU profile that is set; None if there is none or it is
    unknown"""
    type_name: str | None


class DeviceList(msgspec.Struct, frozen=True, gc=False):
    """Devices in brief, at one generation of the tree."""

    generation: int
    devices: tuple[Entry, ...]
