"""table: stand-ins are stable, differ from each other and from all values, and keep their shape."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Set

from hypothesis import example, given
from hypothesis import strategies as st

from nodedevd.tree.stand_ins.table import Table
from nodedevd.tree.stand_ins.texts import Texts

WORDS = st.text("0123456789abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=9)
HEX = "0123456789abcdef"


def assigned(
    words: Set[str], digits: Set[str] = frozenset(), macs: Set[str] = frozenset()
) -> Table:
    """Return a table of these values, with stand-ins."""
    table = Table()
    for word in words:
        table.word(word)
    for one in digits:
        table.digits(one)
    for one in macs:
        table.digits(one, mac=True)
    table.assign()
    return table


@given(st.sets(WORDS, max_size=40))
@example(set("0123456789"))
@example({f"{number:02d}" for number in range(100)} | set("abc"))
def test_words_have_other_words_of_their_shape(words: set[str]) -> None:
    """No stand-in is a value; one grows where all of its length are values themselves."""
    table = assigned(words)
    found = {word: table.word(word) for word in words}
    assert len(set(found.values())) == len(words)
    assert words.isdisjoint(found.values())
    for word, stand_in in found.items():
        assert stand_in.isalnum()
        end = stand_in[len(stand_in) - len(word) :]
        assert [one.isdigit() for one in end] == [one.isdigit() for one in word]
        if set(word) <= set(HEX):
            assert set(stand_in) <= set(HEX)
    again = assigned(words)
    assert {word: again.word(word) for word in words} == found


@given(st.sets(st.uuids().map(lambda one: one.hex), min_size=1, max_size=40))
def test_uuids_have_uuids_in_the_same_order(values: set[str]) -> None:
    """So lists of mdevs stay sorted."""
    table = assigned(set(), values)
    found = [table.digits(one) for one in sorted(values) if set(one) not in ({"0"}, {"f"})]
    assert found == sorted(set(found))
    assert all(uuid.UUID(one).version == 4 for one in found)
    assert all(uuid.UUID(one).variant == uuid.RFC_4122 for one in found)


@given(st.sets(st.text(HEX, min_size=12, max_size=12), min_size=1, max_size=40))
def test_hardware_addresses_stay_local_or_group_addresses(values: set[str]) -> None:
    """The bits that drivers and bridges look at: IEEE 802, section 8.2."""
    table = assigned(set(), macs=values)
    found = {one: table.digits(one) for one in values}
    assert len(set(found.values())) == len(values)
    assert values.isdisjoint(found.values())
    for value, stand_in in found.items():
        assert int(value[:2], 16) & 3 == int(stand_in[:2], 16) & 3
        assert len(stand_in) == 12


@given(st.sets(st.text(HEX, min_size=16, max_size=16), max_size=40))
def test_world_wide_names_keep_their_format(values: set[str]) -> None:
    """The first digit says how the rest is to be read; unknown names stay."""
    table = assigned(set(), values | {"0" * 16, "f" * 16})
    found = {one: table.digits(one) for one in values - {"0" * 16, "f" * 16}}
    assert len(set(found.values())) == len(found)
    assert all(one[0] == stand_in[0] for one, stand_in in found.items())
    assert (table.digits("0" * 16), table.digits("f" * 16)) == ("0" * 16, "f" * 16)


@given(st.sets(st.ip_addresses(v=4) | st.ip_addresses(v=6), max_size=40))
def test_ip_addresses_are_those_of_documentation(values: set[ipaddress.IPv4Address]) -> None:
    """They belong to nobody."""
    table = Table()
    texts = [str(one) for one in values]
    for one in texts:
        table.address(one)
    table.assign()
    found = {one: table.address(one) for one in texts}
    assert len(set(found.values())) == len(texts)
    for one, stand_in in found.items():
        assert ipaddress.ip_address(one).version == ipaddress.ip_address(stand_in).version


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_two_texts_stay_two_texts(one: str, other: str) -> None:
    """Where only the case differs, it still does."""
    table = Table()
    texts = Texts(table)
    for text in (one, other):
        texts.secret(text)
    table.assign()
    first, second = texts.secret(one), texts.secret(other)
    assert (first == second) == (one == other)
    assert texts.secret(one) == first


def test_value_has_one_stand_in_in_all_its_forms() -> None:
    """With and without separators, in either case, and as a part of other names."""
    table = Table()
    texts = Texts(table)
    forms = {
        "52:54:00:AB:34:56": ["52-54-00-ab-34-56", "525400ab3456", "525400AB3456"],
        "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01": [
            "27B42A519F6B4C0B8F5F4F3A1D0E8C01",
            r"27b42a51\x2d9f6b\x2d4c0b\x2d8f5f\x2d4f3a1d0e8c01",
            "27b42a51--9f6b--4c0b--8f5f--4f3a1d0e8c01",
        ],
        "0x5000c500a1b2c3d4": [
            *("5000C500A1B2C3D4", "naa.5000c500a1b2c3d4", "35000c500a1b2c3d4"),
            *("50:00:c5:00:a1:b2:c3:d4", "5000:c500:a1b2:c3d4", "eui.5000c500a1b2c3d4"),
        ],
        "EX-SN0815": ["ex-sn0815", "EX_SN0815"],
    }

    def bare(text: str) -> str:
        for start in ("0x", "naa.", "eui.", "3" if len(text) == 17 else "0x"):
            text = text.removeprefix(start)
        return "".join(one for one in text.replace(r"\x2d", "") if one.isalnum()).lower()

    for turn in range(2):
        for value, others in forms.items():
            found = {bare(texts.secret(one)) for one in (value, *others)}
            assert len(found) == 1
            assert (bare(value) in found) is (turn == 0)
        if turn == 0:
            table.assign()
    assert texts.secret("0x5000c500a1b2c3d4") == "0x5000000000000001"
    assert texts.secret("35000C500A1B2C3D4") == "35000000000000001"
    assert texts.secret("52:54:00:AB:34:56") == "02:00:00:00:00:01"
    assert texts.count == 4 + 2  # EX_SN0815 and 35000… are texts of their own
