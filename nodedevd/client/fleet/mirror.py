"""Mirror: the newest values of all keys of a filter, kept the same as the bucket's.

It does not trust a subscription to go on. Deliveries are numbered, and the server beats while
there are none: a gap, a missing beat, or a leader that knows of a newer key, begins anew. To
begin anew is to collect everything into a fresh map, and then to exchange the maps: so what was
removed meanwhile, or lies in a bucket that was made again, is seen as well.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from nodedevd.client.fleet.bucket import BEAT_SECONDS, Bucket, Delivered, Entry, Subscription
from nodedevd.client.fleet.errors import FleetUnreachable

SILENCE_SECONDS: Final = 3 * BEAT_SECONDS + 0.5
"""How long a subscription may be silent."""
CATCH_UP_SECONDS: Final = 3.0
"""How long a replica may be behind the leader."""


class Mirror:
    """The keys of a filter; `collect` fills it, and begins anew."""

    def __init__(
        self, bucket: Bucket, keys: str, on_change: Callable[[str, Entry | None], None]
    ) -> None:
        """Prepare.

        Args:
            bucket: The connection.
            keys: The filter.
            on_change: Called with each key that is new or different, and with None for one that
                is no longer there.
        """
        self._bucket = bucket
        self.keys = keys
        self._on_change = on_change
        self.entries: dict[str, Entry] = {}
        self.last_sequence = 0
        self.restarts = 0
        self._subscription: Subscription | None = None
        self._number = 0
        self._collecting: dict[str, Entry] | None = None
        self._complete = asyncio.Event()
        self._heard = 0.0
        self._broken = False
        self._behind = 0
        self._epoch = 0

    @property
    def broken(self) -> bool:
        """Whether something was lost, or the server is silent, so that it has to begin anew."""
        return self._broken or time.monotonic() - self._heard > SILENCE_SECONDS

    async def collect(self, timeout_seconds: float = 30.0) -> None:
        """Collect all keys as the leader has them, and follow them. Raises FleetError."""
        await self.end()
        self.restarts += 1
        self._epoch = epoch = self._epoch + 1
        self._number = 0
        self._broken = False
        self._behind = 0
        self._complete.clear()
        fresh: dict[str, Entry] = {}
        self._collecting = fresh
        self._last = 0
        self._heard = time.monotonic()

        def deliver(delivered: Delivered) -> None:
            if self._epoch == epoch:
                self._deliver(delivered)

        def beat(number: int) -> None:
            if self._epoch == epoch:
                self._beat(number)

        self._subscription = await self._bucket.subscribe(self.keys, deliver, beat)
        if self._subscription.pending == 0 and not fresh:
            self._complete.set()
        deadline = time.monotonic() + timeout_seconds
        while not self._complete.is_set():
            if self.broken or self._bucket.lost.is_set() or time.monotonic() > deadline:
                raise FleetUnreachable((self._bucket.server,), "it stopped while it sent the hosts")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._complete.wait(), BEAT_SECONDS / 2)
        await self._catch_up(min(deadline, time.monotonic() + CATCH_UP_SECONDS))
        self._exchange(fresh)

    async def _catch_up(self, deadline: float) -> None:
        """Wait for what the leader has: a replica that was cut off delivers what it had then.

        Raises FleetError, if that does not arrive either.
        """
        newest = await self._bucket.last_sequence(self.keys)
        while self._last < newest:
            if self.broken or self._bucket.lost.is_set() or time.monotonic() > deadline:
                reason = "its replica is behind the leader"
                raise FleetUnreachable((self._bucket.server,), reason)
            await asyncio.sleep(0.01)

    async def check(self) -> None:
        """Ask the leader for anything newer; what has not arrived by the next check is lost.

        Raises FleetError.
        """
        newest = await self._bucket.last_sequence(self.keys)
        if self._behind and self.last_sequence < self._behind:
            self._broken = True
        self._behind = newest if newest > self.last_sequence else 0

    async def end(self) -> None:
        """End the subscription; the entries stay as they are."""
        self._epoch += 1
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.end()

    def _deliver(self, delivered: Delivered) -> None:
        self._heard = time.monotonic()
        if delivered.number != self._number + 1:
            self._broken = True
            return
        self._number = delivered.number
        if self._collecting is not None:
            self._collecting[delivered.key] = delivered.entry
            self._last = max(self._last, delivered.entry.sequence)
            if delivered.pending == 0:
                self._complete.set()
            return
        self.last_sequence = max(self.last_sequence, delivered.entry.sequence)
        self._set(delivered.key, delivered.entry)

    def _beat(self, number: int) -> None:
        self._heard = time.monotonic()
        if number > self._number:
            self._broken = True

    def _exchange(self, fresh: dict[str, Entry]) -> None:
        self._collecting = None
        self.last_sequence = self._last
        for key in self.entries.keys() - fresh.keys():
            del self.entries[key]
            self._on_change(key, None)
        for key, entry in fresh.items():
            if self.entries.get(key) != entry:
                self._set(key, entry)

    def _set(self, key: str, entry: Entry) -> None:
        if entry.value is None:
            if self.entries.pop(key, None) is not None:
                self._on_change(key, None)
            return
        self.entries[key] = entry
        self._on_change(key, entry)
