"""NodeDevices: a store's devices as libvirt lists, filters and names them.

The libvirt format decides which devices are shown, with which names and XML. This module has
the filters, the lists of capabilities, and the events that a change causes.
Source: virConnectListAllNodeDevicesFlags and virNodeDeviceEventLifecycleType of libvirt.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Final, NamedTuple

from nodedevd.errors import NoSuchDevice
from nodedevd.formats import FORMATS
from nodedevd.kinds import KIND_OF, LIBVIRT_FORMS
from nodedevd.kinds.scsi_host import ScsiHost
from nodedevd.model.changes import Added, Change, Removed
from nodedevd.model.definitions import as_defined, has_autostart, is_definable, is_defined
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.store import NumberedChange
from nodedevd.names import ROOT
from nodedevd.server.encodings import Encodings

_FORMS: Final = tuple(LIBVIRT_FORMS.values())
_NESTED: Final = {word: 1 << bit for form in _FORMS for word, bit in form.nested_bits.items()}
_BITS: Final = {form.type: 1 << form.bit for form in _FORMS} | _NESTED
"""VIR_CONNECT_LIST_NODE_DEVICES_CAP_…, by libvirt's words for capabilities."""
_PARTS: Final = {form.type for form in _FORMS if form.within_others} | _NESTED.keys()
"""Those words that stand for a part of a device."""
PERSISTENT: Final = 1 << 28
TRANSIENT: Final = 1 << 29
INACTIVE: Final = 1 << 30
ACTIVE: Final = 1 << 31
_ALL_CAPABILITIES: Final = sum(_BITS.values())
_GROUPS: Final = (_ALL_CAPABILITIES, PERSISTENT | TRANSIENT, INACTIVE | ACTIVE)
"""The bits of a group are alternatives; a group without a bit set does not filter."""
FILTERS: Final = _GROUPS[0] | _GROUPS[1] | _GROUPS[2]

_EVENTS_CACHED: Final = 1024
_LIBVIRT: Final = FORMATS["libvirt"]


class LifecycleEvent(IntEnum):
    """virNodeDeviceEventLifecycleType."""

    CREATED = 0
    DELETED = 1
    DEFINED = 2
    UNDEFINED = 3


class DeviceEvent(NamedTuple):
    """An event for clients; `lifecycle` is None for an update."""

    name: str
    lifecycle: LifecycleEvent | None


class _Entry(NamedTuple):
    """A device in a list; `bits` are the filters that it passes."""

    device: Device
    name: str
    bits: int


class NodeDevices:
    """The devices of a store's current snapshot as libvirt shows them."""

    def __init__(self, encodings: Encodings) -> None:
        self.store = encodings.store
        self._encodings = encodings
        self._listed: Snapshot | None = None
        self._entries: dict[str, tuple[Device, _Entry | None]] = {}
        self._shown: dict[str, _Entry] = {}
        self._events: OrderedDict[int, tuple[DeviceEvent, ...]] = OrderedDict()

    def select(self, flags: int) -> list[str]:
        """Return the names of the devices that pass a filter, sorted by nodedevd's own names."""
        wanted = [flags & group for group in _GROUPS if flags & group]
        if not wanted:
            return list(self._list())
        return [
            entry.name
            for entry in self._list().values()
            if all(entry.bits & alternatives for alternatives in wanted)
        ]

    def having(self, capability: str | None) -> list[str]:
        """Return the names of the devices with a capability; no device has an unknown one."""
        if capability is None:
            return self.select(0)
        return self.select(_BITS[capability]) if capability in _BITS else []

    def find(self, name: str) -> Device:
        """Return a device by libvirt's name, or any that `Snapshot.lookup` accepts.

        Raises NoSuchDevice, also for a device that the format does not show.
        """
        try:
            device = self.store.snapshot.lookup(name)
        except NoSuchDevice:
            # libvirt's name of an mdev whose own is no uuid
            entry = self._list().get(name)
            if entry is None:
                raise
            device = entry.device
        if self._encodings.placed(device, form="libvirt") is None:
            raise NoSuchDevice(name)
        return device

    def find_scsi_host(self, wwnn: str, wwpn: str) -> Device:
        """Return the Fibre Channel SCSI host with these World Wide Names.

        Raises NoSuchDevice.
        """
        wanted = (wwnn.lower().removeprefix("0x"), wwpn.lower().removeprefix("0x"))
        for device in self.store.snapshot:
            host = device.capability(ScsiHost)
            if host is None or host.fc_host is None:
                continue
            if (host.fc_host.wwnn, host.fc_host.wwpn) == wanted and _LIBVIRT.shows(device):
                return device
        raise NoSuchDevice(f"{wwnn},{wwpn}")

    def name(self, device: Device) -> str:
        """Return libvirt's name of a device."""
        return self._placed(device).name

    def parent(self, device: Device) -> str | None:
        """Return libvirt's name of a device's parent, None for `computer`."""
        return self._placed(device).parent

    def xml(self, device: Device, *, inactive: bool = False) -> str:
        """Return a device's XML, with `inactive` that of the definition of a persistent device."""
        if inactive:
            return str(_LIBVIRT.written(self._placed(as_defined(self._encodings.seen(device)))))
        return self._encodings.text(device, form="libvirt")

    def capabilities(self, device: Device) -> list[str]:
        """Return libvirt's words for a device's capabilities, nested ones last."""
        bits = _bits(device)
        words = [word for word, bit in _BITS.items() if bits & bit]
        return sorted(words, key=lambda word: (word in _PARTS, _BITS[word]))

    def events(self, numbered: NumberedChange) -> tuple[DeviceEvent, ...]:
        """Return the events of a change, none if the format does not show it."""
        events = self._events.get(numbered.generation)
        if events is None:
            events = self._events[numbered.generation] = tuple(self._events_of(numbered.change))
            if len(self._events) > _EVENTS_CACHED:
                self._events.popitem(last=False)
        return events

    def _list(self) -> Mapping[str, _Entry]:
        """Return the shown devices by libvirt's names; entries of unchanged devices are reused."""
        snapshot = self.store.snapshot
        if snapshot is not self._listed:
            known, self._entries = self._entries, {}
            for device in snapshot:
                before, entry = known.get(device.name, (None, None))
                if before is not device:
                    entry = self._entry(device)
                self._entries[device.name] = device, entry
            entries = (entry for _, entry in self._entries.values())
            self._shown = {entry.name: entry for entry in entries if entry is not None}
            self._listed = snapshot
        return self._shown

    def _entry(self, device: Device) -> _Entry | None:
        if not _LIBVIRT.shows(device):
            return None
        state = ACTIVE if device.active else INACTIVE
        persistence = PERSISTENT if is_persistent(device) else TRANSIENT
        return _Entry(device, self.name(device), _bits(device) | state | persistence)

    def _placed(self, device: Device) -> Device:
        return _LIBVIRT.placed(device, self.store.snapshot)

    def _events_of(self, change: Change) -> Iterator[DeviceEvent]:
        before = None if isinstance(change, Added) else change.device
        after = None if isinstance(change, Removed) else change.device
        if not isinstance(change, (Added, Removed)):
            before = change.before
        before = before if before is not None and _LIBVIRT.shows(before) else None
        after = after if after is not None and _LIBVIRT.shows(after) else None
        if before is not None and after is not None and self.name(before) != self.name(after):
            yield from self._compare(before, None)
            before = None
        yield from self._compare(before, after)

    def _compare(self, before: Device | None, after: Device | None) -> Iterator[DeviceEvent]:
        device = after or before
        if device is None:
            return
        name = self.name(device)
        was_active, is_active = _is(before, active=True), _is(after, active=True)
        was_defined, is_defined = _is(before, active=False), _is(after, active=False)
        if was_active and not is_active:
            yield DeviceEvent(name, LifecycleEvent.DELETED)
        if was_defined and not is_defined:
            yield DeviceEvent(name, LifecycleEvent.UNDEFINED)
        if is_defined and not was_defined:
            yield DeviceEvent(name, LifecycleEvent.DEFINED)
        if is_active and not was_active:
            yield DeviceEvent(name, LifecycleEvent.CREATED)
        if (was_active, was_defined) == (is_active, is_defined) and self._differ(before, after):
            yield DeviceEvent(name, None)

    def _differ(self, before: Device | None, after: Device | None) -> bool:
        if before is None or after is None:
            return True
        if starts_itself(before) != starts_itself(after) or self.xml(before) != self.xml(after):
            return True
        # What mdevctl would start next time is a configuration of its own.
        defined = is_definable(before) and is_persistent(before)
        return defined and self.xml(before, inactive=True) != self.xml(after, inactive=True)


def is_persistent(device: Device) -> bool:
    """Return whether a device has a definition that survives a reboot; the host itself does."""
    return device.name == ROOT or is_defined(device)


def starts_itself(device: Device) -> bool:
    """Return whether a device is started together with its parent; the host itself is."""
    return device.name == ROOT or has_autostart(device)


def _is(device: Device | None, *, active: bool) -> bool:
    if device is None:
        return False
    return device.active if active else is_persistent(device)


def _bits(device: Device) -> int:
    bits = 0
    for capability in device.capabilities:
        form = LIBVIRT_FORMS.get(type(capability))
        if form is not None and form.shown(capability, device):
            bits |= 1 << form.bit
            nested = KIND_OF[type(capability)].nested
            bits |= sum(
                1 << bit for word, bit in form.nested_bits.items() if nested[word](capability)
            )
    return bits
