"""pci_ids: names of PCI vendors and devices in the database `pci.ids` (https://pci-ids.ucw.cz).

The file has 38,000 lines, and a host some ten vendors and devices: each name is searched in the
raw bytes when it is first needed, a device's in the section of its vendor.
"""

from __future__ import annotations

import re
from typing import Final

PATHS = ("/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids")
"""Paths of the database on Debian and Fedora."""
_NEXT_VENDOR: Final = re.compile(rb"\n[^\t#\n]")
_NEXT_DEVICE: Final = re.compile(rb"\n\t[^\t\n]")


class PciIds:
    """A database, given as the bytes of its file; it has no names if these are empty."""

    def __init__(self, data: bytes) -> None:
        self._data = b"\n" + data
        self._sections: dict[int, bytes] = {}
        self._names: dict[tuple[int, ...], str | None] = {}
        """those that were asked for: all virtual functions of a card have the same"""

    def vendor(self, vendor: int) -> str | None:
        """Return a vendor's name."""
        return self._name(vendor)

    def device(self, vendor: int, device: int) -> str | None:
        """Return a device's name."""
        return self._name(vendor, device)

    def subsystem(self, vendor: int, device: int, subvendor: int, subdevice: int) -> str | None:
        """Return a board's name; as in lspci, one with the ids of its chip has the chip's name."""
        if (vendor, device) == (subvendor, subdevice):
            return self.device(vendor, device)
        return self._name(vendor, device, subvendor, subdevice)

    def _name(self, *ids: int) -> str | None:
        if ids not in self._names:
            self._names[ids] = self._find(*ids)
        return self._names[ids]

    def _find(self, vendor: int, *ids: int) -> str | None:
        section = self._section(vendor)
        if not ids:
            return _named(section, b"\n%04x  " % vendor)
        code = b"\n\t%04x  " % ids[0]
        if len(ids) == 1:
            return _named(section, code)
        return _named(_part(section, code, _NEXT_DEVICE), b"\n\t\t%04x %04x  " % ids[1:])

    def _section(self, vendor: int) -> bytes:
        section = self._sections.get(vendor)
        if section is None:
            code = b"\n%04x  " % vendor
            section = self._sections[vendor] = _part(self._data, code, _NEXT_VENDOR)
        return section


def _part(data: bytes, code: bytes, following: re.Pattern[bytes]) -> bytes:
    """Return what begins with a code, up to the next entry of its rank; empty if there is none."""
    start = data.find(code)
    if start < 0:
        return b""
    end = following.search(data, start + 1)
    return data[start : len(data) if end is None else end.start()]


def _named(part: bytes, code: bytes) -> str | None:
    """Return the text after a code, to the end of its line."""
    _, found, rest = part.partition(code)
    return rest.partition(b"\n")[0].decode("utf-8", "backslashreplace") if found else None
