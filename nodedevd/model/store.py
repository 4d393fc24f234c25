"""Store: the snapshot that is served, and the recent changes that led to it.

A store belongs to the event loop. Every change has a generation of its own, so a client that
knows one generation can be sent exactly what followed it, as far back as the history reaches.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from nodedevd.model.changes import Change, Update
from nodedevd.model.snapshot import Snapshot

HISTORY_CHANGES = 16_384
"""Capacity of the history; a client that is further behind has to start over."""


class NumberedChange(NamedTuple):
    """A change, and the generation of the tree after it."""

    generation: int
    change: Change


class Store:
    """The current snapshot and its history.

    Attributes:
        instance: random; distinguishes the generations of this process from another's.
        snapshot: the current snapshot.
    """

    def __init__(self, snapshot: Snapshot | None = None, *, history: int = HISTORY_CHANGES) -> None:
        self.instance = os.urandom(8).hex()
        self.snapshot = Snapshot(generation=0) if snapshot is None else snapshot
        self._history: deque[NumberedChange] = deque(maxlen=history)
        self._observers: list[Callable[[Snapshot, Update], None]] = []
        self._wakes: set[Callable[[], None]] = set()
        self._watchers: set[object] = set()

    def begin(self, snapshot: Snapshot) -> None:
        """Set the first snapshot."""
        self.snapshot = snapshot

    def publish(self, update: Update) -> None:
        """Replace the snapshot, call the observers, then wake the subscribers."""
        before, self.snapshot = self.snapshot, update.snapshot
        if not update.changes:
            return
        first = update.snapshot.generation - len(update.changes) + 1
        for generation, change in enumerate(update.changes, first):
            self._history.append(NumberedChange(generation, change))
        for observe in self._observers:
            observe(before, update)
        for wake in tuple(self._wakes):
            wake()

    def after(self, generation: int) -> NumberedChange | None:
        """Return the change that followed a generation, None for the current generation.

        Raises KeyError if the history does not reach back so far, or the generation is not
        one of this store.
        """
        if generation == self.snapshot.generation:
            return None
        if not self._history or not (
            self._history[0].generation - 1 <= generation < self.snapshot.generation
        ):
            raise KeyError(generation)
        return self._history[generation + 1 - self._history[0].generation]

    def observe(self, observer: Callable[[Snapshot, Update], None]) -> None:
        """Call a function with the previous snapshot and each update that changes something.

        It runs when the new snapshot is in place and no subscriber is woken yet: here caches
        drop what has become wrong.
        """
        self._observers.append(observer)

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call a function after each update that changes something."""
        self._wakes.add(wake)

    def unsubscribe(self, wake: Callable[[], None]) -> None:
        """Stop calling it; a no-op if it is not subscribed."""
        self._wakes.discard(wake)

    def watch(self, watcher: object) -> None:
        """Count somebody who is told of changes by an observer."""
        self._watchers.add(watcher)

    def unwatch(self, watcher: object) -> None:
        """Count it no longer; a no-op if it is not counted."""
        self._watchers.discard(watcher)

    @property
    def subscriptions(self) -> int:
        """The number of those that are told of changes."""
        return len(self._wakes) + len(self._watchers)
