"""pci_ids: names of PCI vendors and devices in the database `pci.ids` (https://pci-ids.ucw.cz).

The file has 38,000 lines, and a host some ten vendors: the section of a vendor is searched in
the raw bytes and parsed when it is first needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

PATHS = ("/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids")
"""Paths of the database on Debian and Fedora."""


_Key: TypeAlias = tuple[int, ...]


class PciIds:
    """A database, given as the bytes of its file; it has no names if these are empty."""

    def __init__(self, data: bytes) -> None:
        self._data = b"\n" + data
        self._vendors: dict[int, Mapping[_Key, str]] = {}

    def vendor(self, vendor: int) -> str | None:
        """Return a vendor's name."""
        return self._section(vendor).get(())

    def device(self, vendor: int, device: int) -> str | None:
        """Return a device's name."""
        return self._section(vendor).get((device,))

    def subsystem(self, vendor: int, device: int, subvendor: int, subdevice: int) -> str | None:
        """Return a board's name; as in lspci, one with the ids of its chip has the chip's name."""
        if (vendor, device) == (subvendor, subdevice):
            return self.device(vendor, device)
        return self._section(vendor).get((device, subvendor, subdevice))

    def _section(self, vendor: int) -> Mapping[_Key, str]:
        section = self._vendors.get(vendor)
        if section is None:
            section = self._vendors[vendor] = self._parse(vendor)
        return section

    def _parse(self, vendor: int) -> Mapping[_Key, str]:
        start = self._data.find(b"\n%04x  " % vendor)
        if start < 0:
            return {}
        names: dict[_Key, str] = {}
        device = -1
        for number, line in enumerate(_lines(self._data, start + 1)):
            code, _, name = line.partition(b"  ")
            try:
                if number == 0:
                    key: _Key = ()
                elif code.startswith(b"\t\t"):
                    key = (device, *[int(part, 16) for part in code.split()])
                elif code.startswith(b"\t"):
                    device = int(code, 16)
                    key = (device,)
                elif not line or line.startswith(b"#"):
                    continue
                else:
                    break
            except ValueError:
                continue
            names[key] = name.decode("utf-8", "backslashreplace")
        return names


def _lines(data: bytes, start: int) -> Iterator[bytes]:
    while start < len(data):
        end = data.find(b"\n", start)
        if end < 0:
            end = len(data)
        yield data[start:end]
        start = end + 1
