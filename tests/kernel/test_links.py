"""rtnetlink on a real socket: the kernel reports changes of interfaces."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from itertools import islice

import pytest

from nodedevd.host.events.rtnetlink import LinkMonitor
from tests.support.namespace import Namespace
from tests.support.rtnetlink import message, name


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


@pytest.mark.needs("namespaces")
def test_changed_address_is_reported_by_the_kernel() -> None:
    """In a namespace of its own, a monitor reports each change and nothing else.

    The kernel has sent its messages when `ip` returns.
    """
    with Namespace() as own:
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


@pytest.mark.needs("namespaces")
def test_lost_messages_are_an_error_and_the_monitor_stays_usable() -> None:
    """A buffer too small for a burst is one error, and later changes arrive."""
    with Namespace() as own:
        result = own.python(OVERFLOW)
    assert result == "ENOBUFS True True\n['lo']\n"
