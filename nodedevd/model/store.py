"""Store: the snapshot being served, its recent history, and each device's encoded bytes.

Lives on the event loop. A device that an update left alone keeps its identity, and so its
bytes. Every change has a generation of its own, so a client that knows one generation can be
told exactly what came after it, as long as the history reaches back that far.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from nodedevd.formats import FORMATS, Format, XmlFormat
from nodedevd.model.changes import Change, Changed, Removed
from nodedevd.model.device import Device
from nodedevd.model.listing import entry
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.graft import Update

HISTORY_CHANGES = 16_384
"""Changes that are remembered for clients that have not seen them yet."""
ENCODED_BYTES = 8 << 20
"""Replies about them that are kept, so that they are made once for many watchers."""


class _Encoded:
    """The forms of one device, each made when it is first asked for.

    What a format shows of it is that of the current snapshot: the device's name and parent there.
    """

    __slots__ = ("device", "entry", "json", "placed", "texts")

    def __init__(self, device: Device) -> None:
        self.device = device
        self.entry: bytes | None = None
        self.json: bytes | None = None
        self.placed: dict[Format, Device | None] = {}  # None: not shown
        self.texts: dict[Format, _Texts] = {}


class _Texts(NamedTuple):
    """A device's XML by itself, and as the inside of a JSON string within a document."""

    alone: str
    within: bytes


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
            elif isinstance(change, Changed) and _moves_others(
                change, self.snapshot, update.snapshot
            ):
                self._encoded.clear()
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

    def entry(self, device: Device) -> bytes:
        """Return what a list tells of a device, as a JSON object."""
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
            placed[form] = format_.placed(device, self.snapshot) if shown else None
        return placed[form]

    def xml(
        self,
        device: Device,
        snapshot: Snapshot | None = None,
        *,
        form: Format = "nodedevd",
        within: bool = False,
    ) -> bytes:
        """Return a device's XML as the inside of a JSON string, without the quotes.

        Such pieces can be joined; nobody but a JSON reply ever carries them. `snapshot` is the
        one the device is of, the current one without; `form` shows the device. `within` is as it
        stands in a document of several devices.
        """
        if snapshot is not None and snapshot is not self.snapshot:
            # A stream that goes on over an update: the parent may be another one by now.
            placed = FORMATS[form].placed(device, snapshot)
            if placed != self.placed(device, form=form):
                return json_text(FORMATS[form].written(placed).at(1 if within else 0))
        texts = self._texts(device, form)
        return texts.within if within else json_text(texts.alone)

    def text(self, device: Device, *, form: Format) -> str:
        """Return a device's XML as it is, for protocols that carry it so."""
        return self._texts(device, form).alone

    def _texts(self, device: Device, form: Format) -> _Texts:
        encoded = self._of(device)
        texts = encoded.texts.get(form)
        if texts is None:
            placed = self.placed(device, form=form)
            assert placed is not None, f"the format {form} does not show {device.name}"
            out = FORMATS[form].written(placed)
            texts = encoded.texts[form] = _Texts(str(out), json_text(out.at(1)))
        return texts

    def _of(self, device: Device) -> _Encoded:
        encoded = self._encoded.get(device.name)
        if encoded is None or encoded.device is not device:
            encoded = _Encoded(device)
            # A stream may still be sending an older snapshot: its devices are not kept.
            if self.snapshot.get(device.name) is device:
                self._encoded[device.name] = encoded
        return encoded


def _moves_others(change: Changed, before: Snapshot, after: Snapshot) -> bool:
    """Tell whether a format shows other devices differently for this change of one.

    What lies below a device that a format shows no more, or by another name, has another parent
    there, unchanged itself.
    """
    return any(
        _name_in(format_, change.before, before) != _name_in(format_, change.device, after)
        for format_ in FORMATS.values()
    )


def _name_in(format_: XmlFormat, device: Device, snapshot: Snapshot) -> str | None:
    return format_.placed(device, snapshot).name if format_.shows(device) else None


def json_text(text: str) -> bytes:
    """Return text as the inside of a JSON string."""
    return msgspec.json.encode(text)[1:-1]
