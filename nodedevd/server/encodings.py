"""Encodings: the devices of a store as JSON and XML, each encoded once.

One object serves all protocols. A device that an update left alone keeps its identity in the
next snapshot, and so its encoded bytes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from nodedevd.formats import FORMATS, Format, XmlFormat
from nodedevd.model.changes import Changed, Removed, Update
from nodedevd.model.device import Device, public
from nodedevd.model.listing import entry
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.store import Store
from nodedevd.server.reply_cache import with_line_feeds
from nodedevd.xml_writer import LINE_END, Out

_LINE_END: Final = LINE_END.encode()
_BYTES_OF_A_DEVICE: Final = 1536
"""Encodings that are cached, on average: as many are kept that were asked for less lately."""


class _Shown(msgspec.Struct, gc=False):
    """What a format shows of a device; the XML is made when it is first asked for."""

    form: Format
    placed: Device | None
    """None: the format does not show the device"""
    xml: bytes | None = None
    """the XML in JSON, where a line feed stands for an escaped one; see `with_line_feeds`"""


class _Encoded(msgspec.Struct, gc=False):
    """The encodings of one device; each is made when it is first asked for.

    The XML is that of the current snapshot: it has the device's name and parent there.
    """

    device: Device
    seen: Device
    """the device as clients see it"""
    entry: bytes | None = None
    json: bytes | None = None
    shown: tuple[_Shown, ...] = ()  # a dict would take five times as much memory


class Encodings:
    """Encodes devices of `store` for clients that see all of it, or what is public.

    What it encoded is cached; the two kinds of clients need an object each.

    A device's encodings are dropped when it is removed, and replaced when it changed. When a
    format shows or hides a device, or renames it, the parent of others changes in that format:
    then all are dropped. So are those that nobody has asked for lately, see `age`, and when all
    together take too much memory, those that were asked for least lately.
    """

    def __init__(self, store: Store, *, only_public: bool = False) -> None:
        self.store = store
        self._only_public = only_public
        self._encoded: dict[str, _Encoded] = {}  # asked for since the last `age`
        self._older: dict[str, _Encoded] = {}
        self._bytes = 0  # encoded, or asked for again, since the last `age`
        store.observe(self._invalidate)

    def age(self) -> bool:
        """Drop what was not asked for since the last call; return whether there is anything else.

        Called regularly, this frees the memory of what nobody needs any longer.
        """
        self._older, self._encoded, self._bytes = self._encoded, {}, 0
        return bool(self._older)

    def seen(self, device: Device) -> Device:
        """Return a device as the clients see it."""
        return public(device) if self._only_public else device

    def json(self, device: Device) -> bytes:
        """Return a device as a JSON object."""
        encoded = self._of(device)
        if encoded.json is None:
            encoded.json = self._counted(msgspec.json.encode(encoded.seen))
        return encoded.json

    def entry(self, device: Device) -> bytes:
        """Return a device's entry in a list as a JSON object."""
        encoded = self._of(device)
        if encoded.entry is None:
            encoded.entry = self._counted(msgspec.json.encode(entry(device)))
        return encoded.entry

    def placed(self, device: Device, *, form: Format) -> Device | None:
        """Return a device with its name and parent in a format, None if that does not show it."""
        return self._shown(device, form).placed

    def shows(self, device: Device, *, form: Format) -> bool:
        """Return whether a format shows a device, without keeping anything of it."""
        return FORMATS[form].shows_all or FORMATS[form].shows(self.seen(device))

    def document(self, device: Device, *, form: Format) -> bytes:
        """Return the XML document of a device that the format shows, in UTF-8.

        These are the bytes that `shared_xml` has, unless JSON escapes any of them.
        """
        shown = self._shown(device, form)
        xml = shown.xml or self._write(shown, form)
        if b"\\" in xml:  # in few; these are written again
            return str(self._written(shown, form)).encode()
        return xml

    def json_xml(self, device: Device, *, form: Format = "nodedevd") -> bytes:
        """Return the same document as the inside of a JSON string, without the quotes."""
        return with_line_feeds(self.shared_xml(device, form=form))

    def shared_xml(self, device: Device, *, form: Format) -> bytes:
        """Return the cached bytes, which `with_line_feeds` completes."""
        shown = self._shown(device, form)
        return shown.xml or self._write(shown, form)

    def json_piece(self, device: Device, snapshot: Snapshot, *, form: Format) -> bytes:
        """Return a device's part of a document of several, as the inside of a JSON string.

        The device is one of `snapshot`, which may be older than the current one while a stream
        is being sent: the device may have another parent by now.
        """
        shown = self._shown(device, form)
        if snapshot is not self.store.snapshot:
            placed = FORMATS[form].placed(self.seen(device), snapshot)
            if placed != shown.placed:
                return json_text(FORMATS[form].written(placed).at(1))
        xml = shown.xml or self._write(shown, form)
        return b"  %b\\n" % xml[:-1].replace(b"\n", rb"\n  ")

    def _shown(self, device: Device, form: Format) -> _Shown:
        encoded = self._of(device)
        for shown in encoded.shown:
            if shown.form == form:
                return shown
        format_ = FORMATS[form]
        seen = encoded.seen
        placed = format_.placed(seen, self.store.snapshot) if format_.shows(seen) else None
        shown = _Shown(form, placed)
        encoded.shown = (*encoded.shown, shown)
        return shown

    def _write(self, shown: _Shown, form: Format) -> bytes:
        """Write the XML of a device, once for all clients."""
        marked = json_text(self._written(shown, form).marked())
        xml = shown.xml = self._counted(marked.replace(_LINE_END, b"\n"))
        return xml

    def _written(self, shown: _Shown, form: Format) -> Out:
        assert shown.placed is not None, f"the format {form} does not show it"
        return FORMATS[form].written(shown.placed)

    def _counted(self, encoded: bytes) -> bytes:
        self._bytes += len(encoded)
        return encoded

    def _of(self, device: Device) -> _Encoded:
        name = device.name
        encoded = self._encoded.get(name)
        if encoded is not None and encoded.device is device:
            return encoded
        encoded = self._older.pop(name, None)
        size = 0
        if encoded is None or encoded.device is not device:
            encoded = _Encoded(device, self.seen(device))
        else:
            size = _size(encoded)
        # Devices of an older snapshot, which a stream may still be sending, are not cached.
        if self.store.snapshot.get(name) is device:
            if self._bytes > _BYTES_OF_A_DEVICE * len(self.store.snapshot):
                self.age()
            self._bytes += size
            self._encoded[name] = encoded
        return encoded

    def _invalidate(self, before: Snapshot, update: Update) -> None:
        for change in update.changes:
            if isinstance(change, Removed):
                self._encoded.pop(change.device.name, None)
                self._older.pop(change.device.name, None)
            elif isinstance(change, Changed) and _moves_others(change, before, update.snapshot):
                self._encoded.clear()
                self._older.clear()


def _size(encoded: _Encoded) -> int:
    """Return the size of what was encoded of a device."""
    texts = [encoded.entry or b"", encoded.json or b""]
    texts += [shown.xml or b"" for shown in encoded.shown]
    return sum(map(len, texts))


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
