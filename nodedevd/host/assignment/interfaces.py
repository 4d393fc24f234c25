"""interfaces: which network interfaces have an address, and which lie on others.

Reads  /sys/class/net, and the links upper_* and master of each interface; of the live host its
       addresses by rtnetlink; /proc/net/{route,if_inet6}, which a recording holds instead; the
       directory net of the devices of some buses
ABI    Documentation/ABI/testing/sysfs-class-net; proc_net(5)
"""

from __future__ import annotations

import msgspec

from nodedevd.host.lines import fields_of, lines_of
from nodedevd.host.tolerant import TolerantReads
from nodedevd.text import printable_path

ROUTES = "/proc/net/route"
ADDRESSES = "/proc/net/if_inet6"
_NET = "/sys/class/net"
_UPPER = "upper_"
_BUSES = ("pci", "virtio", "auxiliary", "usb")
"""Buses of the devices that have network interfaces."""
_LOCAL_SCOPES = frozenset({"10", "20"})  # of the host, and of the link; every interface has one


class Interface(msgspec.Struct, frozen=True):
    """A network interface."""

    name: str
    path: str
    """sysfs path"""
    uppers: tuple[str, ...]
    """names of the interfaces that lie directly on it: bridge, bond, team, VLAN, …"""
    has_address: bool
    """whether it has an address that others can reach; False if that is unknown"""


def read_interfaces(reads: TolerantReads) -> tuple[dict[str, Interface], bool]:
    """Return all interfaces by name, and whether their addresses are known."""
    addressed = _addressed(reads)
    found = {}
    for entry in reads.names(_NET):
        path = reads.target(f"{_NET}/{entry}")
        if path is None:
            continue  # such as bonding_masters, a file
        name = printable_path(entry)
        found[name] = Interface(
            name=name,
            path=printable_path(path),
            uppers=_uppers(reads, path),
            has_address=addressed is not None and name in addressed,
        )
    return found, addressed is not None


def read_elsewhere(reads: TolerantReads) -> frozenset[str]:
    """Return the paths of devices with interfaces, all in other network namespaces.

    A device has a directory `net` as long as it has an interface, and sysfs lists in it those of
    one namespace only.
    """
    found = set()
    for bus in _BUSES:
        for name in reads.names(f"/sys/bus/{bus}/devices"):
            path = reads.target(f"/sys/bus/{bus}/devices/{name}")
            if path is None or not reads.is_directory(f"{path}/net"):
                continue
            if not reads.names(f"{path}/net"):
                found.add(printable_path(path))
    return frozenset(found)


def _uppers(reads: TolerantReads, path: str) -> tuple[str, ...]:
    found: set[str] = set()
    for entry in reads.names(path):
        if entry == "master" or entry.startswith(_UPPER):
            name = reads.target_name(f"{path}/{entry}")
            found.update(() if name is None else [printable_path(name)])
    return tuple(sorted(found))


def _addressed(reads: TolerantReads) -> frozenset[str] | None:
    """Return the names of the interfaces with an address; None if that is unknown."""
    by_route, by_address = _lines(reads, ROUTES), _lines(reads, ADDRESSES)
    found: set[str] = set()
    # /proc lists no IPv4 addresses by interface; an address comes with a route, in most set-ups.
    for fields in (by_route or [])[1:]:
        found.add(fields[0])
    for fields in by_address or []:
        if len(fields) == 6 and fields[3] not in _LOCAL_SCOPES:
            found.add(fields[5])
    try:
        by_netlink = reads.sysroot.interfaces_with_address()
    except OSError:
        return None
    if by_netlink is None and by_route is None:
        return None
    return frozenset(found) | (by_netlink or frozenset())


def _lines(reads: TolerantReads, path: str) -> list[list[str]] | None:
    data = reads.data(path)
    if data is None:
        return None
    text = data.decode("utf-8", "surrogateescape")
    return [fields for line in lines_of(text) if (fields := fields_of(printable_path(line)))]
