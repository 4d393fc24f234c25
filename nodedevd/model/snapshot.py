"""Device and Snapshot: what nodedevd knows, as frozen values.

A snapshot is the whole tree at one generation. Nothing in it ever changes; an update makes
a new one that shares every device that stayed the same.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import cached_property
from typing import NamedTuple, TypeAlias, TypeVar

import msgspec

from nodedevd.addresses import parse_pci
from nodedevd.errors import InvalidParameter, NoSuchDevice
from nodedevd.host.node import Fault
from nodedevd.kinds import KIND_OF, WORDS, AnyCapability
from nodedevd.kinds.base import Capability
from nodedevd.names import device_name, is_uuid, parse_mdev_name, sanitise
from nodedevd.sorted_map import SortedMap

C = TypeVar("C", bound=Capability)

_NEAREST = 3
_NAME_LIMIT = 4096  # PATH_MAX: nobody means a longer name
_SYS_LINK = re.compile(r"/sys/(?:bus/([^/]+)/devices|class/([^/]+))/([^/]+)")


def is_active(path: str | None) -> bool:
    """Tell by its path whether a device is there, and not only defined."""
    return path is None or path.startswith("/sys/")


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
    devnode: str | None
    """device node below /dev"""
    devlinks: tuple[str, ...]
    """udev's symbolic links to the device node, sorted"""

    def capability(self, kind: type[C]) -> C | None:
        """Return the device's capability of a kind."""
        for capability in self.capabilities:
            if isinstance(capability, kind):
                return capability
        return None

    @property
    def types(self) -> tuple[str, ...]:
        """The types of the device's capabilities."""
        return tuple([_TYPES[type(cap)] for cap in self.capabilities])

    @property
    def active(self) -> bool:
        """Whether the device is there; False for one that is only defined."""
        return is_active(self.path)

    @property
    def counts(self) -> bool:
        """Whether something about it changes without an event, as what is available."""
        return not _COUNTED.isdisjoint(map(type, self.capabilities))

    @property
    def words(self) -> frozenset[str]:
        """What filters find the device by: its types, and the parts that those have."""
        nested = [
            word
            for capability in self.capabilities
            for word, has in _NESTED.get(type(capability), ())
            if has(capability)
        ]
        return frozenset((*self.types, *nested))

    def passes(self, wanted: Set[str]) -> bool:
        """Whether the device has one of these words; the same as of `words`, in less time."""
        for capability in self.capabilities:
            kind = type(capability)
            if _TYPES[kind] in wanted:
                return True
            for word, has in _NESTED.get(kind, ()):
                if word in wanted and has(capability):
                    return True
        return False


_TYPES = {capability: kind.name for capability, kind in KIND_OF.items()}
_NESTED = {one: tuple(kind.nested.items()) for one, kind in KIND_OF.items() if kind.nested}
_COUNTED = frozenset(kind.capability for kind in KIND_OF.values() if kind.recount is not None)


class Added(NamedTuple):
    """A device that was not there before."""

    device: Device


_FIELDS = ("path", "devnode", "devlinks", "parent", "subsystem", "sysname", "driver", "errors")


class Changed(NamedTuple):
    """A device that is different now; the name is the same."""

    before: Device
    device: Device

    @property
    def moved(self) -> bool:
        """Whether the name is another device's now: an mdev's, or that of its definition."""
        return self.before.path != self.device.path

    @property
    def parts(self) -> tuple[str, ...]:
        """What differs: fields of the device, and the types of its capabilities."""
        parts = [
            name for name in _FIELDS if getattr(self.before, name) != getattr(self.device, name)
        ]
        before = dict(zip(self.before.types, self.before.capabilities, strict=True))
        after = dict(zip(self.device.types, self.device.capabilities, strict=True))
        types = dict.fromkeys((*self.before.types, *self.device.types))
        parts += [kind for kind in types if before.get(kind) != after.get(kind)]
        return tuple(parts)


class Removed(NamedTuple):
    """A device that is not there any more, as it was last."""

    device: Device


Change: TypeAlias = Added | Changed | Removed


class Snapshot:
    """All devices of a host at one generation, sorted by name."""

    def __init__(
        self,
        devices: Iterable[Device] = (),
        *,
        generation: int = 1,
        errors: tuple[Fault, ...] = (),
        contested: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        self.generation = generation
        self.errors = errors
        """directories that could not be listed, by their path: devices may be missing"""
        self.contested: Mapping[str, frozenset[str]] = contested or {}
        """names that several devices ask for, with the paths of those"""
        self._devices = SortedMap({device.name: device for device in devices})
        self._by_path = SortedMap(_by_path(self._devices.values()))

    def replaced(
        self,
        *,
        removed: Iterable[str],
        devices: Iterable[Device],
        changes: int,
        errors: tuple[Fault, ...],
        contested: Mapping[str, frozenset[str]],
    ) -> Snapshot:
        """Return a snapshot without the names `removed`, and with `devices` put in."""
        new = Snapshot(generation=self.generation + changes, errors=errors, contested=contested)
        added = {device.name: device for device in devices}
        removed = set(removed)
        old = [device for name in (*removed, *added) if (device := self.get(name)) is not None]
        new._devices = self._devices.changed(removed, added)
        new._by_path = self._by_path.changed(_by_path(old), _by_path(added.values()))
        return new

    def numbered(self, generation: int) -> Snapshot:
        """Return the same snapshot as of another generation."""
        new = Snapshot(generation=generation, errors=self.errors, contested=self.contested)
        new._devices, new._by_path = self._devices, self._by_path
        return new

    def __iter__(self) -> Iterator[Device]:
        return self._devices.in_order_values()

    def __len__(self) -> int:
        return len(self._devices)

    def get(self, name: str) -> Device | None:
        """Return the device of exactly this name."""
        return self._devices.get(name)

    @property
    def paths(self) -> Iterable[str]:
        """The sysfs paths of all devices."""
        return self._by_path.keys()

    def at(self, path: str | None) -> Device | None:
        """Return the device at exactly this sysfs path."""
        return None if path is None else self._by_path.get(path)

    def below(self, path: str) -> Sequence[str]:
        """Return the paths of all devices below a path, parents before children."""
        return self._by_path.between(f"{path}/", f"{path}0")  # "0" follows "/"

    def claimants(self, name: str) -> Iterable[str]:
        """Return the paths of the devices that ask for this name, the one that has it included."""
        found = self.contested.get(name)
        if found is None:
            device = self._devices.get(name)
            return () if device is None or device.path is None else (device.path,)
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return self._devices.in_order

    @cached_property
    def _by_sysname(self) -> Mapping[str, tuple[Device, ...]]:
        found: dict[str, tuple[Device, ...]] = {}
        for device in self:
            if device.sysname is not None:
                found[device.sysname] = (*found.get(device.sysname, ()), device)
        return found

    def by_sysname(self, sysname: str) -> tuple[Device, ...]:
        """Return the devices of exactly this kernel name, which may be several buses'."""
        return self._by_sysname.get(sysname, ())

    def select(self, capabilities: Iterable[str] | None) -> list[Device]:
        """Return the devices with any of these capabilities; None is no filter.

        Raises InvalidParameter for a word that names no capability.
        """
        if capabilities is None:
            return list(self)
        wanted = filter_words(capabilities)
        return [device for device in self if device.passes(wanted)]

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
            if _is_below(found, mdev.parent):
                return found
            # One uuid can be defined below several parents.
            for device in self.by_sysname(mdev.uuid):
                if device.subsystem == "mdev" and _is_below(device, mdev.parent):
                    return device
            return None
        address = parse_pci(name)
        return None if address is None else self._find(str(address), "pci")

    def _find(self, sysname: str, subsystem: str) -> Device | None:
        likely = self._devices.get(device_name(subsystem, sysname))
        if likely is not None and (likely.sysname, likely.subsystem) == (sysname, subsystem):
            return likely
        for device in self.by_sysname(sysname):
            # mdev_bus is no subsystem: its links lead to devices of any.
            if subsystem in (device.subsystem, "mdev_bus"):
                return device
        return None

    def nearest(self, name: str) -> tuple[str, ...]:
        """Return the few names that most resemble one that does not exist."""
        last = name[:_NAME_LIMIT].rstrip("/").rpartition("/")[2]
        wanted = sanitise(last).strip("_")
        if len(wanted) >= 3:
            found = [known for known in self.names if wanted.lower() in known.lower()]
            if found:
                return tuple(found[:_NEAREST])
        shared: dict[str, int] = {}
        for prefix in ("", "pci_", "mdev_"):  # an address, or a uuid, lacks it
            position = bisect_left(self.names, prefix + wanted)
            for known in self.names[max(0, position - _NEAREST) : position + _NEAREST]:
                length = _common_prefix(prefix + wanted, known) - len(prefix)
                shared[known] = max(length, shared.get(known, 0))
        best = sorted(shared, key=lambda known: -shared[known])[:_NEAREST]
        return tuple([known for known in best if shared[known] >= 3])


def _by_path(devices: Iterable[Device]) -> dict[str, Device]:
    return {device.path: device for device in devices if device.path is not None}


def _is_below(device: Device, parent: str) -> bool:
    """Tell whether an mdev's parent has this kernel name, as libvirt writes it."""
    above = (device.path or "/").split("/")[-2]
    return sanitise(above) == sanitise(parent)


def filter_words(words: Iterable[str]) -> frozenset[str]:
    """Return what words of a filter stand for, as `Device.passes` takes them.

    Raises InvalidParameter.
    """
    wanted = set()
    for word in words:
        if word not in WORDS:
            raise InvalidParameter(
                "capabilities", f"unknown capability {word!r}; known: {', '.join(WORDS)}"
            )
        wanted.add(WORDS[word])
    return frozenset(wanted)


def _common_prefix(one: str, other: str) -> int:
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return length
