"""rtnetlink: interface names from packets, damaged ones too, and a real socket."""

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
    """After close there is no descriptor."""
    monitor = LinkMonitor()
    assert monitor.fileno() >= 0
    monitor.close()
    assert monitor.fileno() == -1


def test_message_of_another_process_is_ignored(monitor: LinkMonitor) -> None:
    """The kernel's port is 0; a message from another port is ignored."""
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
def changed(*arguments):
    subprocess.run(["ip", *arguments], check=True, stdout=subprocess.DEVNULL)
    found = {name for names in monitor.drain() for name in names}
    print(" ".join(arguments[:2]), *sorted(found))
changed("link", "add", "v0", "type", "veth", "peer", "name", "v1")
changed("link", "set", "v0", "address", "52:54:00:00:00:01")
changed("link", "set", "v1", "mtu", "1400")
changed("addr", "show")
monitor.close()
"""


@pytest.mark.skipif(not namespace.work(), reason=namespace.needed)
def test_changed_address_is_reported_by_the_kernel() -> None:
    """In a namespace of its own, a monitor reports each change and nothing else.

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
def test_lost_messages_are_an_error_and_the_monitor_stays_usable() -> None:
    """A buffer too small for a burst is one error, and later changes arrive."""
    with namespace.Namespace() as own:
        result = own.python(OVERFLOW)
    assert result == "ENOBUFS True True\n['lo']\n"
