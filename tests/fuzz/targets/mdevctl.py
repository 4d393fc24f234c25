"""A definition of mdevctl: JSON that an administrator, or a program of theirs, has written."""

from __future__ import annotations

from typing import cast

import msgspec

from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.shared.mdevctl import Definition, read_definition
from nodedevd.xml_writer import escape, escape_attribute
from tests.fuzz.target import Target


class _File:
    """A host with one file."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, path: str, size: int | None = None) -> bytes:
        """Return the file."""
        return self._data[:size]


def check(data: bytes) -> None:
    """It is a definition, no larger than its file, or a ValueError; and is read as written."""
    try:
        found = _read(data)
    except ValueError as error:
        assert len(str(error)) <= 4 * len(data) + 200
        return
    texts = [found.mdev_type, *(part for one in found.attributes for part in (one.name, one.value))]
    assert sum(map(len, texts)) <= len(data)
    for text in texts:
        assert "<" not in escape(text)
        assert "'" not in escape_attribute(text)
    written = {
        "mdev_type": found.mdev_type,
        "start": "auto" if found.autostart else "manual",
        "attrs": [{one.name: one.value} for one in found.attributes],
    }
    assert _read(msgspec.json.encode(written)) == found
    assert msgspec.json.decode(msgspec.json.encode(found), type=Definition) == found


def _read(data: bytes) -> Definition:
    found = read_definition(cast(Sysroot, _File(data)), "/etc/mdevctl.d/parent/uuid")
    assert found is not None
    return found


TARGET = Target(
    "mdevctl",
    check,
    reads=("nodedevd/kinds/shared/mdevctl.py",),
    words=(
        b'{"mdev_type":"i915-GVTg_V5_4","start":"auto","attrs":[{"a":"b"}]}',
        b'"attrs":null',
        b'"start":"manual"',
        b"\\ud800",
        b"\\u0000",
        b"[[[[[[[[",
        b"\xff",
        b"1e999",
    ),
    most_bytes=512,
    share=4.0,
)
