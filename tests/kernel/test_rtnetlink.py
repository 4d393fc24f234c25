"""rtnetlink: names out of packets, whole or not, and a real socket that tells of changes."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nodedevd.host.events.rtnetlink import LinkMonitor, interfaces
from tests.support import namespace

RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, NLMSG_DONE = 16, 17, 20, 3
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU = 1, 3, 4


def attribute(kind: int, value: bytes) -> bytes:
    """Return a routing attribute, padded to four bytes as rtnetlink(7) says."""
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def name(text: bytes) -> bytes:
    """Return the attribute with an interface's name."""
    return attribute(IFLA_IFNAME, text + b"\0")


def message(attributes: bytes, kind: int = RTM_NEWLINK) -> bytes:
    """Return a message about an interface, padded."""
    body = struct.pack("=BxHiII", 0, 1, 2, 0x1043, 0) + attributes
    header = struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0)
    return header + body + bytes(-len(body) % 4)


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


@pytest.fixture
def monitor() -> Iterator[LinkMonitor]:
    """Return a monitor of this network namespace."""
    monitor = LinkMonitor()
    yield monitor
    monitor.close()


def test_drain_does_not_block(monitor: LinkMonitor) -> None:
    """It ends when nothing more has arrived; another interface may change meanwhile."""
    assert len(list(islice(monitor.drain(), 500))) < 500


def test_monitor_gives_its_descriptor_back() -> None:
    """After closing there is no descriptor."""
    monitor = LinkMonitor()
    assert monitor.fileno() >= 0
    monitor.close()
    assert monitor.fileno() == -1


def test_message_of_another_process_is_not_taken(monitor: LinkMonitor) -> None:
    """The kernel's port is 0: what a process sends to the socket is no news."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sender:
        address = socket.socket(fileno=os.dup(monitor.fileno()))
        with address:
            port = address.getsockname()[0]
        try:
            sender.sendto(message(name(b"forged-name")), (port, 0))
        except OSError as error:
            pytest.skip(f"no unicast between processes: {error}")
    assert all("forged-name" not in names for names in monitor.drain())


FOLLOW = """
import subprocess
from nodedevd.host.events.rtnetlink import LinkMonitor
monitor = LinkMonitor()
def told(*arguments):
    subprocess.run(["ip", *arguments], check=True, stdout=subprocess.DEVNULL)
    found = {name for names in monitor.drain() for name in names}
    print(" ".join(arguments[:2]), *sorted(found))
told("link", "add", "v0", "type", "veth", "peer", "name", "v1")
told("link", "set", "v0", "address", "52:54:00:00:00:01")
told("link", "set", "v1", "mtu", "1400")
told("addr", "show")
monitor.close()
"""


@pytest.mark.skipif(not namespace.work(), reason=namespace.needed)
def test_changed_address_is_told_by_the_kernel() -> None:
    """In a namespace of its own, a monitor hears of each change, and of nothing else.

    The kernel has sent its messages when `ip` returns.
    """
    with namespace.Namespace() as own:
        result = own.python(FOLLOW)
    assert result.splitlines() == [
        "link add v0 v1",
        "link set v0",
        "link set v1",
        "addr show",
    ]


OVERFLOW = """
import subprocess
import nodedevd.host.events.rtnetlink
from nodedevd.host.events.lost import EventsLost
nodedevd.host.events.rtnetlink._BUFFER_BYTES = 1
monitor = nodedevd.host.events.rtnetlink.LinkMonitor()
batch = "".join(f"link set lo mtu {1000 + number}\\n" for number in range(200))
subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)
try:
    list(monitor.drain())
except EventsLost as error:
    print(error, error.overflow, error.usable)
list(monitor.drain())
subprocess.run(["ip", "link", "set", "lo", "mtu", "65536"], check=True)
print(*monitor.drain())
monitor.close()
"""


@pytest.mark.skipif(not namespace.work(), reason=namespace.needed)
def test_lost_messages_are_told_and_the_monitor_goes_on() -> None:
    """A buffer too small for a burst is reported once, and later changes arrive."""
    with namespace.Namespace() as own:
        result = own.python(OVERFLOW)
    assert result == "ENOBUFS True True\n['lo']\n"
