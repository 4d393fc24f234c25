"""net: a network interface of any kind.

Reads  uevent (INTERFACE, IFINDEX, DEVTYPE), address, operstate, speed, upper_<interface>,
       device/infiniband; on a live host also the interface's features, by ioctl
ABI    Documentation/ABI/testing/sysfs-class-net, include/uapi/linux/ethtool.h
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from nodedevd.errors import NodeLeaving
from nodedevd.host import ethtool
from nodedevd.host.node import Node, parse_number
from nodedevd.kinds.base import Capability, DeviceLike, Kind, LibvirtForm, TreeLike
from nodedevd.kinds.pci import Pci, find_function
from nodedevd.text import printable_path
from nodedevd.xml_writer import Out

_UPPER = "upper_"


class NetLink(msgspec.Struct, frozen=True, gc=False):
    """The state of the link, at the time of the read."""

    state: str | None
    """operstate: unknown, notpresent, down, lowerlayerdown, testing, dormant, up"""
    speed: int | None
    """Mbit/s; None while the link is not up, or if the driver does not know"""


class Net(Capability, frozen=True, gc=False, tag="net"):
    """A network interface."""

    interface: str
    """its name, which can be changed"""
    address: str | None
    """hardware address, if it has one"""
    devtype: str | None
    """the kernel's DEVTYPE: wlan, bridge, bond, vlan, vxlan, …; None for plain Ethernet"""
    link: NetLink
    features: tuple[str, ...] | None
    """active features of driver and hardware, by libvirt's words; None is unknown"""
    medium: Literal["80203", "80211"]
    """80211: wireless; 80203: everything else"""
    uppers: tuple[str, ...]
    """sysfs paths of the interfaces stacked on it, sorted: the bridge, bond or team that it is a
    port of, its VLANs; their speed follows its own"""


def read(node: Node) -> Net:
    """Read an interface; each device of the class is one."""
    devtype = node.uevent.get("DEVTYPE")
    state = node.read("operstate", promised=True)
    return Net(
        interface=node.uevent.get("INTERFACE") or printable_path(node.sysname),
        address=_read_address(node),
        devtype=devtype,
        link=NetLink(state=state, speed=_read_speed(node) if state == "up" else None),
        features=_read_features(node),
        medium="80211" if devtype == "wlan" else "80203",
        uppers=_read_uppers(node),
    )


def _read_address(node: Node) -> str | None:
    faults = len(node.faults)
    text = node.read("address", absent=(errno.EINVAL,))
    if text is None and node.has("address") and len(node.faults) == faults:
        # The kernel returns EINVAL while the interface is being unregistered.
        raise NodeLeaving(node.path)
    return text or None


def _read_uppers(node: Node) -> tuple[str, ...]:
    links = [node.link(name) for name in node.entries if name.startswith(_UPPER)]
    return tuple(sorted([printable_path(path) for path in links if path is not None]))


def _read_features(node: Node) -> tuple[str, ...] | None:
    interface = node.uevent.get("INTERFACE")
    index = parse_number(node.uevent.get("IFINDEX", ""))
    if interface is None or index is None:
        return None
    try:
        active = node.sysroot.ethtool_features(interface, index)
    except OSError as error:
        node.faults.add("features", error, own=True)
        return None
    if active is None:
        return None
    if node.has("device") and node.exists(f"{node.path}/device/infiniband"):
        active |= {ethtool.RDMA}
    if _is_switchdev(node):
        active |= {ethtool.SWITCHDEV}
    return ethtool.words(active)


def _is_switchdev(node: Node) -> bool:
    """Return whether the interface's PCI function, or the physical one, is in switchdev mode."""
    path = node.link("device")
    if path is None or node.link_name("device/subsystem") != "pci":
        return False
    function = node.link("device/physfn") or path
    try:
        return node.sysroot.is_switchdev("pci", function.rpartition("/")[2])
    except PermissionError:
        node.fault("device/switchdev", "refused", "EPERM: devlink needs CAP_NET_ADMIN")
    except OSError as error:
        node.faults.add("device/switchdev", error, own=True)
    return False


def _read_speed(node: Node) -> int | None:
    # Unknown speeds: EINVAL from the kernel, EOPNOTSUPP or -1 from the driver.
    text = node.read("speed", absent=(errno.EINVAL, errno.EOPNOTSUPP))
    if text is None or text == "-1":
        return None
    number = parse_number(text)
    if number is None:
        node.fault("speed", "malformed", text[:80])
    return number or None


def neighbours(cap: Net, device: DeviceLike, tree: TreeLike) -> Iterable[str]:
    """Return the interfaces stacked on it: the kernel sends no message when their speed changes."""
    return cap.uppers


def dependents(cap: Net, device: DeviceLike, tree: TreeLike) -> Iterator[str]:
    """Return those, and the interfaces of virtual functions, which have the speed of this port."""
    yield from cap.uppers
    above = tree.get(device.parent or "")
    pci = None if above is None else above.capability(Pci)
    if pci is None or pci.virtual_functions is None:
        return
    for address in pci.virtual_functions.addresses:
        found = find_function(address, tree)
        if found is not None and found.path is not None:
            yield from tree.below(f"{found.path}/net")


def write_as_libvirt(cap: Net, out: Out) -> None:
    """Write what libvirt shows, in its order."""
    out.text("interface", cap.interface)
    out.value("address", cap.address, "address")
    attributes = {}
    if cap.link.speed is not None:
        attributes["speed"] = str(cap.link.speed)
    out.empty("link", **attributes, state=cap.link.state or "unknown")
    for feature in cap.features or ():
        out.empty("feature", name=feature)
    out.empty("capability", type=cap.medium)


def _shown_by_libvirt(cap: Net, device: DeviceLike) -> bool:
    return cap.devtype in (None, "wlan") and cap.link.state is not None


def write(cap: Net, out: Out) -> None:
    """Write what libvirt shows, then the DEVTYPE and the interfaces stacked on it."""
    write_as_libvirt(cap, out)
    if cap.devtype is not None:
        out.text("devtype", cap.devtype)
    for path in cap.uppers:
        out.text("upper", path.rpartition("/")[2])


KIND = Kind(
    capability=Net,
    read=read,
    write=write,
    subsystems=frozenset({"net"}),
    identifying=frozenset({"address"}),
    suffix=lambda cap: cap.address,
    neighbours=neighbours,
    dependents=dependents,
    libvirt=LibvirtForm("net", bit=4, write=write_as_libvirt, shown=_shown_by_libvirt),
)
