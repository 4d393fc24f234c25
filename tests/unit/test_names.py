"""names: device names by libvirt's rule, and how they are parsed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.names import (
    MdevName,
    device_name,
    distinct_name,
    has_uuid,
    is_uuid,
    parse_mdev_name,
    sanitise,
)

UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
FLAT = UUID.replace("-", "_")


@pytest.mark.parametrize(
    ("subsystem", "sysname", "name"),
    [
        ("pci", "0000:00:02.0", "pci_0000_00_02_0"),
        ("mdev", UUID, f"mdev_{FLAT}"),
        ("css", "0.0.0313", "css_0_0_0313"),
        ("mtty", "mtty", "mtty_mtty"),
        ("matrix", "matrix", "ap_matrix"),
        ("matrix", "other", "matrix_other"),
        ("net", "Eth0", "net_Eth0"),
        (None, "bare", "bare"),
        (None, "v-1", "v_1"),
    ],
)
def test_device_is_named_by_libvirts_rule(subsystem: str | None, sysname: str, name: str) -> None:
    """The name is subsystem and kernel name, sanitised; the case is kept."""
    assert device_name(subsystem, sysname) == name


@pytest.mark.parametrize("text", [UUID, FLAT, f"mdev_{FLAT}", f"vm-{UUID.upper()}"])
def test_part_of_a_text_is_a_uuid(text: str) -> None:
    """In any form that a name of a device, or of a VM, has one."""
    assert has_uuid(text)
    assert not has_uuid(text[:-6])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", ""),
        ("a b", "a_b"),
        ("\u00e9", "__"),
        ("\u65e5\u672c", "______"),
        ("a\udcffb", "a_b"),
        ("'\"<&\n\x00", "______"),
        ("_", "_"),
    ],
)
def test_every_unsafe_byte_becomes_one_underscore(text: str, name: str) -> None:
    """A character outside ASCII has several bytes, an invalid byte is one."""
    assert sanitise(text) == name


@given(st.text())
def test_name_is_safe_whatever_the_text(text: str) -> None:
    """A name has only ASCII letters, digits and underscores."""
    assert re.fullmatch("[A-Za-z0-9_]*", sanitise(text))


def test_second_device_with_a_name_has_digits_of_its_path() -> None:
    """The eight digits depend only on the path, and stay the same in every run."""
    assert distinct_name("mdpy_v_1", "/sys/devices/virtual/mdpy/v.1") == "mdpy_v_1_82d848b5"
    assert distinct_name("mdpy_v_1", "/sys/devices/virtual/mdpy/v-1") != "mdpy_v_1_82d848b5"


@pytest.mark.parametrize("text", [UUID, UUID.upper()])
def test_uuid_in_either_case_is_one(text: str) -> None:
    """Clients may send either case."""
    assert is_uuid(text)


@pytest.mark.parametrize("text", ["", FLAT, UUID[:-1], f"{UUID}0", f"{UUID}\n", f"g{UUID[1:]}"])
def test_text_that_is_no_uuid_is_none(text: str) -> None:
    """Only the usual form is accepted, without any text after it."""
    assert not is_uuid(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"mdev_{FLAT}", MdevName(UUID, None)),
        (f"mdev_{UUID}", MdevName(UUID, None)),
        (f"mdev_{UUID.upper()}", MdevName(UUID, None)),
        (f"mdev_{FLAT}_0000_00_02_0", MdevName(UUID, "0000_00_02_0")),
        (f"mdev_{FLAT}_0000:00:02.0", MdevName(UUID, "0000:00:02.0")),
        (f"mdev_{FLAT}_matrix", MdevName(UUID, "matrix")),
    ],
)
def test_name_of_an_mdev_has_uuid_and_parent(text: str, name: MdevName) -> None:
    """Libvirt's names before and since 7.7 are parsed, with dashes or underscores."""
    assert parse_mdev_name(text) == name


@pytest.mark.parametrize("text", ["", UUID, f"mdev{UUID}", f"mdev_{UUID}_", f"xmdev_{UUID}"])
def test_text_that_is_no_mdev_name_is_none(text: str) -> None:
    """A name without `mdev_`, or with an empty parent, is not parsed."""
    assert parse_mdev_name(text) is None
