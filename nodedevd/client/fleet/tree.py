"""Tree: the devices of a host, as it has published them; it answers as a scan does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from nodedevd.client.fleet.errors import NoTree
from nodedevd.client.fleet.hosts import Host
from nodedevd.client.fleet.values import Summary
from nodedevd.formats import Format, dump
from nodedevd.lazy import lazy
from nodedevd.model.brief import DeviceList
from nodedevd.model.device import Device
from nodedevd.model.listing import Devices, XmlDocument, entry
from nodedevd.model.snapshot import Snapshot
from nodedevd.undecodable import UNDECODABLE

DEPTH_AT_MOST: Final = 256
"""Number of ancestors: the longest path in sysfs that was seen has less than thirty."""


class Tree:
    """The published devices of a host."""

    def __init__(self, host: Host, summary: Summary, text: bytes) -> None:
        self.host = host
        self.summary = summary
        self.text = text
        """the JSON of all devices, as the host published it; not parsed yet"""

    @lazy
    def snapshot(self) -> Snapshot:
        """The devices. Raises NoTree if they are of another version, or no tree."""
        try:
            found = msgspec.json.decode(self.text, type=Devices)
        except UNDECODABLE as error:
            raise NoTree(self.host.id, f"published by another version: {error}") from None
        snapshot = Snapshot(found.devices, generation=found.generation)
        if not _has_roots(snapshot):
            raise NoTree(self.host.id, f"a device has more than {DEPTH_AT_MOST} ancestors")
        return snapshot

    def list(self, capabilities: Sequence[str] | None = None) -> DeviceList:
        """Return the devices with any of the capabilities, in brief."""
        found = self.snapshot.select(capabilities)
        return DeviceList(self.snapshot.generation, tuple([entry(device) for device in found]))

    def describe(self, name: str) -> Device:
        """Return one device. Raises NoSuchDevice."""
        return self.snapshot.lookup(name)

    def snapshot_json(self, names: Sequence[str] | None = None) -> bytes:
        """Return the named devices, or all, as one JSON document. Raises NoSuchDevice, NoTree."""
        snapshot = self.snapshot
        if names is None:
            return self.text
        named = dict.fromkeys(map(snapshot.lookup, names))
        return msgspec.json.encode(Devices(snapshot.generation, tuple(named)))

    def dump_xml(self, names: Sequence[str] | None = None, *, form: Format = "nodedevd") -> str:
        """Return the XML of the named devices, or of all. Raises NoSuchDevice, NotInFormat."""
        return dump(self.snapshot, names, form)

    def xml_document(
        self, names: Sequence[str] | None = None, *, form: Format = "nodedevd"
    ) -> XmlDocument:
        """Return the same with its generation. Raises NoSuchDevice, NotInFormat."""
        return XmlDocument(self.snapshot.generation, self.dump_xml(names, form=form))


def _has_roots(snapshot: Snapshot) -> bool:
    """Return whether the climb from any device to a root ends soon: no device is above itself."""
    depths: dict[str, int] = {}
    for device in snapshot:
        chain: list[str] = []
        above: Device | None = device
        while above is not None and above.name not in depths:
            chain.append(above.name)
            if len(chain) > DEPTH_AT_MOST:
                return False
            above = snapshot.get(above.parent or "")
        depth = 0 if above is None else depths[above.name]
        if depth + len(chain) > DEPTH_AT_MOST:
            return False
        depths.update((name, depth + more) for more, name in enumerate(reversed(chain), 1))
    return True
