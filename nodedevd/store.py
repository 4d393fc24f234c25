"""Store: the snapshot being served, and each device's encoded bytes, made once a version.

Lives on the event loop. A device that an update left alone keeps its identity, and so its
bytes.
"""

from __future__ import annotations

import msgspec

from nodedevd.dialects import native
from nodedevd.model import Device, Snapshot


class _Encoded:
    """The forms of one device, each made when it is first asked for."""

    __slots__ = ("device", "json", "xml")

    def __init__(self, device: Device) -> None:
        self.device = device
        self.json: bytes | None = None
        self.xml: bytes | None = None


class Store:
    """Holds the current snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._encoded: dict[str, _Encoded] = {}

    def publish(self, snapshot: Snapshot) -> None:
        """Serve another snapshot from now on."""
        kept = {
            device.name: encoded
            for device in snapshot
            if (encoded := self._encoded.get(device.name)) is not None and encoded.device is device
        }
        self.snapshot, self._encoded = snapshot, kept

    def json(self, device: Device) -> bytes:
        """Return a device as a JSON object."""
        encoded = self._of(device)
        if encoded.json is None:
            encoded.json = msgspec.json.encode(device)
        return encoded.json

    def xml(self, device: Device) -> bytes:
        """Return a device's XML as the inside of a JSON string, without the quotes.

        Such pieces can be joined; nobody but a JSON reply ever carries them.
        """
        encoded = self._of(device)
        if encoded.xml is None:
            encoded.xml = json_text(native.device_xml(device))
        return encoded.xml

    def _of(self, device: Device) -> _Encoded:
        encoded = self._encoded.get(device.name)
        if encoded is None or encoded.device is not device:
            encoded = _Encoded(device)
            # A stream may still be sending an older snapshot: its devices are not kept.
            if self.snapshot.get(device.name) is device:
                self._encoded[device.name] = encoded
        return encoded


def json_text(text: str) -> bytes:
    """Return text as the inside of a JSON string."""
    return msgspec.json.encode(text)[1:-1]
