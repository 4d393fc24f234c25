"""Vital Product Data, as a PCI function holds it: PCI Local Bus 3.0, appendix I."""

from __future__ import annotations

from collections.abc import Mapping

IDENTIFIER, READ_ONLY, READ_WRITE, END = 0x82, 0x90, 0x91, 0x0F << 3


def resource(tag: int, data: bytes) -> bytes:
    """Return a large resource: its tag, its length, its data."""
    return bytes([tag]) + len(data).to_bytes(2, "little") + data


def field(keyword: str, data: bytes) -> bytes:
    """Return a field of a section: its keyword, its length, its data."""
    return keyword.encode("ascii") + bytes([len(data)]) + data


def vital_product_data(
    name: str | None,
    read_only: Mapping[str, str | bytes],
    read_write: Mapping[str, str | bytes] | None = None,
    *,
    reserved: int = 1,
) -> bytes:
    """Return it whole, with a right checksum; `reserved` are the bytes of the field RV."""
    start = b"" if name is None else resource(IDENTIFIER, name.encode())
    section = _fields(read_only)
    checksum_at = len(section) + 3
    section += field("RV", bytes(reserved))
    data = bytearray(start + resource(READ_ONLY, section))
    offset = len(start) + 3 + checksum_at
    data[offset] = -sum(data[:offset]) & 0xFF
    if read_write is not None:
        data += resource(READ_WRITE, _fields(read_write) + field("RW", bytes(4)))
    return bytes(data) + bytes([END])


def _fields(values: Mapping[str, str | bytes]) -> bytes:
    return b"".join(
        field(keyword, value if isinstance(value, bytes) else value.encode())
        for keyword, value in values.items()
    )
