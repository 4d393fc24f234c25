"""config: parses the first 256 bytes of a function's configuration space.

Source: PCI Local Bus Specification 3.0, chapter 6; PCI Express Base Specification, chapter 7.
Offsets and bits are those of Linux's include/uapi/linux/pci_regs.h.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from nodedevd.xml_writer import Out

CONFIG_SIZE = 256
"""Bytes with the header and the capability list."""

_HEADER_SIZE = 64  # a reader without CAP_SYS_ADMIN gets no more
_REVISION = 0x08
_STATUS = 0x06
_STATUS_CAPABILITY_LIST = 0x10
_HEADER_TYPE = 0x0E
_CAPABILITY_LIST = 0x34
_CARDBUS_CAPABILITY_LIST = 0x14
_CAPABILITY_EXPRESS = 0x10
_EXPRESS_SIZE = 0x14  # as far as Link Status
_BRIDGES: dict[int, Literal["pci-bridge", "cardbus-bridge"]] = {
    1: "pci-bridge",
    2: "cardbus-bridge",
}
_LINKLESS_PORTS = (9, 10)  # root complex integrated endpoint, event collector
_GIGATRANSFERS = {1: 2.5, 2: 5.0, 3: 8.0, 4: 16.0, 5: 32.0, 6: 64.0, 7: 128.0}


class PciLink(msgspec.Struct, frozen=True, gc=False):
    """One end of a PCI Express link."""

    speed: float | None
    """GT/s a lane; None without a link, and for speeds not yet standardised"""
    width: int
    """lanes; 0 without a link"""
    port: int | None = None
    """port number; only in the capability"""


class PciExpress(msgspec.Struct, frozen=True, gc=False):
    """The link; both parts are None for an endpoint integrated in the root complex."""

    capability: PciLink | None = None
    """Link Capabilities: what the link supports"""
    status: PciLink | None = None
    """Link Status: what it uses, at the time of the read"""


class PciConfig:
    """A function's configuration space, as far as it is readable; possibly empty."""

    def __init__(self, data: bytes) -> None:
        self.revision: int | None = None
        self.bridge: Literal["pci-bridge", "cardbus-bridge"] | None = None
        self.express: PciExpress | None = None
        self.problem: tuple[Literal["refused", "unreadable", "malformed"], str] | None = None
        self.capabilities: list[int] = []
        """positions of the capabilities that were looked at"""
        self._data = data
        if not data:
            return
        if len(data) < _HEADER_SIZE:
            self.problem = ("malformed", f"{len(data)} bytes, expected at least {_HEADER_SIZE}")
            return
        # The ids alone prove nothing: those of a virtual function are all ones by design.
        if data[:_HEADER_SIZE] == b"\xff" * _HEADER_SIZE:
            self.problem = ("unreadable", "all ones: the function does not answer")
            return
        self.revision = data[_REVISION]
        header_type = data[_HEADER_TYPE] & 0x7F
        self.bridge = _BRIDGES.get(header_type)
        if data[_STATUS] & _STATUS_CAPABILITY_LIST:
            cardbus = self.bridge == "cardbus-bridge"
            start = data[_CARDBUS_CAPABILITY_LIST if cardbus else _CAPABILITY_LIST]
            self._walk(start & 0xFC)

    def _walk(self, position: int) -> None:
        seen = self.capabilities
        while position:
            if position in seen or position < 0x40:
                self.problem = ("malformed", f"capability list breaks at 0x{position:02x}")
                return
            if position + 2 > len(self._data):
                self._cut(position)
                return
            seen.append(position)
            if self._data[position] == _CAPABILITY_EXPRESS:
                self._read_express(position)
                return
            position = self._data[position + 1] & 0xFC

    def _read_express(self, position: int) -> None:
        if position + _EXPRESS_SIZE > len(self._data):
            self._cut(position)
            return
        port_type = self._word(position + 2) >> 4 & 0xF
        if port_type in _LINKLESS_PORTS:
            self.express = PciExpress()
            return
        capability = self._word(position + 0x0C) | self._word(position + 0x0E) << 16
        status = self._word(position + 0x12)
        self.express = PciExpress(
            capability=PciLink(
                speed=_GIGATRANSFERS.get(capability & 0xF),
                width=capability >> 4 & 0x3F,
                port=capability >> 24,
            ),
            status=PciLink(speed=_GIGATRANSFERS.get(status & 0xF), width=status >> 4 & 0x3F),
        )

    def _word(self, position: int) -> int:
        return int.from_bytes(self._data[position : position + 2], "little")

    def _cut(self, position: int) -> None:
        if len(self._data) == _HEADER_SIZE:
            self.problem = ("refused", "only root reads beyond the first 64 bytes")
        else:
            self.problem = ("malformed", f"capability at 0x{position:02x} is cut off")


def write_express(express: PciExpress, out: Out) -> None:
    """Write `<pci-express>`, with both ends of the link where there is one."""
    if express.capability is None or express.status is None:
        out.empty("pci-express")
        return
    with out.begin("pci-express"):
        for validity, link in (("cap", express.capability), ("sta", express.status)):
            attributes = {"validity": validity}
            if link.port is not None:
                attributes["port"] = str(link.port)
            if link.speed is not None:
                attributes["speed"] = f"{link.speed:g}"
            out.empty("link", **attributes, width=str(link.width))


def without_identity(data: bytes) -> bytes:
    """Return the data with zeros for all registers that are not read.

    Registers of a vendor can hold a serial number or a hardware address.
    """
    kept = bytearray(len(data))
    kept[:_HEADER_SIZE] = data[:_HEADER_SIZE]
    for position in PciConfig(data).capabilities:
        size = _EXPRESS_SIZE if data[position] == _CAPABILITY_EXPRESS else 2
        kept[position : position + size] = data[position : position + size]
    return bytes(kept)
