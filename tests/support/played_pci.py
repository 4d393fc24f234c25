"""The played PCI core: drivers that are bound, unbound and probed, and virtual functions.

Seen on Linux 6.1 and 6.12 with NVMe: drivers/base/bus.c, drivers/pci/pci-sysfs.c, iov.c.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.played_mdev import Blocks
from tests.support.trees import Tree

_DRIVERS = "/sys/bus/pci/drivers"
_DEVICES = "/sys/bus/pci/devices"
_NO_OVERRIDE = "(null)"


def _nothing(path: str) -> None:
    pass


@dataclass
class Driver:
    """A driver: the devices that it takes, and what it makes of them."""

    name: str
    ids: frozenset[tuple[int, int]] = frozenset()
    """vendor and device; without any it takes what driver_override gives it, as vfio-pci"""
    probed: Callable[[str], None] = _nothing
    """makes what the driver makes below a device; an OSError is a probe that fails"""
    removed: Callable[[str], None] = _nothing
    """takes it away"""


@dataclass
class Sriov:
    """A physical function that can have virtual ones."""

    path: str
    total: int
    vf_ids: tuple[int, int]
    """vendor and device"""
    vf_class: int
    first_group: int | None = None
    """IOMMU group of the first virtual function"""
    bus: int = 0
    """the bus of the virtual functions, relative to that of the physical one"""
    functions: list[str] = field(default_factory=list)


class PciCore:
    """The drivers and the physical functions of a tree."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.drivers: dict[str, Driver] = {}
        self.sriov: dict[str, Sriov] = {}
        self._vfio = 300
        self.driver(Driver("vfio-pci", probed=self._open_to_vfio, removed=self._close_to_vfio))

    def driver(self, driver: Driver) -> None:
        """Load a driver; it takes no device yet."""
        self.drivers[driver.name] = driver
        for name in ("bind", "unbind", "new_id"):
            self.tree.file(f"{_DRIVERS}/{driver.name}/{name}")
        self.tree.file("/sys/bus/pci/drivers_probe")

    def overridable(self, path: str) -> str:
        """Give a function what the PCI core gives every function."""
        return self.tree.attributes(path, {"driver_override": _NO_OVERRIDE})

    def card(self, sriov: Sriov) -> None:
        """Let a physical function have virtual ones; it has none yet."""
        self.sriov[sriov.path] = sriov
        self.overridable(sriov.path)
        self.tree.sriov(sriov.path, total=sriov.total)

    # -- writes ----------------------------------------------------------------------------

    def write(self, path: str, value: str, is_open: Callable[[str], bool]) -> Blocks | None:
        """Do a write to a file of the PCI core."""
        name = os.path.basename(path)
        text = value.removesuffix("\n")
        if name == "sriov_numvfs":
            return self._set_number(self.sriov[os.path.dirname(path)], text, is_open)
        if name == "unbind":
            return self._unbind(text, os.path.dirname(path), is_open)
        if name == "driver_override":
            if len(value) >= 4096:
                raise OSError(errno.EINVAL, path)
            if value:
                self.tree.file(path, f"{text or _NO_OVERRIDE}\n")
        elif name == "sriov_drivers_autoprobe":
            if text not in ("0", "1"):
                raise OSError(errno.EINVAL, path)
            self.tree.file(path, f"{text}\n")
        elif name == "drivers_probe":
            self.probe(self._device(text))
        elif name == "bind":
            self._bind(self._device(text), os.path.basename(os.path.dirname(path)))
        else:
            raise OSError(errno.EIO, path)
        return None

    def bound(self, device: str) -> str | None:
        """Return the name of a device's driver."""
        link = self.tree.at(f"{device}/driver")
        return os.path.basename(os.readlink(link)) if os.path.islink(link) else None

    def probe(self, device: str) -> None:
        """Have the first driver that matches take the device; nobody hears whether it did."""
        if self.bound(device) is not None:
            return
        for name in self.drivers:
            if self._matches(device, name):
                try:
                    self._attach(device, name)
                except OSError:
                    continue
                return

    # -- drivers ---------------------------------------------------------------------------

    def _device(self, address: str) -> str:
        link = f"{_DEVICES}/{address}"
        if not os.path.lexists(self.tree.at(link)):
            raise OSError(errno.ENODEV, address)
        return self.tree.resolve(address)

    def _matches(self, device: str, name: str) -> bool:
        override = self._read(f"{device}/driver_override")
        if override not in ("", _NO_OVERRIDE):
            return override == name
        ids = (int(self._read(f"{device}/vendor"), 16), int(self._read(f"{device}/device"), 16))
        return ids in self.drivers[name].ids

    def _bind(self, device: str, name: str) -> None:
        if not self._matches(device, name):
            raise OSError(errno.ENODEV, name)
        if self.bound(device) is not None:
            raise OSError(errno.EBUSY, name)
        self._attach(device, name)

    def _attach(self, device: str, name: str) -> None:
        card = self.sriov.get(device)
        if name == "vfio-pci" and card is not None and card.functions:
            raise OSError(errno.EBUSY, "Cannot bind to PF with SR-IOV enabled")
        self.tree.kernel_link(f"{device}/driver", f"{_DRIVERS}/{name}")
        self.tree.kernel_link(f"{_DRIVERS}/{name}/{os.path.basename(device)}", device)
        try:
            self.drivers[name].probed(device)
        except OSError:
            self._detach(device)
            raise

    def _unbind(
        self, address: str, directory: str, is_open: Callable[[str], bool]
    ) -> Blocks | None:
        device = self._device(address)
        if directory == f"{device}/driver":
            directory = f"{_DRIVERS}/{self.bound(device)}"
        if self.bound(device) != os.path.basename(directory):
            raise OSError(errno.ENODEV, address)
        if is_open(device):
            return Blocks(device, lambda: self._release(device))
        self._release(device)
        return None

    def _release(self, device: str) -> None:
        self.drivers[self.bound(device) or ""].removed(device)
        self._detach(device)

    def _detach(self, device: str) -> None:
        name = self.bound(device)
        self.tree.remove(f"{device}/driver")
        self.tree.remove(f"{_DRIVERS}/{name}/{os.path.basename(device)}")

    def _open_to_vfio(self, device: str) -> None:
        self._vfio += 1
        self.tree.vfio_device(device, self._vfio)
        group = self.tree.at(f"{device}/iommu_group")
        if os.path.islink(group):
            number = int(os.path.basename(os.readlink(group)))
            self.tree.vfio_group(number)

    def _close_to_vfio(self, device: str) -> None:
        for child in os.listdir(self.tree.at(f"{device}/vfio-dev")):
            self.tree.remove(f"/sys/class/vfio-dev/{child}")
        self.tree.remove(f"{device}/vfio-dev")
        number = os.path.basename(os.path.realpath(self.tree.at(f"{device}/iommu_group")))
        members = f"/sys/kernel/iommu_groups/{number}/devices"
        others = os.listdir(self.tree.at(members)) if number.isdecimal() else []
        if not any(
            self.bound(self.tree.resolve(one)) == "vfio-pci"
            for one in others
            if one != os.path.basename(device)
        ):
            for path in (f"/sys/class/vfio/{number}", f"/sys/devices/virtual/vfio/{number}"):
                if os.path.lexists(self.tree.at(path)):
                    self.tree.remove(path)

    # -- virtual functions -----------------------------------------------------------------

    def _set_number(self, card: Sriov, value: str, is_open: Callable[[str], bool]) -> Blocks | None:
        if not value:
            return None
        if not re.fullmatch(r"[0-9]+", value):
            raise OSError(errno.EINVAL, card.path)
        number = int(value)
        if number > card.total:
            raise OSError(errno.ERANGE, card.path)
        if self.bound(card.path) is None:
            raise OSError(errno.ENOENT, card.path)
        if number == len(card.functions):
            return None
        if number and card.functions:
            raise OSError(errno.EBUSY, card.path)
        if number:
            self._enable(card, number)
            return None
        open_one = next((one for one in card.functions if is_open(one)), None)
        if open_one is not None:
            return Blocks(open_one, lambda: self._disable(card))
        self._disable(card)
        return None

    def _enable(self, card: Sriov, number: int) -> None:
        domain, bus, slot_function = os.path.basename(card.path).split(":")
        slot, function = slot_function.split(".")
        routing = (int(slot, 16) << 3 | int(function)) + 1
        above = os.path.basename(os.path.dirname(card.path))
        for index in range(number):
            one = routing + index
            address = f"{domain}:{int(bus, 16) + card.bus:02x}:{one >> 3:02x}.{one & 7}"
            vendor, device = card.vf_ids
            group = None if card.first_group is None else card.first_group + index
            path = self.tree.pci(
                address,
                vendor=vendor,
                device=device,
                class_=card.vf_class,
                parent=above,
                iommu_group=group,
                physfn=card.path,
            )
            self.overridable(path)
            self.tree.kernel_link(f"{card.path}/virtfn{index}", path)
            card.functions.append(path)
        self.tree.attributes(card.path, {"sriov_numvfs": number})
        if self._read(f"{card.path}/sriov_drivers_autoprobe") == "1":
            for path in card.functions:
                self.probe(path)

    def _disable(self, card: Sriov) -> None:
        for index, path in enumerate(card.functions):
            if self.bound(path) is not None:
                self._release(path)
            address = os.path.basename(path)
            group = self.tree.at(f"{path}/iommu_group")
            if os.path.islink(group):
                self.tree.remove(f"/sys/kernel/iommu_groups/{os.path.basename(os.readlink(group))}")
            for gone in (f"{card.path}/virtfn{index}", f"{_DEVICES}/{address}", path):
                self.tree.remove(gone)
        card.functions.clear()
        self.tree.attributes(card.path, {"sriov_numvfs": 0})

    def _read(self, path: str) -> str:
        where = self.tree.at(path)
        if not os.path.exists(where):
            return ""
        with open(where, encoding="utf-8") as stream:
            return stream.read().strip()
