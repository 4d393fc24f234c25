"""stand_ins: values that take the place of those that would identify the recorded machine.

Replaced are uuids, MAC addresses, World Wide Names, the attributes that a kind names as
identifying, Vital Product Data, the serial numbers in udev's database, with the links that are
made of them, and the names that administrators give to volumes and mount points.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable

from nodedevd.host.udev_db import DIRECTORY as UDEV_DATA
from nodedevd.kinds import KINDS
from nodedevd.kinds.pci import VPD
from nodedevd.kinds.pci.vpd import without_identity
from nodedevd.tree.private_proc import without_private

_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MAC = re.compile(rb"(?<![0-9a-f:])(?:[0-9a-f]{2}:){5,19}[0-9a-f]{2}(?![0-9a-f:])", re.IGNORECASE)
# ID_SERIAL, ID_SERIAL_SHORT, ID_WWN, ID_FS_UUID, ID_NET_NAME_MAC, DM_VG_NAME and their like.
_PROPERTY = re.compile(rb"^E:\w*(?:SERIAL|WWN|UUID|MAC|DM_\w*NAME)\w*=(.+)$", re.MULTILINE)
_WWN = re.compile(rb"0x[0-9a-f]{16}(?![0-9a-f])")
_NO_WWN = b"0xffffffffffffffff"  # a port's fabric, while it is in none
_SHORT = 4  # bytes; a value as short may occur elsewhere by chance
_IDENTIFYING = frozenset(name for kind in KINDS for name in kind.identifying)


class StandIns:
    """Gives each identifying value a stand-in, the same one wherever it occurs."""

    def __init__(self) -> None:
        self._stand_ins: dict[bytes, bytes] = {}

    @property
    def count(self) -> int:
        """How many values have one."""
        return len(self._stand_ins)

    def name(self, text: str) -> str:
        """Return a path, or the text of a link, with stand-ins."""
        return os.fsdecode(self._ids(os.fsencode(text)))

    def content(self, path: str, data: bytes) -> bytes:
        """Return the content of a file with stand-ins."""
        replaced = self._ids(data)
        if path.startswith("/proc/"):
            return without_private(path, data, self._name) or b""
        if path.endswith("/dm/name"):
            return self._name(data.strip()) + b"\n"
        if path.endswith("/dm/uuid"):
            owner, dash, rest = data.strip().partition(b"-")
            return owner + dash + self._name(rest) + b"\n"
        if path.startswith(f"{UDEV_DATA}/"):
            return self._udev_data(self._wwns(replaced))
        name = posixpath.basename(path)
        if name == VPD:
            return without_identity(data)
        if name in _IDENTIFYING and replaced == data:
            return self._attribute(data)
        return replaced

    def _name(self, value: bytes) -> bytes:
        return self._stand_in(value, lambda number: b"recorded-%d" % number) if value else value

    def _ids(self, data: bytes) -> bytes:
        data = _UUID.sub(self._by(lambda number: b"00000000-0000-4000-8000-%012x" % number), data)
        return _MAC.sub(self._by(lambda number: b"02:00:00:%02x:%02x:%02x" % _bytes(number)), data)

    def _attribute(self, data: bytes) -> bytes:
        """Replace the whole value, as udev has it: without the blanks around it."""
        if _WWN.search(data):
            return self._wwns(data)
        value = data.strip()
        if not value:
            return data
        return data.replace(value, self._stand_in(value, lambda number: b"recorded-%d" % number))

    def _wwns(self, data: bytes) -> bytes:
        stand_in = self._by(lambda number: b"0x%016x" % (0x5 << 60 | number))
        return _WWN.sub(lambda match: _NO_WWN if match[0] == _NO_WWN else stand_in(match), data)

    def _udev_data(self, data: bytes) -> bytes:
        """Replace values of properties, and where they occur in links."""
        values = set(_PROPERTY.findall(data)) - set(self._stand_ins.values())
        for value in sorted(values, key=lambda value: (-len(value), value)):
            stand_in = self._stand_in(value, lambda number: b"recorded-%d" % number)
            if len(value) <= _SHORT:
                data = re.sub(b"(?m)=" + re.escape(value) + b"$", b"=" + stand_in, data)
            else:
                data = data.replace(value, stand_in)
        return data

    def _by(self, make: Callable[[int], bytes]) -> Callable[[re.Match[bytes]], bytes]:
        return lambda match: self._stand_in(match[0].lower(), make)

    def _stand_in(self, value: bytes, make: Callable[[int], bytes]) -> bytes:
        if value not in self._stand_ins:
            self._stand_ins[value] = make(len(self._stand_ins) + 1)
        return self._stand_ins[value]


def _bytes(number: int) -> tuple[int, int, int]:
    return number >> 16 & 0xFF, number >> 8 & 0xFF, number & 0xFF
