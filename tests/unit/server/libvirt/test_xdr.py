"""XDR: the bytes of RFC 4506, limits, and that hostile bytes only cause errors."""

from __future__ import annotations

import tracemalloc
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.server.libvirt.xdr import (
    DOUBLE,
    HYPER,
    INT,
    UNSIGNED_HYPER,
    UNSIGNED_INT,
    VOID,
    Array,
    Case,
    Option,
    String,
    Structure,
    Type,
    Union,
    XdrError,
    decode,
    encode,
)


class Point(NamedTuple):
    """Two fields of different types."""

    name: str | None
    places: Any


POINT = Structure(Point, Option(String(8)), Array(UNSIGNED_HYPER, 3))
ANYTHING = Union({0: VOID, 1: INT, 2: POINT, -1: DOUBLE, 7: Array(String(16), 1 << 20)})

text = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=4)
values = st.one_of(
    st.just(Case(0, None)),
    st.builds(Case, st.just(1), st.integers(-(2**31), 2**31 - 1)),
    st.builds(Case, st.just(-1), st.floats(allow_nan=False)),
    st.builds(Case, st.just(7), st.lists(text, max_size=9).map(tuple)),
    st.builds(
        Case,
        st.just(2),
        st.builds(
            Point,
            st.none() | st.text("ab", max_size=8),
            st.lists(st.integers(0, 2**64 - 1), max_size=3).map(tuple),
        ),
    ),
)


@pytest.mark.parametrize(
    ("kind", "value", "data"),
    [
        (INT, -2, "fffffffe"),
        (UNSIGNED_INT, 0x80000000, "80000000"),
        (HYPER, -1, "ffffffffffffffff"),
        (UNSIGNED_HYPER, 11003000, "0000000000a7e478"),
        (DOUBLE, 1.5, "3ff8000000000000"),
        (VOID, None, ""),
        (String(9), "nodedev", "000000076e6f646564657600"),
        (String(9), "é", "00000002c3a90000"),
        (String(9), "", "00000000"),
        (Option(INT), None, "00000000"),
        (Option(INT), 3, "0000000100000003"),
        (Array(INT, 2), (1, 2), "000000020000000100000002"),
        (POINT, Point(None, (1,)), "00000000000000010000000000000001"),
        (ANYTHING, Case(1, 5), "0000000100000005"),
    ],
)
def test_value_has_the_bytes_of_the_standard(kind: Type[Any], value: Any, data: str) -> None:
    """Packing returns these bytes, and unpacking them the value."""
    assert encode(kind, value).hex() == data
    assert decode(kind, bytes.fromhex(data)) == value


@given(values)
def test_what_is_packed_is_unpacked_again(value: Case) -> None:
    """The size is a multiple of four bytes."""
    data = encode(ANYTHING, value)
    assert len(data) % 4 == 0
    assert decode(ANYTHING, data + b"surplus") == value


@given(values, st.data())
def test_truncated_value_is_an_error(value: Case, data: st.DataObject) -> None:
    """At any length below the full one."""
    whole = encode(ANYTHING, value)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(XdrError):
        decode(ANYTHING, whole[:cut])


@given(st.binary(max_size=200))
def test_random_bytes_are_a_value_or_an_error(data: bytes) -> None:
    """Only XdrError is raised."""
    for number in (0, 1, 2, 7, 0xFFFFFFFF):
        try:
            case = decode(ANYTHING, number.to_bytes(4, "big") + data)
        except XdrError:
            continue
        assert decode(ANYTHING, encode(ANYTHING, case)) == case or case.value != case.value


@pytest.mark.parametrize("length", ["00100000", "7fffffff", "ffffffff"])
@pytest.mark.parametrize("kind", [String(1 << 32), Array(String(16), 1 << 32), Array(INT, 1 << 32)])
def test_huge_length_takes_no_memory(kind: Type[Any], length: str) -> None:
    """Nothing is allocated for bytes that were announced but not sent."""
    data = bytes.fromhex(length) + bytes(64)
    tracemalloc.start()
    try:
        with pytest.raises(XdrError):
            decode(kind, data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 16
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        (String(4), "000000056162636465000000", "a string of 5 bytes, 4 at most"),
        (String(4), "0000000261000000", "a string contains NUL"),
        (String(4), "00000002ff610000", "a string is not UTF-8"),
        (String(4), "0000000161", "3 bytes expected, 0 left"),
        (Array(INT, 1), "000000020000000100000001", "an array of 2 elements, 1 at most"),
        (Option(INT), "0000000200000001", "2 is not a boolean"),
        (ANYTHING, "00000009", "a union has no case 9"),
    ],
)
def test_bytes_that_are_no_value_say_why(kind: Type[Any], data: str, reason: str) -> None:
    """The error names what is wrong."""
    with pytest.raises(XdrError, match=reason):
        decode(kind, bytes.fromhex(data))


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (INT, 2**31, "2147483648 is not in the range of int"),
        (UNSIGNED_INT, -1, "-1 is not in the range of unsigned int"),
        (String(2), "aé", "a string of 3 bytes, 2 at most"),
        (Array(INT, 2), (1, 2, 3), "an array of 3 elements, 2 at most"),
        (ANYTHING, Case(9, None), "a union has no case 9"),
    ],
)
def test_value_over_its_bound_is_not_packed(kind: Type[Any], value: Any, reason: str) -> None:
    """Packing has the same limits as unpacking."""
    with pytest.raises(XdrError, match=reason):
        encode(kind, value)


def test_structure_with_another_number_of_fields_is_refused() -> None:
    """A mismatch with the NamedTuple is found when the type is defined."""
    with pytest.raises(TypeError, match="Point has 2 fields, not 1"):
        Structure(Point, INT)
