"""elsewhere: what a host without vGPUs has instead, by its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from nodedevd.drawing.channel import ITEMS_AT_MOST
from nodedevd.drawing.model import Group, Item, Place
from nodedevd.drawing.seen import Seen
from nodedevd.drawing.words import pci_root, plural, product, shown, size
from nodedevd.kinds.infiniband import Infiniband
from nodedevd.kinds.net import Net
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.storage import Storage
from nodedevd.kinds.vdpa import Vdpa
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.steps import Steps

_ACCELERATORS = {"0x03": "graphics", "0x12": "accelerator"}
_DISK_UNIT = 1000
_DEPTH = 16
_STEP_DEVICES = 16
_TITLES = (
    "Graphics and accelerators",
    "Network interfaces",
    "RDMA devices",
    "vDPA devices",
    "Disks",
)


def groups_in_steps(
    snapshot: Snapshot, seen: Seen, devices: Iterable[Device], drawn: Set[str]
) -> Steps[tuple[Group, ...]]:
    """Return interfaces, disks and accelerators that are not in `drawn`, by their place."""
    found: dict[str, dict[tuple[int, str], list[Item]]] = {}
    for number, device in enumerate(devices):
        if number % _STEP_DEVICES == 0:
            yield
        described = None if device.name in drawn else _described(device)
        if described is None:
            continue
        group, title, detail = described
        key = _place(snapshot, device)
        label = ", ".join([word for word in (title, detail, device.driver or "") if word])
        item = Item(device.name, title, detail, shown(label), None, seen.mark(device.name))
        found.setdefault(group, {}).setdefault(key, []).append(item)
    return tuple([_group(title, found[title]) for title in _TITLES if title in found])


def is_elsewhere(device: Device) -> bool:
    """Return whether a device is one of those, in little time."""
    for one in device.capabilities:
        if isinstance(one, Net | Storage | Infiniband | Vdpa):
            return True
        if isinstance(one, Pci) and (one.class_code or "")[:4] in _ACCELERATORS:
            return one.physical_function is None
    return False


def _described(device: Device) -> tuple[str, str, str] | None:
    """Return the group of a device, its name and a few words."""
    net, disk = device.capability(Net), device.capability(Storage)
    rdma, pci = device.capability(Infiniband), device.capability(Pci)
    if net is not None:
        words = [net.devtype or "", _speed(net.link.speed), net.link.state or "state unknown"]
        return _TITLES[1], shown(net.interface, 24), shown(" ".join(filter(None, words)), 40)
    if rdma is not None:
        states = [port.state or "state unknown" for port in rdma.ports]
        return _TITLES[2], _kernel_name(device), shown(", ".join(states).lower(), 40)
    if device.capability(Vdpa) is not None:
        return _TITLES[3], _kernel_name(device), shown(device.driver or "no driver", 24)
    if disk is not None:
        words = [size(disk.size_bytes, _DISK_UNIT) if disk.size_bytes else "", disk.model or ""]
        return _TITLES[4], _kernel_name(device), shown(" ".join(filter(None, words)), 40)
    if pci is not None and (pci.class_code or "")[:4] in _ACCELERATORS:
        return _TITLES[0], product(device), shown(f"{pci.address}, {device.driver or 'no driver'}")
    return None


def _kernel_name(device: Device) -> str:
    return shown(device.sysname or device.name, 24)


def _speed(megabits: int | None) -> str:
    if megabits is None or megabits <= 0:
        return ""
    return f"{megabits / 1000:g} Gbit/s" if megabits >= 1000 else f"{megabits} Mbit/s"


def _place(snapshot: Snapshot, device: Device) -> tuple[int, str]:
    """Return NUMA node and PCI root of the PCI function that a device belongs to."""
    above: Device | None = device
    for _ in range(_DEPTH):
        if above is None:
            break
        pci = above.capability(Pci)
        if pci is not None:
            numa = -1 if pci.numa_node is None else pci.numa_node
            return numa, pci_root(above.path) or ""
        above = snapshot.get(above.parent) if above.parent is not None else None
    return 1 << 16, pci_root(device.path) or ""


def _group(title: str, places: Mapping[tuple[int, str], list[Item]]) -> Group:
    shown_places: list[Place] = []
    left = ITEMS_AT_MOST
    total = sum(map(len, places.values()))
    for (numa, root), items in sorted(places.items()):
        if left <= 0:
            break
        some = tuple(items[:left])
        left -= len(some)
        shown_places.append(Place(_heading(numa, root), some, len(items) - len(some)))
    there = sum(len(place.items) + place.left_out for place in shown_places)
    if there < total:
        shown_places.append(Place("at other places", (), total - there))
    return Group(title, plural(total, "device"), tuple(shown_places))


def _heading(numa: int, root: str) -> str:
    words = [f"NUMA {numa}"] if 0 <= numa < 1 << 16 else []
    words += [f"PCI root {root}"] if root else []
    return " · ".join(words) or "not behind PCI"
