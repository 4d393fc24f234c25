"""Device and Snapshot: what nodedevd knows, as frozen values.

A snapshot is the whole tree at one generation. Nothing in it ever changes; an update makes
a new one that shares every device that stayed the same.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TypeVar

import msgspec

from nodedevd.addresses import parse_pci
from nodedevd.capabilities import WORDS, AnyCapability
from nodedevd.capabilities.base import Capability
from nodedevd.errors import InvalidParameter, NoSuchDevice
from nodedevd.naming import is_uuid, parse_mdev_name, sanitise
from nodedevd.node import Fault

C = TypeVar("C", bound=Capability)

_NEAREST = 3
_SYS_LINK = re.compile(r"/sys/(?:bus/([^/]+)/devices|class/([^/]+))/([^/]+)")


class Device(msgspec.Struct, frozen=True, gc=False):
    """One node device."""

    name: str
    """by libvirt's rule; unique in a snapshot"""
    path: str | None
    """sysfs path on its host; None for `computer`"""
    parent: str | None
    """name of the nearest ancestor in the tree; None for `computer`"""
    subsystem: str | None
    """the kernel's bus or class"""
    sysname: str | None
    """the kernel's own name, the last part of the path"""
    driver: str | None
    """name of the bound driver"""
    capabilities: tuple[AnyCapability, ...]
    errors: tuple[Fault, ...]
    """what could not be told about this device; every null that is not simply absent"""

    def capability(self, kind: type[C]) -> C | None:
        """Return the device's capability of a kind."""
        for capability in self.capabilities:
            if isinstance(capability, kind):
                return capability
        return None

    @property
    def types(self) -> tuple[str, ...]:
        """The types of the device's capabilities."""
        return tuple([str(cap.__struct_config__.tag) for cap in self.capabilities])


class Snapshot:
    """All devices of a host at one generation, sorted by name."""

    def __init__(
        self,
        devices: Iterable[Device],
        *,
        generation: int = 1,
        errors: tuple[Fault, ...] = (),
    ) -> None:
        self.generation = generation
        self.errors = errors
        """directories that could not be listed, by their path: devices may be missing"""
        self._devices: Mapping[str, Device] = {
            device.name: device for device in sorted(devices, key=lambda device: device.name)
        }

    def __iter__(self) -> Iterator[Device]:
        return iter(self._devices.values())

    def __len__(self) -> int:
        return len(self._devices)

    def get(self, name: str) -> Device | None:
        """Return the device of exactly this name."""
        return self._devices.get(name)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(self._devices)

    @cached_property
    def _by_path(self) -> Mapping[str, Device]:
        return {device.path: device for device in self if device.path is not None}

    @cached_property
    def _by_sysname(self) -> Mapping[str, tuple[Device, ...]]:
        found: dict[str, tuple[Device, ...]] = {}
        for device in self:
            if device.sysname is not None:
                found[device.sysname] = (*found.get(device.sysname, ()), device)
        return found

    def select(self, capabilities: Iterable[str] | None) -> list[Device]:
        """Return the devices with any of these capabilities; None is no filter.

        Raises InvalidParameter for a word that names no capability.
        """
        if capabilities is None:
            return list(self)
        wanted = set()
        for word in capabilities:
            if word not in WORDS:
                raise InvalidParameter(
                    "capabilities", f"unknown capability {word!r}; known: {', '.join(WORDS)}"
                )
            wanted.add(WORDS[word])
        return [device for device in self if not wanted.isdisjoint(device.types)]

    def lookup(self, name: str) -> Device:
        """Find a device by any name it goes by.

        Its own name, a uuid, `mdev_<uuid>` with dashes, libvirt's `mdev_<uuid>_<parent>`,
        a PCI address, or a sysfs path, the links below /sys/bus and /sys/class included.
        Raises NoSuchDevice with the nearest names.
        """
        device = self._devices.get(name) or self._lookup_other(name)
        if device is None:
            raise NoSuchDevice(name, self.nearest(name))
        return device

    def _lookup_other(self, name: str) -> Device | None:
        if name.startswith("/"):
            path = name.rstrip("/")
            link = _SYS_LINK.fullmatch(path)
            if link is None:
                return self._by_path.get(path)
            return self._find(link[3], link[1] or link[2])
        if is_uuid(name):
            return self._find(name.lower(), "mdev")
        mdev = parse_mdev_name(name)
        if mdev is not None:
            found = self._find(mdev.uuid, "mdev")
            if found is None or found.path is None or mdev.parent is None:
                return found
            parent = sanitise(found.path.split("/")[-2])
            return found if parent == sanitise(mdev.parent) else None
        address = parse_pci(name)
        return None if address is None else self._find(str(address), "pci")

    def _find(self, sysname: str, subsystem: str) -> Device | None:
        for device in self._by_sysname.get(sysname, ()):
            # mdev_bus is no subsystem: its links lead to devices of any.
            if subsystem in (device.subsystem, "mdev_bus"):
                return device
        return None

    def nearest(self, name: str) -> tuple[str, ...]:
        """Return the few names that most resemble one that does not exist."""
        wanted = sanitise(name[:256]).strip("_")
        if len(wanted) >= 3:
            found = [known for known in self.names if wanted.lower() in known.lower()]
            if found:
                return tuple(found[:_NEAREST])
        position = bisect_left(self.names, wanted)
        around = self.names[max(0, position - _NEAREST) : position + _NEAREST]
        shared = {known: _common_prefix(wanted, known) for known in around}
        best = sorted(around, key=lambda known: -shared[known])[:_NEAREST]
        return tuple([known for known in best if shared[known] >= 3])


def _common_prefix(one: str, other: str) -> int:
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return length
