"""Watch: the stream that tells a client what the devices are, and every change from then on.

It holds no queue: a position in the store's history is all a slow client costs. One that falls
behind further than the history reaches is told `resync`, and starts over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from nodedevd.model.changes import Added, Changed
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.store import Recent, Store
from nodedevd.server.varlink.service import Chunk
from nodedevd.tree.graft import tree_path

Content = Literal["none", "json", "xml"]


class Filter(msgspec.Struct, frozen=True):
    """Which devices a watcher wants to hear of; None is no filter."""

    capabilities: frozenset[str] | None = None
    """as `model.filter_words` returns them"""
    names: frozenset[str] | None = None
    """names and sysfs paths"""

    def matches(self, device: Device) -> bool:
        """Tell whether a device passes."""
        if self.capabilities is not None and not device.passes(self.capabilities):
            return False
        return self.names is None or device.name in self.names or device.path in self.names


class Watch:
    """The replies to one call of `Watch`; see `service.Stream`."""

    def __init__(
        self,
        store: Store,
        wanted: Filter,
        *,
        snapshot: bool,
        content: Content,
        since: int | None = None,
    ) -> None:
        self._store = store
        self._wanted = wanted
        self._snapshot = snapshot
        self._content = content
        self._wake: Callable[[], None] | None = None
        self._pending: Iterator[bytes] = iter(())
        if since is None:
            self._generation = store.snapshot.generation
            self._pending = self._begin(store.snapshot)
        else:
            self._generation = since
            try:
                store.after(since)
            except KeyError:
                self._resync()

    def start(self, wake: Callable[[], None]) -> None:
        """Begin to listen to the store."""
        self._wake = wake
        self._store.subscribe(wake)

    def next(self) -> Chunk | None:
        """Return what is to be told next, None if that is nothing now."""
        while True:
            pending = next(self._pending, None)
            if pending is not None:
                return Chunk(pending, last=False)
            try:
                recent = self._store.after(self._generation)
            except KeyError:
                self._resync()
                continue
            if recent is None:
                return None
            self._generation = recent.generation
            reply = self._tell(recent)
            if reply is not None:
                return Chunk(reply, last=False)

    def close(self) -> None:
        """Listen no more."""
        if self._wake is not None:
            self._store.unsubscribe(self._wake)
        self._pending = iter(())

    def _resync(self) -> None:
        snapshot = self._store.snapshot
        self._generation = snapshot.generation
        self._pending = self._begin(snapshot, resync=True)

    def _begin(self, snapshot: Snapshot, *, resync: bool = False) -> Iterator[bytes]:
        if resync:
            yield self._mark("resync", snapshot.generation)
        if self._snapshot:
            # From the root downwards, so that each device's parent is known before it.
            for device in sorted(snapshot, key=tree_path):
                if self._wanted.matches(device):
                    yield self._reply("present", snapshot.generation, device)
        yield self._mark("ready", snapshot.generation)

    def _tell(self, recent: Recent) -> bytes | None:
        change = recent.change
        before = change.device if not isinstance(change, Added) else None
        after = change.device if isinstance(change, (Added, Changed)) else None
        if isinstance(change, Changed):
            before = change.before
        was = before is not None and self._wanted.matches(before)
        now = after is not None and self._wanted.matches(after)
        if not was and not now:
            return None
        # To who sees only part of the tree, a device that comes to match is a new one.
        event = "changed" if was and now else "added" if now else "removed"
        key = (event, self._content)
        reply = recent.encoded.get(key)
        if reply is None:
            parts = change.parts if isinstance(change, Changed) and event == "changed" else None
            reply = self._reply(event, recent.generation, change.device, parts)
            self._store.keep(recent, key, reply)
        return reply

    def _mark(self, event: str, generation: int) -> bytes:
        return msgspec.json.encode(
            {"generation": generation, "instance": self._store.instance, "event": event}
        )

    def _reply(
        self,
        event: str,
        generation: int,
        device: Device,
        parts: tuple[str, ...] | None = None,
    ) -> bytes:
        head: dict[str, object] = {
            "generation": generation,
            "instance": self._store.instance,
            "event": event,
            "name": device.name,
            "path": device.path,
            "parent": device.parent,
            "capabilities": device.types,
        }
        if parts is not None:
            head["parts"] = parts
        text = msgspec.json.encode(head)
        if event == "removed" or self._content == "none":
            return text
        if self._content == "json":
            return b'%b,"device":%b}' % (text[:-1], self._store.json(device))
        return b'%b,"xml":"%b"}' % (text[:-1], self._store.xml(device))
