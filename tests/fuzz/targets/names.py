"""Names from the kernel and from clients, and text for a terminal."""

from __future__ import annotations

import os
import re

from nodedevd import names
from nodedevd.host.node import parse_number
from nodedevd.kinds.shared.ccw import parse_ccw
from nodedevd.text import fold, printable, printable_path, table
from nodedevd.xml_writer import UNSEEN, escape, escape_attribute, escape_unseen
from tests.fuzz.target import Cutter, Target

_UNSEEN = re.compile(f"[{UNSEEN}]")


def check(data: bytes) -> None:
    """What is printed has no control characters, what is sent is UTF-8, and names are canonical."""
    raw = os.fsdecode(data)
    path = printable_path(raw)
    path.encode()
    assert len(path) <= 4 * len(data)
    assert printable_path(path) == path
    shown = printable(raw)
    assert shown.isprintable()
    assert _UNSEEN.search(shown) is None
    assert printable(shown) == shown
    assert len(shown) <= 10 * len(raw)
    name = names.device_name("net", raw)
    assert name.isascii()
    assert name.replace("_", "a").isalnum()
    _check_canonical(path)
    for number in (parse_number(path), parse_number(path, 16)):
        assert number is None or 0 <= number < 1 << 63
    assert parse_ccw(path) is None or path.isascii()
    assert not {"<", ">", "'"} & set(escape(raw))
    assert _UNSEEN.search(escape(raw)) is None
    assert _UNSEEN.search(escape_unseen(raw)) is None
    assert not {"<", ">", "'", "\n", "\t"} & set(escape_attribute(raw))
    _check_layout(data)


def _check_canonical(text: str) -> None:
    once = names.canonical_name(text)
    assert names.canonical_name(once) == once or text.endswith("/")
    address = names.parse_pci(text)
    if address is not None:
        assert names.parse_pci(str(address)) == address


def _check_layout(data: bytes) -> None:
    cutter = Cutter(data)
    width = 20 + cutter.byte()
    text = cutter.rest().decode("utf-8", "replace")
    lines = fold(text, width=width).split("\n")
    assert "".join(lines).replace(" ", "") == printable(text).replace(" ", "")
    first, _, second = text.partition("|")
    drawn = table(["NAME", "VALUE"], [[first, second]], width=width)
    assert all(one == "\n" or one == "\x1b" or one.isprintable() for one in drawn)
    assert len(drawn) <= 200 + (width + 12) * (len(text) + 2)


TARGET = Target(
    "names",
    check,
    reads=("nodedevd/names.py", "nodedevd/text.py", "nodedevd/xml_writer.py"),
    words=(
        b"0000:02:00.0",
        b"mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3d1e01_0000_02_00_0",
        b"5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01",
        b"0.0.0001",
        b"0x",
        b"\x1b[31m",
        "\u202e".encode(),
        "\u0085".encode(),
        "\U000e0001".encode(),
        "\u3000".encode(),
        "\ufe0f".encode(),
        "\U000e0100".encode(),
        b"\xff",
        b"\r\n",
    ),
    most_bytes=512,
    steps=(3000, 120),
    share=0.5,
)
