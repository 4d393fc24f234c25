"""Store: the snapshot being served, its recent history, and each device's encoded bytes.

Lives on the event loop. A device that an update left alone keeps its identity, and so its
bytes. Every change has a generation of its own, so a client that knows one generation can be
told exactly what came after it, as long as the history reaches back that far.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable

import msgspec

from nodedevd.assembly import Update
from nodedevd.dialects import DIALECTS, Format
from nodedevd.model import Change, Device, Removed, Snapshot

HISTORY_CHANGES = 16_384
"""Changes that are remembered for clients that have not seen them yet."""
ENCODED_BYTES = 8 << 20
"""Replies about them that are kept, so that they are made once for many watchers."""


class _Encoded:
    """The forms of one device, each made when it is first asked for."""

    __slots__ = ("device", "json", "text", "xml")

    def __init__(self, device: Device) -> None:
        self.device = device
        self.json: bytes | None = None
        self.xml: dict[tuple[Format, int, str | None], bytes] = {}  # by format, depth, parent
        self.text: dict[tuple[Format, str | None], str] = {}  # by format, parent


class Recent:
    """A change, with the generation it made, and what watchers are told of it."""

    __slots__ = ("change", "encoded", "generation")

    def __init__(self, generation: int, change: Change) -> None:
        self.generation = generation
        self.change = change
        self.encoded: dict[object, bytes] = {}
        """replies, made once for all watchers that want the same; see Store.keep"""


class Store:
    """Holds the current snapshot."""

    def __init__(
        self,
        snapshot: Snapshot | None = None,
        *,
        history: int = HISTORY_CHANGES,
        encoded_bytes: int = ENCODED_BYTES,
    ) -> None:
        self.instance = secrets.token_hex(8)
        """tells the generations of this process from another one's"""
        self.snapshot = snapshot or Snapshot(generation=0)
        self._encoded: dict[str, _Encoded] = {}
        self._history: deque[Recent] = deque(maxlen=history)
        self._encoded_bytes = encoded_bytes
        self._replies: deque[tuple[Recent, object]] = deque()
        self.replies_bytes = 0
        """size of all replies that are kept"""
        self._wakes: set[Callable[[], None]] = set()

    def begin(self, snapshot: Snapshot) -> None:
        """Serve the first snapshot."""
        self.snapshot = snapshot

    def publish(self, update: Update) -> None:
        """Serve another snapshot from now on, and tell who watches."""
        if not update.changes:
            self.snapshot = update.snapshot
            return
        first = update.snapshot.generation - len(update.changes) + 1
        for generation, change in enumerate(update.changes, first):
            self._history.append(Recent(generation, change))
            if isinstance(change, Removed):
                self._encoded.pop(change.device.name, None)
        self.snapshot = update.snapshot
        for wake in tuple(self._wakes):
            wake()

    def after(self, generation: int) -> Recent | None:
        """Return the change that followed a generation.

        Raises KeyError if it is forgotten, or the generation is none of this store's.
        """
        if generation == self.snapshot.generation:
            return None
        if not self._history or not (
            self._history[0].generation - 1 <= generation < self.snapshot.generation
        ):
            raise KeyError(generation)
        return self._history[generation + 1 - self._history[0].generation]

    def keep(self, recent: Recent, key: object, reply: bytes) -> None:
        """Keep a reply about a change, and forget the oldest ones if they are too many."""
        recent.encoded[key] = reply
        self._replies.append((recent, key))
        self.replies_bytes += len(reply)
        while self.replies_bytes > self._encoded_bytes:
            oldest, its_key = self._replies.popleft()
            self.replies_bytes -= len(oldest.encoded.pop(its_key))

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Have a function called after each update."""
        self._wakes.add(wake)

    def unsubscribe(self, wake: Callable[[], None]) -> None:
        """Have it called no more."""
        self._wakes.discard(wake)

    @property
    def subscriptions(self) -> int:
        """How many functions are called."""
        return len(self._wakes)

    def json(self, device: Device) -> bytes:
        """Return a device as a JSON object."""
        encoded = self._of(device)
        if encoded.json is None:
            encoded.json = msgspec.json.encode(device)
        return encoded.json

    def xml(
        self,
        device: Device,
        snapshot: Snapshot | None = None,
        *,
        form: Format = "nodedevd",
        depth: int = 0,
    ) -> bytes:
        """Return a device's XML as the inside of a JSON string, without the quotes.

        Such pieces can be joined; nobody but a JSON reply ever carries them. `snapshot` is the
        one the device is of, the current one without; `form` shows the device. `depth` is the
        number of levels the device stands in. Text of several lines must not be indented, so
        one depth cannot be made from another.
        """
        dialect = DIALECTS[form]
        placed = dialect.placed(device, snapshot or self.snapshot)
        encoded = self._of(device)
        # The parent is another one where a format leaves devices out: it can change alone.
        key = form, depth, placed.parent
        xml = encoded.xml.get(key)
        if xml is None:
            xml = encoded.xml[key] = json_text(dialect.device_xml(placed, depth=depth))
        return xml

    def text(self, device: Device, *, form: Format) -> str:
        """Return a device's XML as it is, for protocols that carry it so."""
        placed = DIALECTS[form].placed(device, self.snapshot)
        encoded = self._of(device)
        key = form, placed.parent
        text = encoded.text.get(key)
        if text is None:
            text = encoded.text[key] = DIALECTS[form].device_xml(placed)
        return text

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
