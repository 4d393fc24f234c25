"""names: PCI addresses as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.names import PciAddress, parse_pci


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0000:00:02.0", PciAddress(0, 0, 2, 0)),
        ("0001:c8:1f.7", PciAddress(1, 0xC8, 0x1F, 7)),
        ("10000:e0:06.0", PciAddress(0x10000, 0xE0, 6, 0)),
        ("ffffffff:ff:1f.7", PciAddress(0xFFFFFFFF, 0xFF, 0x1F, 7)),
        ("3b:00.0", PciAddress(0, 0x3B, 0, 0)),
        ("0000:3B:0A.0", PciAddress(0, 0x3B, 0x0A, 0)),
    ],
)
def test_address_in_any_form_is_read(text: str, address: PciAddress) -> None:
    """The domain may be omitted or have up to eight digits, in either case."""
    assert parse_pci(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0000:00:02",
        "0000:00:02.8",
        "0000:00:20.0",
        "0000:00:2.0",
        "000:00:02.0",
        "100000000:00:02.0",
        "0000:0g:02.0",
        " 0000:00:02.0",
        "0000:00:02.0\n",
        "0000:00:02.0/",
        "\u0660\u0660:00.0",
        "pci_0000_00_02_0",
    ],
)
def test_text_that_is_no_address_is_none(text: str) -> None:
    """Surrounding text, or a number out of range, is not accepted."""
    assert parse_pci(text) is None


@given(
    st.builds(
        PciAddress,
        st.integers(0, 0xFFFFFFFF),
        st.integers(0, 0xFF),
        st.integers(0, 0x1F),
        st.integers(0, 7),
    )
)
def test_address_written_and_read_is_the_same(address: PciAddress) -> None:
    """The text has the kernel's form, and is parsed to the same address."""
    assert parse_pci(str(address)) == address
