"""Encodings: the devices of a store as JSON and XML, each encoded once.

One object serves all protocols. A device that an update left alone keeps its identity in the
next snapshot, and so its encoded bytes.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from nodedevd.formats import FORMATS, Format, XmlFormat
from nodedevd.model.changes import Changed, Removed, Update
from nodedevd.model.device import Device
from nodedevd.model.listing import entry
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.store import Store


class _Xml(NamedTuple):
    """A device's XML as a document of its own, and as a piece of a document in JSON."""

    alone: str
    piece: bytes


class _Encoded:
    """The encodings of one device; each is made when it is first asked for.

    The XML is that of the current snapshot: it has the device's name and parent there.
    """

    __slots__ = ("device", "entry", "json", "placed", "xml")

    def __init__(self, device: Device) -> None:
        self.device = device
        self.entry: bytes | None = None
        self.json: bytes | None = None
        self.placed: dict[Format, Device | None] = {}  # None: the format does not show it
        self.xml: dict[Format, _Xml] = {}


class Encodings:
    """Encodes devices of `store`, and caches what it encoded.

    A device's encodings are dropped when it is removed, and replaced when it changed. When a
    format shows or hides a device, or renames it, the parent of others changes in that format:
    then all are dropped.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._encoded: dict[str, _Encoded] = {}
        store.observe(self._invalidate)

    def json(self, device: Device) -> bytes:
        """Return a device as a JSON object."""
        encoded = self._of(device)
        if encoded.json is None:
            encoded.json = msgspec.json.encode(device)
        return encoded.json

    def entry(self, device: Device) -> bytes:
        """Return a device's entry in a list as a JSON object."""
        encoded = self._of(device)
        if encoded.entry is None:
            encoded.entry = msgspec.json.encode(entry(device))
        return encoded.entry

    def placed(self, device: Device, *, form: Format) -> Device | None:
        """Return a device with its name and parent in a format, None if that does not show it."""
        placed = self._of(device).placed
        if form not in placed:
            format_ = FORMATS[form]
            shown = format_.shows(device)
            placed[form] = format_.placed(device, self.store.snapshot) if shown else None
        return placed[form]

    def text(self, device: Device, *, form: Format) -> str:
        """Return the XML document of a device that the format shows."""
        return self._xml(device, form).alone

    def json_xml(self, device: Device, *, form: Format = "nodedevd") -> bytes:
        """Return the same as the inside of a JSON string, without the quotes."""
        return json_text(self._xml(device, form).alone)

    def json_piece(self, device: Device, snapshot: Snapshot, *, form: Format) -> bytes:
        """Return a device's part of a document of several, as the inside of a JSON string.

        The device is one of `snapshot`, which may be older than the current one while a stream
        is being sent: the device may have another parent by now.
        """
        if snapshot is not self.store.snapshot:
            placed = FORMATS[form].placed(device, snapshot)
            if placed != self.placed(device, form=form):
                return json_text(FORMATS[form].written(placed).at(1))
        return self._xml(device, form).piece

    def _xml(self, device: Device, form: Format) -> _Xml:
        encoded = self._of(device)
        xml = encoded.xml.get(form)
        if xml is None:
            placed = self.placed(device, form=form)
            assert placed is not None, f"the format {form} does not show {device.name}"
            out = FORMATS[form].written(placed)
            xml = encoded.xml[form] = _Xml(str(out), json_text(out.at(1)))
        return xml

    def _of(self, device: Device) -> _Encoded:
        encoded = self._encoded.get(device.name)
        if encoded is None or encoded.device is not device:
            encoded = _Encoded(device)
            # Devices of an older snapshot, which a stream may still be sending, are not cached.
            if self.store.snapshot.get(device.name) is device:
                self._encoded[device.name] = encoded
        return encoded

    def _invalidate(self, before: Snapshot, update: Update) -> None:
        for change in update.changes:
            if isinstance(change, Removed):
                self._encoded.pop(change.device.name, None)
            elif isinstance(change, Changed) and _moves_others(change, before, update.snapshot):
                self._encoded.clear()


def _moves_others(change: Changed, before: Snapshot, after: Snapshot) -> bool:
    """Return whether a change of one device changes the parent of others in any format.

    Hiding or renaming a device changes the parent of its descendants in that format.
    """
    return any(
        _name_in(format_, change.before, before) != _name_in(format_, change.device, after)
        for format_ in FORMATS.values()
    )


def _name_in(format_: XmlFormat, device: Device, snapshot: Snapshot) -> str | None:
    return format_.placed(device, snapshot).name if format_.shows(device) else None


def json_text(text: str) -> bytes:
    """Return text as the inside of a JSON string, without the quotes; such pieces can be joined."""
    return msgspec.json.encode(text)[1:-1]
