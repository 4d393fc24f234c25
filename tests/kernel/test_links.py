"""rtnetlink on a real socket: the kernel reports changes of interfaces."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

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


def test_nothing_that_changed_is_nothing_told(monitor: LinkMonitor) -> None:
    """Draining a monitor on which nothing arrived does not block."""
    found, lost = monitor.drain(0)
    assert (found, lost) == (set(), False)


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
    found, lost = monitor.drain(500)
    assert "forged-name" not in found
    assert not lost


FOLLOW = """
import subprocess
from nodedevd.host.events.rtnetlink import LinkMonitor
monitor = LinkMonitor()
def told(*arguments):
    subprocess.run(["ip", *arguments], check=True, stdout=subprocess.DEVNULL)
    found, lost = monitor.drain(500)
    assert not lost
    print(" ".join(arguments[:2]), *sorted(found))
told("link", "add", "v0", "type", "veth", "peer", "name", "v1")
told("link", "set", "v0", "address", "52:54:00:00:00:01")
told("link", "set", "v1", "mtu", "1400")
told("addr", "show")
monitor.close()
"""


@pytest.mark.needs("namespaces")
def test_changed_address_is_told_by_the_kernel() -> None:
    """In a namespace of its own, a monitor hears of each change, and of nothing else.

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
nodedevd.host.events.rtnetlink._BUFFER_BYTES = 1
monitor = nodedevd.host.events.rtnetlink.LinkMonitor()
batch = "".join(f"link set lo mtu {1000 + number}\\n" for number in range(200))
subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)
print(monitor.drain(500)[1], end=" ")
monitor.drain(500)
subprocess.run(["ip", "link", "set", "lo", "mtu", "65536"], check=True)
print(monitor.drain(500))
monitor.close()
"""


@pytest.mark.needs("namespaces")
def test_lost_messages_are_told_and_the_monitor_goes_on() -> None:
    """A buffer too small for a burst is reported once, and later changes arrive."""
    with Namespace() as own:
        result = own.python(OVERFLOW)
    assert result == "True ({'lo'}, False)\n"
