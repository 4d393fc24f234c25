"""vpd: parses Vital Product Data, which the manufacturer of a board stores in its functions.

Source: PCI Local Bus Specification 3.0, section 6.4 and appendix I. The forms are those of
resource data in the Plug and Play ISA Specification 1.0a.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from nodedevd.xml_writer import Out

VPD_SIZE = 32 << 10
"""The most bytes that a 15-bit address can reach."""

_LARGE = 0x80
_IDENTIFIER, _READ_ONLY, _READ_WRITE = 0x82, 0x90, 0x91
_END = 0x0F
_NO_PRINTABLE = re.compile(rb"[^ -~]")
_VENDOR = re.compile("V[0-9A-Z]")
_SYSTEM = re.compile("Y[0-9B-Z]")


class VpdField(msgspec.Struct, frozen=True, gc=False):
    """A field whose meaning the vendor or the system defines."""

    index: str
    """0-9 or A-Z, the second character of its keyword"""
    value: str
    """text of the field"""


class VpdReadOnly(msgspec.Struct, frozen=True, gc=False):
    """The read-only section, written by the vendor."""

    change_level: str | None
    """EC"""
    manufacture_id: str | None
    """MN"""
    part_number: str | None
    """PN"""
    serial_number: str | None
    """SN"""
    vendor_fields: tuple[VpdField, ...]
    """V0-V9, VA-VZ"""


class VpdReadWrite(msgspec.Struct, frozen=True, gc=False):
    """The read-write section, for the owner of the system."""

    asset_tag: str | None
    """YA"""
    vendor_fields: tuple[VpdField, ...]
    """V0-V9, VA-VZ"""
    system_fields: tuple[VpdField, ...]
    """Y0-Y9, YB-YZ"""


class Vpd(msgspec.Struct, frozen=True, gc=False):
    """Vital Product Data; fields with characters other than printable ASCII are left out."""

    name: str | None
    """name of the product"""
    read_only: VpdReadOnly | None
    """None if it has no known field"""
    read_write: VpdReadWrite | None
    """None if the section is missing, or has no known field"""


class _Field(NamedTuple):
    section: int
    keyword: str
    start: int
    end: int


def parse_vpd(data: bytes) -> Vpd:
    """Parse Vital Product Data. Raises ValueError if any part is malformed."""
    names = [data[start:end] for tag, start, end in _resources(data) if tag == _IDENTIFIER]
    name = names[-1].strip() if names else b""
    if _NO_PRINTABLE.search(name):
        raise ValueError("the name is not printable ASCII")
    values: dict[int, dict[str, str]] = {_READ_ONLY: {}, _READ_WRITE: {}}
    for field in _fields(data):
        value = data[field.start : field.end].strip()
        if value and not _NO_PRINTABLE.search(value):
            values[field.section][field.keyword] = value.decode("ascii")
    return Vpd(
        name=name.decode("ascii") or None,
        read_only=_read_only(values[_READ_ONLY]),
        read_write=_read_write(values[_READ_WRITE]),
    )


def _read_only(values: dict[str, str]) -> VpdReadOnly | None:
    section = VpdReadOnly(
        change_level=values.get("EC"),
        manufacture_id=values.get("MN"),
        part_number=values.get("PN"),
        serial_number=values.get("SN"),
        vendor_fields=_matching(_VENDOR, values),
    )
    return None if section == VpdReadOnly(None, None, None, None, ()) else section


def _read_write(values: dict[str, str]) -> VpdReadWrite | None:
    section = VpdReadWrite(
        asset_tag=values.get("YA"),
        vendor_fields=_matching(_VENDOR, values),
        system_fields=_matching(_SYSTEM, values),
    )
    return None if section == VpdReadWrite(None, (), ()) else section


def _matching(keywords: re.Pattern[str], values: dict[str, str]) -> tuple[VpdField, ...]:
    return tuple(
        [VpdField(key[1], value) for key, value in values.items() if keywords.fullmatch(key)]
    )


def _resources(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Return tag, start and end of each large resource. Raises ValueError without an end tag."""
    position = 0
    while position < len(data):
        tag = data[position]
        if not tag & _LARGE:
            if tag >> 3 == _END:
                return
            position += 1 + (tag & 0x7)
            continue
        start = position + 3
        end = start + int.from_bytes(data[position + 1 : start], "little")
        if start > len(data) or end > len(data):
            raise ValueError(f"the resource at 0x{position:x} is cut off")
        yield tag, start, end
        position = end
    raise ValueError("there is no end tag")


def _fields(data: bytes) -> Iterator[_Field]:
    """Return the fields of both sections except RV and RW. Raises ValueError."""
    tags = set()
    for tag, start, end in _resources(data):
        tags.add(tag)
        if tag == _READ_ONLY:
            yield from _fields_of(data, tag, start, _check_sum(data, start, end))
        elif tag == _READ_WRITE:
            yield from _fields_of(data, tag, start, end)
    if _READ_ONLY not in tags:
        raise ValueError("there is no read-only section")


def _check_sum(data: bytes, start: int, end: int) -> int:
    """Return the start of RV, the last field of a read-only section, with its checksum."""
    for field in _fields_of(data, _READ_ONLY, start, end):
        if field.keyword == "RV":
            if field.end != end:
                raise ValueError("something follows the checksum")
            if field.start == field.end or sum(data[: field.start + 1]) & 0xFF:
                raise ValueError("the checksum is wrong")
            return field.start - 3
    raise ValueError("there is no checksum")


def _fields_of(data: bytes, section: int, start: int, end: int) -> Iterator[_Field]:
    while start < end:
        value = start + 3
        if value > end or value + data[start + 2] > end:
            raise ValueError(f"the field at 0x{start:x} is cut off")
        field = _Field(
            section, data[start : start + 2].decode("latin-1"), value, value + data[start + 2]
        )
        if field.keyword == "RW" and section == _READ_WRITE:
            return  # the rest of the section is unused
        yield field
        start = field.end


def write_vpd(vpd: Vpd, out: Out) -> None:
    """Write `<capability type='vpd'>`."""
    with out.begin("capability", type="vpd"):
        if vpd.name is not None:
            out.text("name", vpd.name)
        fixed, free = vpd.read_only, vpd.read_write
        if fixed is not None:
            with out.begin("fields", access="readonly"):
                for tag, value in (
                    ("change_level", fixed.change_level),
                    ("manufacture_id", fixed.manufacture_id),
                    ("part_number", fixed.part_number),
                    ("serial_number", fixed.serial_number),
                ):
                    if value is not None:
                        out.text(tag, value)
                _write_fields("vendor_field", fixed.vendor_fields, out)
        if free is not None:
            with out.begin("fields", access="readwrite"):
                if free.asset_tag is not None:
                    out.text("asset_tag", free.asset_tag)
                _write_fields("vendor_field", free.vendor_fields, out)
                _write_fields("system_field", free.system_fields, out)


def _write_fields(tag: str, fields: tuple[VpdField, ...], out: Out) -> None:
    for field in fields:
        out.text(tag, field.value, index=field.index)


def without_identity(
    data: bytes, replace: Callable[[str], str], describe: Callable[[str], str]
) -> bytes:
    """Return the data with stand-ins for fields that can identify the board, and zeros between.

    `replace` gives those of the serial number, the asset tag, and all fields of unknown meaning;
    `describe` those in names of the model. What is behind RW and the end tag is no field. Malformed
    Vital Product Data becomes empty.
    """
    try:
        parse_vpd(data)
    except ValueError:
        return b""
    copy = bytearray(len(data))
    for tag, start, end in _resources(data):
        copy[start - 3 : start] = data[start - 3 : start]
        if tag == _IDENTIFIER:
            copy[start:end] = _same_length(data[start:end], describe)
        last = end
    copy[last] = _END << 3
    for field in _fields(data):
        copy[field.start - 3 : field.start] = data[field.start - 3 : field.start]
        writer = describe if field.keyword in ("EC", "MN", "PN") else replace
        copy[field.start : field.end] = _same_length(data[field.start : field.end], writer)
    for tag, start, end in _resources(data):
        if tag == _READ_ONLY:
            rv = _check_sum(data, start, end)
            copy[rv : rv + 3] = data[rv : rv + 3]
            copy[rv + 3] = -sum(copy[: rv + 3]) & 0xFF
        elif tag == _READ_WRITE:
            unused = max([start, *(field.end for field in _fields_of(data, tag, start, end))])
            if unused < end:  # RW says so, and there is room for its header
                copy[unused : unused + 3] = b"RW" + bytes([min(end - unused - 3, 0xFF)])
    return bytes(copy)


def _same_length(data: bytes, writer: Callable[[str], str]) -> bytes:
    """Return the stand-in of a value; one that is not printable stays so, as zeros."""
    if _NO_PRINTABLE.search(data.strip()):
        return bytes(len(data))
    return writer(data.decode("latin-1")).encode()[: len(data)].ljust(len(data), b"0")
