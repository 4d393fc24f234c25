"""wanted: what a host should offer, card by card, as the files of a layout declare it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from nodedevd.kinds.shared.mdevctl import MdevAttribute

KeyPath: TypeAlias = tuple[str | int, ...]
"""A place in an entry: keys, and positions in arrays, ("vgpus", 0, "type")."""


class Match(msgspec.Struct, frozen=True):
    """Which card is meant: exactly one of address, slots, parent, or vendor with product."""

    address: str | None = None
    """PCI address of the card, with its domain: 0000:3b:00.0"""
    slots: str | None = None
    """the PCI host bridge, and the slot of each bridge down to the card: pci0000:3a/00.0/00.0"""
    parent: str | None = None
    """kernel name of an mdev parent that is no PCI function: mtty, matrix, 0.0.0313"""
    vendor: str | None = None
    """PCI vendor id: 0x10de"""
    product: str | None = None
    """PCI device id: 0x25b6; every such card is meant"""

    def __str__(self) -> str:
        one = self.address or self.slots or self.parent
        return one if one is not None else f"{self.vendor}:{self.product}"


class WantedVgpus(msgspec.Struct, frozen=True):
    """Some vGPUs of one type, mdevs or profiles of functions; which UUIDs they have is open."""

    type: str
    """id or name, in any form that `fits` takes"""
    count: int
    placement: tuple[int, ...] = ()
    """placement ids, one for each vGPU; empty: the driver decides"""
    functions: tuple[int, ...] = ()
    """numbers of the virtual functions that hold them; empty: any that are free"""


class WantedMdev(msgspec.Struct, frozen=True):
    """One mdev whose UUID matters."""

    uuid: str
    """in the kernel's form, lower case"""
    type: str
    """id or name, in any form that `fits` takes"""
    function: int | None = None
    """number of the virtual function that is its parent; None: the card, or any that is free"""
    active: bool = True
    """whether it should be active"""
    define: bool = True
    """whether mdevctl should have a definition of it"""
    autostart: bool | None = None
    """whether the definition says that mdevctl starts it with its parent; None: as it says, and
    no for a new one"""
    attributes: tuple[MdevAttribute, ...] | None = None
    """vendor attributes, in order; None: whatever it has"""


class WantedCard(msgspec.Struct, frozen=True):
    """What one card should offer, an entry `[[card]]` of a file."""

    file: str
    """path of the file"""
    line: int
    """line of the entry, from 1"""
    match: Match
    virtual_functions: int | Literal["all"] | None = None
    """number of virtual functions; None: whatever it is"""
    driver: str | None = None
    """driver of the virtual functions, of the card itself if virtual_functions is None; None:
    whatever they have"""
    vgpus: tuple[WantedVgpus, ...] = ()
    mdevs: tuple[WantedMdev, ...] = ()
    spare: int = 0
    """number of the last virtual functions that are left alone: no driver, and no vGPU"""
    remove_unnamed: bool = False
    """whether vGPUs of this card that the entry does not name are removed"""
    keep: bool = False
    """whether what drifts away is put right without being asked"""
    lines: Mapping[KeyPath, int] = {}
    """line of each key of the entry, from 1"""

    def line_of(self, path: KeyPath) -> int:
        """Return the line of a key, or else of what is around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, self.line)


class Layout(msgspec.Struct, frozen=True):
    """What a host should offer."""

    cards: tuple[WantedCard, ...] = ()
