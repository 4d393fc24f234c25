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


def test_message_tells_the_interfaces_name() -> None:
    """The name is found behind other attributes, without its zero byte."""
    other = attribute(IFLA_ADDRESS, b"\x52\x54\0\x12\x34\x56") + attribute(IFLA_MTU, bytes(4))
    assert list(interfaces(message(other + name(b"eth0") + other))) == ["eth0"]


def test_packet_of_several_messages_tells_each() -> None:
    """A packet may hold any number, of any length."""
    names = [b"lo", b"eth0", b"veth-of-15-char", b"a"]
    data = b"".join(message(name(one)) for one in names)
    assert list(interfaces(data)) == [one.decode() for one in names]


@pytest.mark.parametrize("kind", [RTM_DELLINK, RTM_NEWADDR, NLMSG_DONE, 0, 0xFFFF])
def test_message_of_another_type_tells_nothing(kind: int) -> None:
    """An interface that goes has its uevent; what else is told is not asked for."""
    data = message(name(b"gone"), kind) + message(name(b"eth0"))
    assert list(interfaces(data)) == ["eth0"]


def test_message_without_name_tells_nothing() -> None:
    """What cannot be told apart is left out, and the next one is told."""
    data = message(attribute(IFLA_MTU, bytes(4))) + message(b"") + message(name(b"eth0"))
    assert list(interfaces(data)) == ["eth0"]


def test_packet_cut_off_anywhere_tells_what_was_whole() -> None:
    """Every prefix of a packet gives the messages that are whole in it, and no more."""
    first, second = message(name(b"eth0")), message(name(b"eth1"))
    data = first + second
    for length in range(len(data)):
        whole = ["eth0"] if length >= len(first) else []
        assert list(interfaces(data[:length])) == whole


@pytest.mark.parametrize("length", [0, 1, 15, 0xFFFFFFFF])
def test_message_whose_length_lies_ends_the_packet(length: int) -> None:
    """A length that is shorter than its own header, or longer than all, leads nowhere."""
    bad = struct.pack("=IHHII", length, RTM_NEWLINK, 0, 0, 0) + message(name(b"eth1"))
    assert list(interfaces(message(name(b"eth0")) + bad)) == ["eth0"]


@pytest.mark.parametrize("length", [0, 3, 0xFFFF])
def test_attribute_whose_length_lies_ends_its_message(length: int) -> None:
    """The next message is told all the same."""
    bad = struct.pack("=HH", length, IFLA_MTU) + name(b"eth0")
    assert list(interfaces(message(bad) + message(name(b"eth1")))) == ["eth1"]


def test_header_alone_tells_nothing() -> None:
    """A message too short for what it should be about has no attributes."""
    header = struct.pack("=IHHII", 16, RTM_NEWLINK, 0, 0, 0)
    assert list(interfaces(header + message(name(b"eth0")))) == ["eth0"]


def test_name_of_odd_bytes_is_told_as_file_names_are() -> None:
    """The name leads to /sys/class/net, so its bytes have to come out again."""
    (found,) = interfaces(message(name(b"e\xff")))
    assert os.fsencode(found) == b"e\xff"


@given(st.binary(max_size=2000))
@example(b"")
@example(bytes(64))
@example(b"\xff" * 64)
def test_random_bytes_end_without_error(data: bytes) -> None:
    """Whatever arrives, parsing ends, with no more names than bytes could hold."""
    assert len(list(interfaces(data))) <= len(data) // 16


@given(st.data())
def test_damaged_packet_ends_without_error(data: st.DataObject) -> None:
    """One wrong byte in a good packet costs names, and never adds more than one of them."""
    packet = bytearray(b"".join(message(name(b"eth%d" % one)) for one in range(4)))
    at = data.draw(st.integers(0, len(packet) - 1))
    packet[at] = data.draw(st.integers(0, 255))
    assert len(list(interfaces(bytes(packet)))) <= 4
