"""Watch: the stream that sends a client the devices, and every change from then on.

A stream holds no queue: a slow client costs a position in the store's history. A client that
falls behind further than the history reaches is sent `resync`, and starts over.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from nodedevd.model.changes import Added, Change, Changed, Removed
from nodedevd.model.device import Device
from nodedevd.model.listing import Content
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.store import NumberedChange
from nodedevd.server.encodings import Encodings
from nodedevd.server.varlink.answers import NO_REPLY, Chunk
from nodedevd.steps import STEP_ITEMS

ChangeEvent = Literal["added", "changed", "removed"]

_NAME_BYTES = 79
"""of a name in a set, besides the string"""
CACHED_BYTES = 8 << 20
"""Capacity for replies about changes, which many watchers share."""


class Filter(msgspec.Struct, frozen=True):
    """Selects the devices of a watch; None does not filter."""

    capabilities: frozenset[str] | None = None
    """as `model.filter_words` returns them"""
    names: frozenset[str] | None = None
    """names and sysfs paths"""

    @property
    def own_bytes(self) -> int:
        """Memory that the names take: each a string, in a set.

        One character beyond U+FFFF has the whole string take four bytes a character.
        """
        return sum(_NAME_BYTES + sys.getsizeof(name) for name in self.names or ())

    def matches(self, device: Device) -> bool:
        """Return whether a device passes."""
        if self.capabilities is not None and not device.passes(self.capabilities):
            return False
        return self.names is None or device.name in self.names or device.path in self.names


class WatchReplies:
    """Encodes the replies of all watches on a store; those about a change are encoded once."""

    def __init__(self, encodings: Encodings, cached_bytes: int = CACHED_BYTES) -> None:
        self.store = encodings.store
        self._encodings = encodings
        self._capacity = cached_bytes
        self._cached: OrderedDict[tuple[int, ChangeEvent, Content], bytes] = OrderedDict()
        self.cached_bytes = 0
        """size of all cached replies"""

    def mark(self, event: Literal["ready", "resync"], generation: int) -> bytes:
        """Return the reply for an event without a device."""
        return msgspec.json.encode(
            {"generation": generation, "instance": self.store.instance, "event": event}
        )

    def present(self, generation: int, device: Device, content: Content) -> bytes:
        """Return the reply for a device of a snapshot."""
        return self._encode("present", generation, device, content)

    def change(self, numbered: NumberedChange, event: ChangeEvent, content: Content) -> bytes:
        """Return the reply for a change; `event` is what it is to the watcher."""
        generation, change = numbered
        key = (generation, event, content)
        reply = self._cached.get(key)
        if reply is None:
            parts = change.parts if isinstance(change, Changed) and event == "changed" else None
            reply = self._encode(event, generation, change.device, content, parts)
            self._cache(key, reply)
        return reply

    def _cache(self, key: tuple[int, ChangeEvent, Content], reply: bytes) -> None:
        self._cached[key] = reply
        self.cached_bytes += len(reply)
        while self.cached_bytes > self._capacity:
            _, oldest = self._cached.popitem(last=False)
            self.cached_bytes -= len(oldest)

    def _encode(
        self,
        event: str,
        generation: int,
        device: Device,
        content: Content,
        parts: tuple[str, ...] | None = None,
    ) -> bytes:
        head: dict[str, object] = {
            "generation": generation,
            "instance": self.store.instance,
            "event": event,
            "name": device.name,
            "path": device.path,
            "parent": device.parent,
            "capabilities": device.types,
            "state": device.state,
        }
        if parts is not None:
            head["parts"] = parts
        text = msgspec.json.encode(head)
        if event == "removed" or content == "none":
            return text
        if content == "json":
            return b'%b,"device":%b}' % (text[:-1], self._encodings.json(device))
        return b'%b,"xml":"%b"}' % (text[:-1], self._encodings.json_xml(device))


class WatchStream:
    """The replies to one call of `Watch`; see `answers.Stream`."""

    def __init__(
        self,
        replies: WatchReplies,
        wanted: Filter,
        *,
        snapshot: bool,
        content: Content,
        since: int | None = None,
    ) -> None:
        self._replies = replies
        self._store = replies.store
        self.own_bytes = wanted.own_bytes
        self.snapshot: Snapshot | None = None
        self._wanted = wanted
        self._snapshot = snapshot
        self._content = content
        self._wake: Callable[[], None] | None = None
        self._pending: Iterator[bytes] = iter(())
        if since is None:
            self._generation = self._store.snapshot.generation
            self._pending = self._begin(self._store.snapshot)
        else:
            self._generation = since
            try:
                self._store.after(since)
            except KeyError:
                self._resync()

    def start(self, wake: Callable[[], None]) -> None:
        """Subscribe to the store."""
        self._wake = wake
        self._store.subscribe(wake)

    def next(self) -> Chunk | None:
        """Return the next reply, None if there is none now."""
        for _ in range(STEP_ITEMS):
            pending = next(self._pending, None)
            if pending is not None:
                return Chunk(pending, last=False) if pending else NO_REPLY
            try:
                numbered = self._store.after(self._generation)
            except KeyError:
                self._resync()
                continue
            if numbered is None:
                return None
            self._generation = numbered.generation
            event = self._event(numbered.change)
            if event is not None:
                reply = self._replies.change(numbered, event, self._content)
                return Chunk(reply, last=False)
        return NO_REPLY

    def close(self) -> None:
        """Unsubscribe."""
        if self._wake is not None:
            self._store.unsubscribe(self._wake)
        self._pending = iter(())
        self.snapshot = None

    def _resync(self) -> None:
        snapshot = self._store.snapshot
        self._generation = snapshot.generation
        self._pending = self._begin(snapshot, resync=True)

    def _begin(self, snapshot: Snapshot, *, resync: bool = False) -> Iterator[bytes]:
        if resync:
            yield self._replies.mark("resync", snapshot.generation)
        if self._snapshot:
            self.snapshot = snapshot
            # From the root downwards, so that a client knows each device's parent before it.
            for group in snapshot.downwards_in_groups(STEP_ITEMS):
                for device in filter(self._wanted.matches, group):
                    yield self._replies.present(snapshot.generation, device, self._content)
                yield b""
            self.snapshot = None
        yield self._replies.mark("ready", snapshot.generation)

    def _event(self, change: Change) -> ChangeEvent | None:
        """Return what a change is to this watcher, None if the filter hides it.

        A device that comes to match the filter is added, one that ceases to match is removed.
        """
        before = change.before if isinstance(change, Changed) else change.device
        matched = not isinstance(change, Added) and self._wanted.matches(before)
        matches = not isinstance(change, Removed) and self._wanted.matches(change.device)
        if matched and matches:
            return "changed"
        return "added" if matches else "removed" if matched else None
