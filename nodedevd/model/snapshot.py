"""Snapshot: all devices of a host at one generation, as a frozen value.

An update makes a new snapshot, which shares the devices that stayed the same.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from nodedevd.errors import NoSuchDevice
from nodedevd.host.faults import Fault
from nodedevd.lazy import lazy
from nodedevd.model.device import Device, filter_words
from nodedevd.model.layout import NO_LAYOUT, HostLayout
from nodedevd.names import ROOT, device_name, is_uuid, parse_mdev_name, parse_pci, sanitise
from nodedevd.sorted_map import SortedMap

_NEAREST = 3
_NAME_LIMIT = 4096  # PATH_MAX: no device has a longer name
_SYS_LINK = re.compile(r"/sys/(?:bus/([^/]+)/devices|class/([^/]+))/([^/]+)")


class Snapshot:
    """All devices of a host at one generation, sorted by name."""

    def __init__(
        self,
        devices: Iterable[Device] = (),
        *,
        generation: int = 1,
        errors: tuple[Fault, ...] = (),
        shared_names: Mapping[str, frozenset[str]] | None = None,
        layout: HostLayout = NO_LAYOUT,
    ) -> None:
        self.generation = generation
        self.errors = errors
        """faults of directories that could not be listed: devices may be missing"""
        self.shared_names: Mapping[str, frozenset[str]] = shared_names or {}
        """names that several devices would have, with the paths of these devices"""
        self.layout = layout
        """what the layout files of the host come to"""
        self._devices = SortedMap({device.name: device for device in devices})
        self._by_path = SortedMap(_by_path(self._devices.values()))
        self._by_sysname = SortedMap(_by_sysname(self._devices.values()))

    def replaced(
        self,
        *,
        removed: Iterable[str],
        devices: Iterable[Device],
        changes: int,
        errors: tuple[Fault, ...],
        shared_names: Mapping[str, frozenset[str]],
        layout: HostLayout | None = None,
    ) -> Snapshot:
        """Return a snapshot without the names `removed`, and with `devices` added or replaced.

        Without `layout` it has the same one.
        """
        new = Snapshot(
            generation=self.generation + changes,
            errors=errors,
            shared_names=shared_names,
            layout=self.layout if layout is None else layout,
        )
        added = {device.name: device for device in devices}
        removed = set(removed)
        old: list[Device] = []
        if len(self):
            old += [device for name in (*removed, *added) if (device := self.get(name)) is not None]
        new._devices = self._devices.changed(removed, added)
        new._by_path = self._by_path.changed(_by_path(old), _by_path(added.values()))
        new._by_sysname = self._with_sysnames(old, added.values())
        return new

    def _with_sysnames(self, old: Iterable[Device], added: Iterable[Device]) -> SortedMap[_Named]:
        """Return the devices by their kernel names, without old ones and with added ones."""
        names = {one.sysname for one in (*old, *added) if one.sysname is not None}
        leaving = {one.name for one in old}
        known = names if self._by_sysname else ()
        kept = [one for name in known for one in self.by_sysname(name) if one.name not in leaving]
        changed = _by_sysname((*kept, *added))
        return self._by_sysname.changed(names, changed)

    def numbered(self, generation: int) -> Snapshot:
        """Return the same snapshot with another generation."""
        new = Snapshot(
            generation=generation,
            errors=self.errors,
            shared_names=self.shared_names,
            layout=self.layout,
        )
        new._devices, new._by_path = self._devices, self._by_path
        new._by_sysname = self._by_sysname
        return new

    def __iter__(self) -> Iterator[Device]:
        return self._devices.in_order_values()

    def in_groups(self, size: int) -> Iterator[list[Device]]:
        """Yield all devices in the order of their names, in lists of at most `size`."""
        return self._devices.in_groups(size)

    def downwards_in_groups(self, size: int) -> Iterator[list[Device]]:
        """Yield all devices, parents before children, in lists of at most `size`.

        Active devices come by their paths; inactive ones, which have no children, come last.
        """
        yield [device for device in (self.get(ROOT),) if device is not None and device.path is None]
        inactive: list[Device] = []
        for group in self._by_path.in_groups(size):
            inactive += [device for device in group if not device.active]
            yield [device for device in group if device.active]
        for start in range(0, len(inactive), size):
            yield inactive[start : start + size]

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

    def paths_named(self, name: str) -> Iterable[str]:
        """Return the paths of all devices that would have this name, and of the one that has it."""
        found = self.shared_names.get(name)
        if found is None:
            device = self._devices.get(name)
            return () if device is None or device.path is None else (device.path,)
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return self._devices.in_order

    def by_sysname(self, sysname: str) -> tuple[Device, ...]:
        """Return the devices of exactly this kernel name, possibly of several buses."""
        found = self._by_sysname.get(sysname)
        if found is None:
            return ()
        return (found,) if isinstance(found, Device) else found

    @lazy
    def _names_text(self) -> tuple[str, str]:
        """All names as one text, a line each, and the same in lower case."""
        text = "\n".join(self.names)
        return text, text.lower()

    def select(self, capabilities: Iterable[str] | None) -> list[Device]:
        """Return the devices with any of these capabilities, all devices for None.

        Raises InvalidParameter for a word that is not a capability.
        """
        if capabilities is None:
            return list(self)
        wanted = filter_words(capabilities)
        return [device for device in self if device.passes(wanted)]

    def select_in_groups(
        self, capabilities: Iterable[str] | None, size: int
    ) -> Iterator[list[Device]]:
        """Yield the same devices in lists, some of them empty, each out of `size` devices."""
        wanted = None if capabilities is None else filter_words(capabilities)
        groups = self.in_groups(size)
        if wanted is None:
            return groups
        return ([device for device in group if device.passes(wanted)] for group in groups)

    def lookup(self, name: str) -> Device:
        """Return a device by any of its names.

        These are its own name, a uuid, `mdev_<uuid>` with dashes, libvirt's
        `mdev_<uuid>_<parent>`, a PCI address, or a sysfs path, including the links below
        /sys/bus and /sys/class. Raises NoSuchDevice, with the nearest names.
        """
        device = self.find(name)
        if device is None:
            raise NoSuchDevice(name, self.nearest(name))
        return device

    def find(self, name: str) -> Device | None:
        """Return what `lookup` returns, None if there is no such device."""
        return self._devices.get(name) or self._lookup_other(name)

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
            # One uuid can be defined for several parents.
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
            # mdev_bus is not a subsystem: it has links to devices of any subsystem.
            if subsystem in (device.subsystem, "mdev_bus"):
                return device
        return None

    def nearest(self, name: str) -> tuple[str, ...]:
        """Return the few names that are most similar to an unknown one."""
        last = name[:_NAME_LIMIT].rstrip("/").rpartition("/")[2]
        wanted = sanitise(last).strip("_")
        if len(wanted) >= 3:
            found = self._containing(wanted.lower())
            if found:
                return found
        shared: dict[str, int] = {}
        for prefix in ("", "pci_", "mdev_"):  # for an address or a uuid alone
            position = bisect_left(self.names, prefix + wanted)
            for known in self.names[max(0, position - _NEAREST) : position + _NEAREST]:
                length = _common_prefix(prefix + wanted, known) - len(prefix)
                shared[known] = max(length, shared.get(known, 0))
        best = sorted(shared, key=lambda known: -shared[known])[:_NEAREST]
        return tuple([known for known in best if shared[known] >= 3])

    def _containing(self, wanted: str) -> tuple[str, ...]:
        """Return the first names that contain a text, whose letters are small."""
        text, lowered = self._names_text
        found: list[str] = []
        at = lowered.find(wanted)
        while at >= 0 and len(found) < _NEAREST:
            end = lowered.find("\n", at)
            end = len(lowered) if end < 0 else end
            found.append(text[lowered.rfind("\n", 0, at) + 1 : end])
            at = lowered.find(wanted, end)
        return tuple(found)


_Named: TypeAlias = Device | tuple[Device, ...]
"""The devices of one kernel name; usually it is one."""


def _by_sysname(devices: Iterable[Device]) -> dict[str, _Named]:
    """Return devices by their kernel names, those of one kernel name sorted by name."""
    found: dict[str, list[Device]] = {}
    for device in devices:
        if device.sysname is not None:
            found.setdefault(device.sysname, []).append(device)
    return {
        sysname: named[0] if len(named) == 1 else tuple(sorted(named, key=lambda one: one.name))
        for sysname, named in found.items()
    }


def _by_path(devices: Iterable[Device]) -> dict[str, Device]:
    return {device.path: device for device in devices if device.path is not None}


def _is_below(device: Device, parent: str) -> bool:
    """Return whether an mdev's parent has this kernel name, in libvirt's spelling."""
    above = (device.path or "/").split("/")[-2]
    return sanitise(above) == sanitise(parent)


def _common_prefix(one: str, other: str) -> int:
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return length
