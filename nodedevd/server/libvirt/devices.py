"""NodeDevices: a store's devices as libvirt lists, filters and names them.

The libvirt format decides which devices are shown, with which names and XML. This module has
the filters, the lists of capabilities, and the events that a change causes.
Source: virConnectListAllNodeDevicesFlags and virNodeDeviceEventLifecycleType of libvirt.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

from nodedevd.errors import NoSuchDevice
from nodedevd.formats import FORMATS
from nodedevd.kinds import KIND_OF, LIBVIRT_FORMS
from nodedevd.kinds.scsi_host import ScsiHost
from nodedevd.model.changes import Added, Change, Removed, Update
from nodedevd.model.definitions import as_defined, has_autostart, is_definable, is_defined
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.store import NumberedChange
from nodedevd.names import ROOT
from nodedevd.server.encodings import Encodings
from nodedevd.server.libvirt import protocol as remote
from nodedevd.server.libvirt import xdr
from nodedevd.server.libvirt.registrations import Registrations, Wanted
from nodedevd.sorted_map import SortedMap
from nodedevd.steps import STEP_ITEMS, Steps

_FORMS: Final = tuple(LIBVIRT_FORMS.values())
_NESTED: Final = {word: 1 << bit for form in _FORMS for word, bit in form.nested_bits.items()}
_BITS: Final = {form.type: 1 << form.bit for form in _FORMS} | _NESTED
"""VIR_CONNECT_LIST_NODE_DEVICES_CAP_…, by libvirt's words for capabilities."""
CAPABILITIES: Final = frozenset(_BITS)
"""libvirt's words for capabilities"""
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

EVENT_LIFECYCLE: Final = 0
EVENT_UPDATE: Final = 1
STEP_ENTRIES: Final = 512
"""Entries of a list that are looked through in a step."""
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

    @property
    def wanted(self) -> Wanted:
        """The registration that is for this event alone."""
        return Wanted(EVENT_UPDATE if self.lifecycle is None else EVENT_LIFECYCLE, self.name)


class _Entry(NamedTuple):
    """A device in a list; `bits` are the filters that it passes."""

    device: Device
    name: str
    bits: int
    packed: bytes
    """the name as it is in a list, in XDR"""


class NodeDevices:
    """The devices of a store's current snapshot as libvirt shows them."""

    def __init__(self, encodings: Encodings) -> None:
        self.store = encodings.store
        self._encodings = encodings
        self._entries: SortedMap[_Entry] | None = None  # by nodedevd's own names
        self._by_name: dict[str, _Entry] = {}
        self._events: OrderedDict[int, tuple[DeviceEvent, ...]] = OrderedDict()
        self._packets: dict[DeviceEvent, bytes] = {}
        self.registrations = Registrations()
        self.store.observe(self._follow)

    def select(self, flags: int) -> Steps[list[bytes]]:
        """Return the names that pass a filter, each in XDR, sorted by nodedevd's own names."""
        wanted = [flags & group for group in _GROUPS if flags & group]
        entries = yield from self._list()
        found: list[bytes] = []
        for group in entries.in_groups(STEP_ENTRIES):
            found += [
                entry.packed
                for entry in group
                if not wanted or all(entry.bits & alternatives for alternatives in wanted)
            ]
            yield
        return found

    def having(self, capability: str | None) -> Steps[list[bytes]]:
        """Return the names of the devices with a capability; no device has an unknown one."""
        if capability is not None and capability not in _BITS:
            return []
        return (yield from self.select(0 if capability is None else _BITS[capability]))

    def find(self, name: str) -> Device | None:
        """Return a device by any name that `Snapshot.lookup` accepts, None if there is none.

        Raises NoSuchDevice for a device that the format does not show.
        """
        device = self.store.snapshot.find(name)
        if device is not None and self._encodings.placed(device, form="libvirt") is None:
            raise NoSuchDevice(name)
        return device

    def find_by_libvirt_name(self, name: str) -> Steps[Device]:
        """Return a device that `find` does not, such as an mdev whose own name is no uuid.

        Raises NoSuchDevice.
        """
        yield from self._list()
        entry = self._by_name.get(name)
        if entry is None:
            raise NoSuchDevice(name)
        return entry.device

    def find_scsi_host(self, wwnn: str, wwpn: str) -> Steps[Device]:
        """Return the Fibre Channel SCSI host with these World Wide Names.

        Raises NoSuchDevice.
        """
        wanted = (wwnn.lower().removeprefix("0x"), wwpn.lower().removeprefix("0x"))
        for group in self.store.snapshot.in_groups(STEP_ITEMS):
            for device in group:
                host = device.capability(ScsiHost)
                if host is None or host.fc_host is None:
                    continue
                if (host.fc_host.wwnn, host.fc_host.wwpn) == wanted and _LIBVIRT.shows(device):
                    return device
            yield
        raise NoSuchDevice(f"{wwnn},{wwpn}")

    def name(self, device: Device) -> str:
        """Return libvirt's name of a device."""
        return self._placed(device).name

    def parent(self, device: Device) -> str | None:
        """Return libvirt's name of a device's parent, None for `computer`."""
        return self._placed(device).parent

    def xml(self, device: Device, *, inactive: bool = False) -> bytes:
        """Return a device's XML, with `inactive` that of the definition of a persistent device."""
        if inactive:
            defined = self._placed(as_defined(self._encodings.seen(device)))
            return str(_LIBVIRT.written(defined)).encode()
        return self._encodings.document(device, form="libvirt")

    def keeps(self, device: Device, xml: bytes) -> bool:
        """Return whether these very bytes of XML stay in memory for all clients."""
        return xml is self._encodings.shared_xml(device, form="libvirt")

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

    def packet(self, event: DeviceEvent) -> bytes:
        """Return the packet of an event, for callback 0; it is encoded once for all clients."""
        packet = self._packets.get(event)
        if packet is None:
            if len(self._packets) >= _EVENTS_CACHED:
                self._packets.clear()
            if event.lifecycle is None:
                update = remote.UpdateMessage(0, event.name)
                packet = remote.encode_event(remote.EVENT_UPDATE, update)
            else:
                lifecycle = remote.LifecycleMessage(0, event.name, event.lifecycle, 0)
                packet = remote.encode_event(remote.EVENT_LIFECYCLE, lifecycle)
            self._packets[event] = packet
        return packet

    def _list(self) -> Steps[SortedMap[_Entry]]:
        """Return the shown devices; from the first time on, changes keep them up to date."""
        known: dict[str, _Entry] = {}
        while self._entries is None:
            snapshot = self.store.snapshot
            found: dict[str, _Entry] = {}
            for group in snapshot.in_groups(STEP_ITEMS):
                for device in group:
                    entry = known.get(device.name)
                    if entry is None or entry.device is not device:
                        entry = self._entry(device)
                    if entry is not None:
                        found[device.name] = entry
                yield
            known = found
            if snapshot is self.store.snapshot and self._entries is None:
                self._entries = SortedMap(found)
                self._by_name = {entry.name: entry for entry in found.values()}
        return self._entries

    def _follow(self, before: Snapshot, update: Update) -> None:
        if self._entries is not None:
            changed = {change.device.name for change in update.changes}
            added: dict[str, _Entry] = {}
            for name in changed:
                device, old = update.snapshot.get(name), self._entries.get(name)
                entry = None if device is None else self._entry(device)
                if old is not None and self._by_name.get(old.name) is old:
                    del self._by_name[old.name]
                if entry is not None:
                    added[name] = self._by_name[entry.name] = entry
            self._entries = self._entries.changed(changed - added.keys(), added)
        if self.registrations:
            first = update.snapshot.generation - len(update.changes) + 1
            for generation, change in enumerate(update.changes, first):
                events = self.events(NumberedChange(generation, change))
                for session in self.registrations.of(event.wanted for event in events):
                    session.note(generation)

    def _entry(self, device: Device) -> _Entry | None:
        if not _LIBVIRT.shows(device):
            return None
        state = ACTIVE if device.active else INACTIVE
        persistence = PERSISTENT if is_persistent(device) else TRANSIENT
        name = self.name(device)
        packed = xdr.encode(remote.STRING, name)
        return _Entry(device, name, _bits(device) | state | persistence, packed)

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
