"""rtnetlink: names of interfaces out of packets, whole or damaged."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nodedevd.host.events.rtnetlink import interfaces
from tests.support.rtnetlink import (
    IFLA_ADDRESS,
    IFLA_MTU,
    NLMSG_DONE,
    RTM_DELLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    attribute,
    message,
    name,
)


def test_message_has_the_interfaces_name() -> None:
    """The name is found after other attributes, without its NUL."""
    other = attribute(IFLA_ADDRESS, b"\x52\x54\0\x12\x34\x56") + attribute(IFLA_MTU, bytes(4))
    assert list(interfaces(message(other + name(b"eth0") + other))) == ["eth0"]


def test_packet_of_several_messages_has_each_name() -> None:
    """A packet can hold any number of messages, of any length."""
    names = [b"lo", b"eth0", b"veth-of-15-char", b"a"]
    data = b"".join(message(name(one)) for one in names)
    assert list(interfaces(data)) == [one.decode() for one in names]


@pytest.mark.parametrize("kind", [RTM_DELLINK, RTM_NEWADDR, NLMSG_DONE, 0, 0xFFFF])
def test_message_of_another_type_is_ignored(kind: int) -> None:
    """The removal of an interface has a uevent; other messages do not matter."""
    data = message(name(b"gone"), kind) + message(name(b"eth0"))
    assert list(interfaces(data)) == ["eth0"]


def test_message_without_name_is_ignored() -> None:
    """It is left out, and the next message is read."""
    data = message(attribute(IFLA_MTU, bytes(4))) + message(b"") + message(name(b"eth0"))
    assert list(interfaces(data)) == ["eth0"]


def test_truncated_packet_has_its_complete_messages() -> None:
    """Every prefix of a packet yields its complete messages, and no more."""
    first, second = message(name(b"eth0")), message(name(b"eth1"))
    data = first + second
    for length in range(len(data)):
        whole = ["eth0"] if length >= len(first) else []
        assert list(interfaces(data[:length])) == whole


@pytest.mark.parametrize("length", [0, 1, 15, 0xFFFFFFFF])
def test_message_with_a_wrong_length_ends_the_packet(length: int) -> None:
    """A length shorter than the header, or longer than the packet, ends the packet."""
    bad = struct.pack("=IHHII", length, RTM_NEWLINK, 0, 0, 0) + message(name(b"eth1"))
    assert list(interfaces(message(name(b"eth0")) + bad)) == ["eth0"]


@pytest.mark.parametrize("length", [0, 3, 0xFFFF])
def test_attribute_with_a_wrong_length_ends_its_message(length: int) -> None:
    """The next message is read."""
    bad = struct.pack("=HH", length, IFLA_MTU) + name(b"eth0")
    assert list(interfaces(message(bad) + message(name(b"eth1")))) == ["eth1"]


def test_header_alone_is_ignored() -> None:
    """A message that is too short has no attributes."""
    header = struct.pack("=IHHII", 16, RTM_NEWLINK, 0, 0, 0)
    assert list(interfaces(header + message(name(b"eth0")))) == ["eth0"]


def test_name_of_any_bytes_is_decoded_as_a_file_name() -> None:
    """The name becomes a path in /sys/class/net, so its bytes must survive."""
    (found,) = interfaces(message(name(b"e\xff")))
    assert os.fsencode(found) == b"e\xff"


@given(st.binary(max_size=2000))
@example(b"")
@example(bytes(64))
@example(b"\xff" * 64)
def test_random_bytes_end_without_error(data: bytes) -> None:
    """Parsing ends, with no more names than the bytes could hold."""
    assert len(list(interfaces(data))) <= len(data) // 16


@given(st.data())
def test_damaged_packet_ends_without_error(data: st.DataObject) -> None:
    """One wrong byte in a good packet never adds a name."""
    packet = bytearray(b"".join(message(name(b"eth%d" % one)) for one in range(4)))
    at = data.draw(st.integers(0, len(packet) - 1))
    packet[at] = data.draw(st.integers(0, 255))
    assert len(list(interfaces(bytes(packet)))) <= 4
