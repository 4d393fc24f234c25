"""pci_vpd: Vital Product Data is read by its rules, and not at all when it breaks one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.kinds.pci.vpd import (
    Vpd,
    VpdField,
    VpdReadOnly,
    VpdReadWrite,
    parse_vpd,
    without_identity,
)
from tests.support.vpd import END, IDENTIFIER, READ_ONLY, READ_WRITE, field, resource
from tests.support.vpd import vital_product_data as made

WHOLE = made(
    "Fast NIC board",
    {"PN": "PN-1", "EC": "A2", "SN": "S123", "MN": "1077", "V1": "abc", "VZ": "last", "V0": "x"},
    {"V2": "mine", "YA": "TAG-7", "Y1": "rack 4", "YB": "row 2"},
)


def read_only(**fields: str) -> VpdReadOnly:
    """Return a read-only section with these fields and no others."""
    of = {
        name: fields.get(name)
        for name in ("change_level", "manufacture_id", "part_number", "serial_number")
    }
    return VpdReadOnly(**of, vendor_fields=())


def _summed(fields: bytes) -> bytes:
    """Return a read-only section of these fields, with its checksum."""
    data = bytearray(resource(READ_ONLY, fields + field("RV", b"\0")))
    data[-1] = -sum(data) & 0xFF
    return bytes(data)


def test_every_field_lands_in_its_place() -> None:
    """Those of the table by their names, the others by their index, in their own order."""
    assert parse_vpd(WHOLE) == Vpd(
        name="Fast NIC board",
        read_only=VpdReadOnly(
            change_level="A2",
            manufacture_id="1077",
            part_number="PN-1",
            serial_number="S123",
            vendor_fields=(VpdField("1", "abc"), VpdField("Z", "last"), VpdField("0", "x")),
        ),
        read_write=VpdReadWrite(
            asset_tag="TAG-7",
            vendor_fields=(VpdField("2", "mine"),),
            system_fields=(VpdField("1", "rack 4"), VpdField("B", "row 2")),
        ),
    )


def test_name_and_sections_without_fields_are_left_out() -> None:
    """A checksum is all that there must be."""
    assert parse_vpd(made(None, {}, {})) == Vpd(None, None, None)
    assert parse_vpd(made("  ", {"CP": "unknown", "Y1": "not here"})) == Vpd(None, None, None)


def test_blanks_around_a_value_are_padding() -> None:
    """Padding is removed, and padding alone is no value."""
    found = parse_vpd(made(" Board ", {"PN": "  P 1  ", "SN": "   "}))
    assert found == Vpd("Board", read_only(part_number="P 1"), None)


@pytest.mark.parametrize("value", [b"S\x00", b"S\xff", "Größe".encode(), b"a\x1bb", b"\x7f"])
def test_field_that_is_not_printable_is_skipped(value: bytes) -> None:
    """And costs no other field."""
    found = parse_vpd(made("Board", {"SN": value, "PN": "P1", "V1": value}))
    assert found == Vpd("Board", read_only(part_number="P1"), None)


def test_field_that_occurs_twice_has_its_last_value_in_its_first_place() -> None:
    """One keyword is one field."""
    section = field("V1", b"one") + field("V2", b"two") + field("V1", b"three")
    found = parse_vpd(_summed(section) + bytes([END])).read_only
    assert found is not None
    assert found.vendor_fields == (VpdField("1", "three"), VpdField("2", "two"))


def test_other_resources_are_skipped_and_nothing_is_read_after_the_end() -> None:
    """Small ones, and large ones of other tags, may stand anywhere before it."""
    data = WHOLE[:-1] + bytes([0x22, 1, 2]) + resource(0x85, b"odd") + bytes([END])
    assert parse_vpd(data) == parse_vpd(WHOLE)
    assert parse_vpd(WHOLE + bytes([0xFF] * 9)) == parse_vpd(WHOLE)


def test_read_write_section_ends_at_its_rest() -> None:
    """RW is the space left for writing; the section may lack it."""
    rest = field("YA", b"one") + field("RW", b"\xff\xff") + field("Y1", b"two")
    whole = made(None, {})[:-1]
    tagged = VpdReadWrite("one", (), ())
    assert parse_vpd(whole + resource(READ_WRITE, rest) + bytes([END])).read_write == tagged
    bare = whole + resource(READ_WRITE, field("YA", b"one")) + bytes([END])
    assert parse_vpd(bare).read_write == tagged


def test_checksum_field_may_have_room_behind_it() -> None:
    """Only its first byte counts."""
    assert parse_vpd(made("Board", {}, reserved=40)) == Vpd("Board", None, None)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (WHOLE[:-1], "no end tag"),
        (bytes([END]), "no read-only section"),
        (resource(IDENTIFIER, b"Board") + bytes([END]), "no read-only section"),
        (WHOLE[:20], "the resource at 0x11 is cut off"),
        (bytes([IDENTIFIER]), "cut off"),
        (bytes([IDENTIFIER, 9]), "cut off"),
        (bytes([0xFF] * 64), "cut off"),
        (bytes(64), "no end tag"),
        (made("Bo\x07ard", {}), "name is not printable"),
        (made("Gr\u00f6\u00dfe", {}), "name is not printable"),
        (resource(READ_ONLY, field("SN", b"1")) + bytes([END]), "no checksum"),
        (resource(READ_ONLY, field("RV", b"")) + bytes([END]), "checksum is wrong"),
        (resource(READ_ONLY, field("RV", b"\0")) + bytes([END]), "checksum is wrong"),
        (WHOLE.replace(b"S123", b"S124"), "checksum is wrong"),
        (resource(READ_ONLY, field("RV", b"1") + field("SN", b"1")) + bytes([END]), "follows"),
        (resource(READ_ONLY, b"SN\x05abc") + bytes([END]), "the field at 0x3 is cut off"),
        (resource(READ_ONLY, b"S") + bytes([END]), "the field at 0x3 is cut off"),
        (_summed(b"") + resource(READ_WRITE, b"YA\x05a") + bytes([END]), "cut off"),
    ],
)
def test_data_that_breaks_a_rule_is_refused_whole(data: bytes, problem: str) -> None:
    """The error names the rule."""
    with pytest.raises(ValueError, match=problem):
        parse_vpd(data)


@given(st.binary(max_size=64) | st.binary(max_size=64).map(lambda end: WHOLE[:-1] + end))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """For any bytes, only ValueError is raised, and every value is printable."""
    try:
        found = parse_vpd(data)
    except ValueError:
        return
    assert found.name is None or found.name.isprintable()


def zeros(text: str) -> str:
    """Return a stand-in that shows where it is."""
    return "".join(["0" if one.isalnum() else one for one in text])


def test_identity_is_taken_out_and_the_rest_stays_valid() -> None:
    """Serial number, asset tag and free fields are replaced; the part number stays."""
    copy = without_identity(WHOLE, zeros, str)
    assert len(copy) == len(WHOLE)
    before, after = parse_vpd(WHOLE), parse_vpd(copy)
    assert after.name == before.name
    assert after.read_only == VpdReadOnly(
        change_level="A2",
        manufacture_id="1077",
        part_number="PN-1",
        serial_number="0000",
        vendor_fields=(VpdField("1", "000"), VpdField("Z", "0000"), VpdField("0", "0")),
    )
    assert after.read_write == VpdReadWrite(
        "000-0", (VpdField("2", "0000"),), (VpdField("1", "0000 0"), VpdField("B", "000 0"))
    )
    for secret in (b"S123", b"TAG-7", b"rack", b"abc"):
        assert secret not in copy


FIELDS = st.dictionaries(
    st.sampled_from(["PN", "EC", "MN", "SN", "V0", "VZ", "YA", "Y1", "CP", "XX"]),
    st.text("AB19- ", max_size=12) | st.just("\x01SECRET"),
    max_size=6,
)


@given(FIELDS, FIELDS, st.integers(1, 9), st.sampled_from([b"", b"SECRET", b"SECRET" * 60]))
def test_what_is_no_field_is_not_kept(
    fixed: dict[str, str], free: dict[str, str], reserved: int, hidden: bytes
) -> None:
    """Behind RW, behind the end, in the bytes of RV, in a resource of another tag, unprintable."""
    data = made("Board", fixed, reserved=reserved)[:-1]
    if hidden:
        fields = b"".join(field(key, value.encode()) for key, value in free.items())
        data += resource(READ_WRITE, fields + field("RW", hidden[:200]) + hidden)
    data += resource(0x84, hidden) + bytes([END]) + hidden
    copy = without_identity(data, str, str)
    assert parse_vpd(copy) == parse_vpd(data)
    assert len(copy) == len(data)
    assert b"SECRET" not in copy
    assert without_identity(copy, str, str) == copy


def test_what_is_not_valid_has_no_identity() -> None:
    """Its content is unknown."""
    assert without_identity(WHOLE[:-1], zeros, str) == b""
    assert without_identity(b"", zeros, str) == b""
