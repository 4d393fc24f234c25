"""What the bucket has of a host is read as it was written, or refused with the reason."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.client.fleet import values
from nodedevd.client.fleet.values import (
    PARTS_AT_MOST,
    Newer,
    TreeFacts,
    Unreadable,
    alive_of,
    host_id,
    host_of,
    is_host_id,
    packed,
    summary_of,
    tree_key,
    unpacked,
)
from tests.unit.client.fleet.test_hosts import summary

ROOM = {"id": "x", "available": 1, "sure": 1, "active": 0}
"""of a type on a card"""


@given(st.binary(max_size=5000), st.integers(16, 600))
def test_tree_in_parts_is_the_tree(tree: bytes, part_bytes: int) -> None:
    """Whatever its size, and that of a part; or it has too many parts."""
    try:
        facts, parts = packed(tree, part_bytes)
    except ValueError:
        assert len(tree) > part_bytes
        return
    assert len(parts) == facts.parts <= PARTS_AT_MOST
    assert all(len(one) <= part_bytes for one in parts)
    assert unpacked(facts, parts) == tree


def test_parts_of_another_tree_are_refused() -> None:
    """Two keys are no transaction."""
    facts, parts = packed(b"one" * 100)
    other = packed(b"two" * 100)[1]
    with pytest.raises(Unreadable):
        unpacked(facts, other)
    with pytest.raises(Unreadable):
        unpacked(facts, [*parts, b"x"])


def test_tree_that_is_longer_than_it_says_is_not_inflated() -> None:
    """A bomb costs what the summary says, and no more than the limit."""
    facts, parts = packed(bytes(10_000_000))
    with pytest.raises(Unreadable, match="longer or shorter"):
        unpacked(msgspec.structs.replace(facts, bytes=5), parts)
    with pytest.raises(Unreadable, match="more than"):
        unpacked(msgspec.structs.replace(facts, bytes=values.TREE_BYTES_AT_MOST + 1), parts)
    junk = b"no zlib"
    with pytest.raises(Unreadable):
        unpacked(TreeFacts(3, len(junk), 1, hashlib.sha256(junk).hexdigest()), [junk])


@given(st.binary(max_size=200))
def test_bytes_of_a_hostile_host_are_parsed_or_refused(value: bytes) -> None:
    """There is no other error."""
    for parse in (summary_of, alive_of):
        with pytest.raises((Newer, Unreadable)):
            parse(value)


def test_newer_version_is_said_before_anything_else_is_parsed() -> None:
    """Its other members may be anything."""
    with pytest.raises(Newer) as error:
        alive_of(b'{"v":7,"daemon":{}}')
    assert error.value.args == (7,)


@pytest.mark.parametrize("interval", ["0", "-1", "1e9", '"x"'])
def test_heartbeat_with_a_senseless_interval_is_refused(interval: str) -> None:
    """A host cannot say that its next sign of life is due in a thousand years."""
    text = f'{{"v":1,"publisher":"p","daemon":"ok","interval":{interval}}}'
    with pytest.raises(Unreadable):
        alive_of(text.encode())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("types", {"x": {"name": "n" * 5000}}),
        ("types", {"n" * 5000: {}}),
        ("types", {"x": {"framebuffer": 1 << 60}}),
        ("counts", {"n" * 5000: 1}),
        ("cards", [{"card": "n" * 5000}]),
        ("cards", [{"card": "c", "driver": "n" * 5000}]),
        ("cards", [{"card": "c", "types": [dict(ROOM, id="n" * 5000)]}]),
        ("cards", [{"card": "c", "types": [dict(ROOM, reason="n" * 5000)]}]),
        ("cards", [{"card": "c", "types": [dict(ROOM, available=1 << 40)]}]),
        ("v", -1),
    ],
)
def test_summary_with_a_senseless_text_or_number_is_refused(path: str, value: object) -> None:
    """A reader remembers names of types, and adds up counts."""
    given = msgspec.to_builtins(summary())
    assert summary_of(msgspec.json.encode(given)) == summary()
    with pytest.raises(Unreadable):
        summary_of(msgspec.json.encode({**given, path: value}))


@pytest.mark.parametrize("name", ["kvm1.example", "a*b>c", "", "ü", "x" * 300, "a b\n", "host.a"])
def test_every_name_has_an_id_that_is_one_token_of_a_key(name: str) -> None:
    """A dot would be another token, a star a filter."""
    assert is_host_id(host_id(name))
    assert host_of(tree_key(host_id(name), 3)) == host_id(name)
