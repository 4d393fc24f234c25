"""words: how a picture names devices, types and numbers; short, and without control characters."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nodedevd.host.lines import fields_of
from nodedevd.kinds.base import HardwareId
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.pci import Pci
from nodedevd.model.device import Device
from nodedevd.text import printable

SHOWN: int = 80
"""Characters of a name that are drawn; a tooltip has as many, too."""

_BRACKETS = re.compile(r"\[([^\[\]]+)\]")
_ROOT = re.compile(r"/sys/devices/pci([0-9a-f]{4,8}:[0-9a-f]{2})/")
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def shown(text: str, limit: int = SHOWN) -> str:
    """Return a text of the host as it is drawn: printable, and not longer than `limit`."""
    text = " ".join(fields_of(printable(text[: 4 * limit])))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def size(size_bytes: int, unit: int = 1024) -> str:
    """Return a number of bytes for people: 4 GB is 4 GiB, as in names of vGPU types."""
    value, name = float(size_bytes), _UNITS[0]
    for name in _UNITS:
        if value < unit or name == _UNITS[-1]:
            break
        value /= unit
    return f"{round(value, 1):g} {name}"


def plural(count: int, one: str, several: str | None = None) -> str:
    """Return a number with its noun."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def type_end(name: str) -> str:
    """Return the end of a type's name, which tells apart those of a card: 4Q, V5_4."""
    end = name.rpartition("-")[2].strip() or name
    return shown(end if len(end) < len(name) else name, 24)


def function_end(sysname: str) -> str:
    """Return the end of a PCI address, 00.4, or else the whole kernel name."""
    address = sysname.rpartition(":")[2]
    return shown(address or sysname, 16)


def short_uuid(uuid: str) -> str:
    """Return the beginning and the end of a uuid."""
    return shown(uuid if len(uuid) < 16 else f"{uuid[:8]}…{uuid[-4:]}", 16)


def name_of(device: Device) -> str:
    """Return how a picture calls a device: a PCI address, `mdev` and its uuid, a kernel name."""
    mdev, pci = device.capability(MdevChild), device.capability(Pci)
    if mdev is not None:
        return f"mdev {short_uuid(mdev.uuid)}"
    if pci is not None and pci.address is not None:
        return shown(pci.address)
    return shown(device.sysname or device.name, 40)


def product(device: Device, types: Sequence[str] = ()) -> str:
    """Return vendor and product of a PCI function, or else the kernel name.

    Where the host has no names of products, it is what the names of the card's types begin with.
    """
    pci = device.capability(Pci)
    if pci is None or pci.vendor is None or pci.product is None:
        return shown(device.sysname or device.name, 60)
    if pci.product.name is None:
        begin = types[0].rpartition("-")[0] if types else ""
        return shown(begin or f"PCI {pci.vendor.id[2:]}:{pci.product.id[2:]}", 60)
    vendor = _in_brackets(pci.vendor) or _first_word(pci.vendor)
    return shown(f"{vendor} {_in_brackets(pci.product) or pci.product.name or pci.product.id}", 60)


def _in_brackets(one: HardwareId) -> str | None:
    found = _BRACKETS.findall(one.name or "")
    return found[-1] if found else None


def _first_word(vendor: HardwareId) -> str:
    words = fields_of((vendor.name or vendor.id).replace(",", " "))
    return words[0] if words else vendor.id


def pci_root(path: str | None) -> str | None:
    """Return the PCI root that a device lies below, 0000:3a, by its sysfs path."""
    found = _ROOT.match(path or "")
    return None if found is None else found[1]


def place_of(device: Device) -> str:
    """Return where a PCI function is: NUMA node, PCI root, link, driver."""
    pci = device.capability(Pci)
    parts = []
    if pci is not None and pci.numa_node is not None:
        parts.append(f"NUMA {pci.numa_node}")
    root = pci_root(device.path)
    if root is not None:
        parts.append(f"root {root}")
    link = None if pci is None else _link(pci)
    if link:
        parts.append(link)
    parts.append(shown(device.driver, 24) if device.driver else "no driver")
    return " · ".join(parts)


def _link(pci: Pci) -> str | None:
    """Return the PCI Express link, with what it is capable of if that is more."""
    express = pci.pci_express
    now = None if express is None else express.status
    most = None if express is None else express.capability
    if now is None or not now.width or now.speed is None:
        return None
    speed, wide = f"{now.speed:g} GT/s", f"×{now.width}"
    if most is not None and most.speed is not None and most.speed > now.speed:
        speed = f"{now.speed:g} of {most.speed:g} GT/s"
    if most is not None and most.width > now.width:
        wide = f"×{now.width} of ×{most.width}"
    return f"{speed} {wide}"


def title_of(root: str, node_name: str) -> str:
    """Return what a picture calls a host, given its sysroot: a recording by its file."""
    if root == "/":
        return node_name
    name = root.rstrip("/").rpartition("/")[2]
    return name.removesuffix(".ttar") or node_name
