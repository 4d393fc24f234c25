"""Vital Product Data: what the flash memory of a board holds."""

from __future__ import annotations

import re

import msgspec

from nodedevd.kinds.pci.vpd import Vpd, parse_vpd, without_identity, write_vpd
from nodedevd.xml_writer import Out
from tests.fuzz.target import Target


def check(data: bytes) -> None:
    """It is printable data no longer than its bytes, or a ValueError; and loses its identity."""
    data = _with_checksum(data)
    try:
        found = parse_vpd(data)
    except ValueError as error:
        assert len(str(error)) < 80
        assert _without(data) == b""
        return
    out = Out()
    write_vpd(found, out)
    text = str(out)
    assert len(text) <= 200 + 80 * len(data)
    assert text.isascii()
    assert msgspec.json.decode(msgspec.json.encode(found), type=Vpd) == found
    copy = _without(data)
    assert len(copy) == len(data)
    other = parse_vpd(copy)
    assert _without(copy) == copy
    assert other.name == found.name
    if found.read_only is not None:
        assert other.read_only is not None
        assert other.read_only.part_number == found.read_only.part_number
        assert _hidden(other.read_only.serial_number)
        assert all(_hidden(one.value) for one in other.read_only.vendor_fields)
    if other.read_write is not None:
        assert _hidden(other.read_write.asset_tag)
        assert all(_hidden(one.value) for one in other.read_write.vendor_fields)
        assert all(_hidden(one.value) for one in other.read_write.system_fields)


def _without(data: bytes) -> bytes:
    return without_identity(data, lambda text: re.sub("[1-9A-Za-z]", "0", text), str)


def _hidden(text: str | None) -> bool:
    return text is None or re.search("[1-9A-Za-z]", text) is None


def _with_checksum(data: bytes) -> bytes:
    """Return data whose first checksum is right, which no fuzzer would guess."""
    at = data.find(b"RV")
    if at < 0 or at + 3 >= len(data):
        return data
    copy = bytearray(data)
    copy[at + 3] = -sum(copy[: at + 3]) & 0xFF
    return bytes(copy)


TARGET = Target(
    "pci-vpd",
    check,
    reads=("nodedevd/kinds/pci/vpd.py",),
    words=(
        b"\x82\x04\x00name",
        b"\x90\x0e\x00PN\x02abSN\x01xRV\x01\x00",
        b"\x91\x0c\x00V1\x01aYA\x01bRW\x00",
        b"\x90\x04\x00RV\x01\x00\x78",
        b"EC\x01",
        b"MN\x01",
        b"Y0\x01",
        b"VZ\x01",
        b"\x78",
    ),
    most_bytes=512,
    share=2.0,
)
