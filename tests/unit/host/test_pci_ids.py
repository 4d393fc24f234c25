"""pci_ids: names of vendors, devices and boards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.host.pci_ids import PciIds

DATA = b"""\
# A comment
0001  SafeNet (wrong ID)
10de  NVIDIA Corporation
\t25b6  GA107GL [A2 / A16]
\t\t10de 157e  A2 board
# in between

\t1b38  GP102GL [Tesla P40]
\t\t10de 11d9  Tesla P40
8086  Intel Corporation
\t6f00  DMI2

C 00  Unclassified device
\t00  Non-VGA unclassified device
"""
IDS = PciIds(DATA)


def test_ids_in_the_database_have_names() -> None:
    """Vendors, devices and boards are found, the last of a section too."""
    assert IDS.vendor(0x10DE) == "NVIDIA Corporation"
    assert IDS.vendor(0x8086) == "Intel Corporation"
    assert IDS.vendor(1) == "SafeNet (wrong ID)"
    assert IDS.device(0x10DE, 0x1B38) == "GP102GL [Tesla P40]"
    assert IDS.device(0x8086, 0x6F00) == "DMI2"
    assert IDS.subsystem(0x10DE, 0x25B6, 0x10DE, 0x157E) == "A2 board"


def test_ids_not_in_the_database_have_none() -> None:
    """A device of another vendor, a board of another device, and classes have no name."""
    assert IDS.vendor(0x1234) is None
    assert IDS.vendor(0xC) is None
    assert IDS.device(0x8086, 0x25B6) is None
    assert IDS.device(0x1234, 0x25B6) is None
    assert IDS.device(0x8086, 0x0000) is None
    assert IDS.subsystem(0x10DE, 0x1B38, 0x10DE, 0x157E) is None


def test_board_that_repeats_the_chips_ids_has_its_name() -> None:
    """As in lspci."""
    assert IDS.subsystem(0x10DE, 0x25B6, 0x10DE, 0x25B6) == "GA107GL [A2 / A16]"


def test_empty_database_knows_nothing() -> None:
    """A host without the file has ids, and no names."""
    assert PciIds(b"").vendor(0x8086) is None
    assert PciIds(b"").device(0x8086, 0x6F00) is None


def test_line_that_is_no_entry_is_passed_over() -> None:
    """A bad line does not affect others; bytes that are not UTF-8 are escaped."""
    ids = PciIds(b"8086  Intel\n\tnothex  What\n\t\tzz zz  Board\n\t\n\t6f00  B\xffd\n1234\n")
    assert ids.vendor(0x8086) == "Intel"
    assert ids.device(0x8086, 0x6F00) == "B\\xffd"


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_last_line_without_newline_is_read(end: bytes) -> None:
    """The last line of a file without a final newline is read."""
    assert PciIds(b"8086  Intel" + end).vendor(0x8086) == "Intel"
    assert PciIds(b"8086  Intel\n\t0001  One" + end).device(0x8086, 1) == "One"


@given(st.binary(), st.integers(0, 0xFFFF))
def test_database_of_any_bytes_is_read_to_its_end(data: bytes, device: int) -> None:
    """Malformed lines of the host's file raise nothing, and the entry before them is found."""
    ids = PciIds(b"8086  Intel\n" + data)
    assert ids.vendor(0x8086) == "Intel"
    name = ids.device(0x8086, device)
    assert name is None or isinstance(name, str)
