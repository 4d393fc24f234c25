"""Publisher: keeps a host's keys in the bucket the same as the host's state.

There is no queue: what is written is what the host has when it is written. After any error it
reads its own keys anew, and writes what differs. Every write says what the key must have been, so
that no late write of another connection, or of another publisher, takes the state back.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from nodedevd.client.fleet.bucket import Bucket, Entry
from nodedevd.client.fleet.errors import FleetError, FleetFull, FleetUnreachable, WrongSequence
from nodedevd.client.fleet.hosts import INTERVALS
from nodedevd.client.fleet.values import (
    PART_BYTES,
    PARTS_AT_MOST,
    VERSION,
    Alive,
    DaemonState,
    Newer,
    Summary,
    Unreadable,
    alive_key,
    alive_of,
    summary_key,
    summary_of,
    tree_key,
)
from nodedevd.errors import NodedevError
from nodedevd.publish.configuration import Configuration
from nodedevd.publish.identity import Identity
from nodedevd.publish.source import Source, State

log = logging.getLogger(__name__)

_PAUSES: Final = (0.2, 5.0)
_DAEMON_SECONDS: Final = 2.0
_COST: Final = 10
"""A state that takes long to make is made less often: in a tenth of the time at the most."""
_VERIFIED: Final = 4
"""After so many heartbeats, the own summary is read again: somebody may have deleted it."""


class PublishedByOther(NodedevError):
    """Another publisher lives that writes for this host."""

    code = "published-by-other"
    host: str
    other: str
    lost: bool
    """whether it took the host over from this one"""

    def __str__(self) -> str:
        what = "has taken over" if self.lost else "publishes"
        return (
            f"another nodedevd-publish, {self.other}, {what} the host {self.host!r}; give one of"
            " both machines another `host` in fleet.toml, or stop the other"
        )


class Publisher:
    """Publishes one host; `run` does, until it is cancelled."""

    def __init__(
        self,
        configuration: Configuration,
        source: Source,
        identity: Identity,
        *,
        on_state: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Prepare.

        Args:
            configuration: Where to, as whom, how often.
            source: The state of the host.
            identity: The name of this publisher.
            on_state: Called with what it does, in words, when that changes.
        """
        self._configuration = configuration
        self._host = configuration.own_id
        self._source = source
        self._identity = identity
        self._on_state = on_state
        self._sequences: dict[str, int] = {}
        self._summary: Summary | None = None
        """as it is written; None if that is not known"""
        self._tree: str | None = None
        """hash of the tree that is written; None if that is not known"""
        self._confirmed: Summary | None = None
        """the newest of which this publisher knows that it was the host's state"""
        self._beaten: tuple[DaemonState, bool] | None = None
        """what the last heartbeat has said"""
        self._held = False
        """whether the host is this publisher's"""
        self._told = ""
        self._behind: float | None = None
        """since when the host has a state that is not written"""
        self._pause = _PAUSES[0]
        self.writes = 0

    async def run(self) -> None:
        """Publish until cancelled. Raises nothing that a server, or the daemon, may cause."""
        self._pause = _PAUSES[0]
        with suppress(TimeoutError):  # so that the first heartbeat knows of the daemon
            await asyncio.wait_for(self._source.changed.wait(), _DAEMON_SECONDS)
        while True:
            bucket = None
            try:
                bucket = await Bucket.open(self._configuration)
                await self._publish(bucket)
            except PublishedByOther as error:
                self._tell(str(error), logging.ERROR)
                self._pause = self._configuration.heartbeat_seconds
            except WrongSequence as error:
                # Unknown whether own or another's: the next round reads it.
                log.info("%s; reading it again", error)
            except FleetError as error:
                self._tell(f"cannot publish: {error}", logging.WARNING)
            finally:
                if bucket is not None:
                    await bucket.close()
            await asyncio.sleep(self._pause * random.uniform(0.5, 1))
            self._pause = min(2 * self._pause, _PAUSES[1])

    async def leave(self) -> None:
        """Write that this publisher was stopped in order, if the host is its own."""
        if not self._held:
            return
        with suppress(FleetError, TimeoutError):
            async with asyncio.timeout(2):
                bucket = await Bucket.open(self._configuration)
                try:
                    entry = await bucket.get(alive_key(self._host))
                    if _publisher(entry) == self._identity.name:
                        await self._beat(bucket, entry.sequence, left=True)
                finally:
                    await bucket.close()

    # -- one connection ------------------------------------------------------------------------

    async def _publish(self, bucket: Bucket) -> None:
        """Publish over one connection. Raises FleetError, PublishedByOther."""
        part_bytes = min(PART_BYTES, bucket.part_bytes)
        reading: asyncio.Future[State | None] | None = None
        try:
            # So that the first heartbeat knows whether the summary is the host's; but a daemon
            # that does not answer keeps no heartbeat from being written.
            begun, reading = self._read(part_bytes)
            await asyncio.wait({reading}, timeout=_DAEMON_SECONDS)
            await self._claim(bucket, reading.result() if reading.done() else None)
            beaten = beats = 0
            due = time.monotonic() + self._configuration.heartbeat_seconds
            earliest = 0.0
            looked = True
            while True:
                if self._source.changed.is_set() and self._behind is None:
                    self._behind = time.monotonic()
                if time.monotonic() >= due:
                    due = time.monotonic() + self._configuration.heartbeat_seconds
                    await self._beat(bucket, self._sequences[alive_key(self._host)])
                    beats += 1
                    if beats >= beaten + _VERIFIED:
                        beaten = beats
                        await self._verify(bucket)
                    looked = False  # what changes without an event is read again
                if reading is not None and reading.done():
                    state, reading = reading.result(), None
                    writes = self.writes
                    if state is not None:
                        await self._write(bucket, state)
                        self._behind = None
                    self._pause = _PAUSES[0]
                    least = self._configuration.publish_seconds if self.writes > writes else 0.0
                    earliest = begun + max(least, _COST * (state.cost_seconds if state else 0.0))
                if self._standing != self._beaten:
                    await self._beat(bucket, self._sequences[alive_key(self._host)])
                looks = self._source.changed.is_set() or not looked
                if looks and reading is None and time.monotonic() >= earliest:
                    looked = True
                    begun, reading = self._read(part_bytes)
                await self._wait(bucket, due, earliest, reading)
        finally:
            if reading is not None:
                reading.cancel()

    def _read(self, part_bytes: int) -> tuple[float, asyncio.Future[State | None]]:
        """Begin to read the newest state; return when that was, and the future state."""
        self._source.changed.clear()
        return time.monotonic(), asyncio.ensure_future(self._source.read(part_bytes))

    async def _wait(
        self,
        bucket: Bucket,
        due: float,
        earliest: float,
        reading: asyncio.Future[State | None] | None,
    ) -> None:
        """Wait for the next heartbeat, a change, or a state.

        Raises FleetUnreachable when the connection is lost.
        """
        lost = asyncio.ensure_future(bucket.lost.wait())
        told = asyncio.ensure_future(self._source.told.wait())
        changed = asyncio.ensure_future(self._source.changed.wait())
        try:
            left = max(0.0, due - time.monotonic())
            waiting: set[asyncio.Future[Any]] = {lost, told}
            if reading is not None:
                waiting.add(reading)
            elif self._source.changed.is_set():
                left = min(left, max(0.0, earliest - time.monotonic()))
            else:
                waiting.add(changed)
            await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            self._source.told.clear()
            if bucket.lost.is_set():
                raise FleetUnreachable((bucket.server,), "the connection is lost")
        finally:
            for one in (lost, told, changed):
                one.cancel()

    async def _claim(self, bucket: Bucket, state: State | None) -> None:
        """Read the own keys, and make the host this publisher's. Raises PublishedByOther.

        The state is the host's, if it is known yet: what is written may be the same.
        """
        alive = await bucket.get(alive_key(self._host))
        summary = await bucket.get(summary_key(self._host))
        other = _publisher(alive)
        if other not in (None, self._identity.name):
            assert other is not None
            if self._held or other != self._identity.before:
                await self._refuse_if_alive(bucket, alive, other)
        self._sequences = {
            alive_key(self._host): alive.sequence,
            summary_key(self._host): summary.sequence,
        }
        await self._recognise(bucket, summary)
        if state is not None and self._summary is not None:
            own = self._summary_of(state)
            if own == replace(self._summary, publisher=own.publisher, changed=own.changed):
                self._confirmed = self._summary
        await self._beat(bucket, alive.sequence)
        if not self._held:
            self._held = True
            self._identity.keep()
        self._tell(f"publishing {self._host} to {bucket.server}")

    async def _recognise(self, bucket: Bucket, entry: Entry) -> None:
        """Note which of what is written need not be written again, whoever wrote it."""
        self._summary = self._tree = None
        if entry.value is None:
            return
        with suppress(Newer, Unreadable):
            summary = summary_of(entry.value)
            parts = []
            for number in range(summary.tree.parts):
                key = tree_key(self._host, number)
                part = await bucket.get(key)
                self._sequences[key] = part.sequence
                parts.append(part.value or b"")
            if hashlib.sha256(b"".join(parts)).hexdigest() == summary.tree.sha256:
                self._tree, self._summary = summary.tree.sha256, summary

    async def _refuse_if_alive(self, bucket: Bucket, alive: Entry, other: str) -> None:
        info = await bucket.info()
        found = _alive(alive)
        interval = self._configuration.heartbeat_seconds if found is None else found.interval
        left = found is not None and found.daemon == "left"
        if not left and info.now - alive.time <= INTERVALS * interval:
            raise PublishedByOther(self._host, other, self._held)
        log.warning("taking over the host %s from %s, which is gone", self._host, other)
        self._held = False

    async def _verify(self, bucket: Bucket) -> None:
        """Find an own summary that somebody has deleted or replaced. Raises WrongSequence."""
        key = summary_key(self._host)
        entry = await bucket.get(key)
        if entry.sequence != self._sequences[key] or entry.value is None:
            raise WrongSequence(key, self._sequences[key])

    # -- writes --------------------------------------------------------------------------------

    @property
    def _standing(self) -> tuple[DaemonState, bool]:
        """What a heartbeat says of the daemon, and whether the summary is known to be the host's.

        When that is another, the next heartbeat is due at once.
        """
        confirmed = self._summary is not None and self._summary == self._confirmed
        return self._source.daemon, confirmed

    async def _beat(self, bucket: Bucket, expected: int, *, left: bool = False) -> None:
        daemon, confirmed = self._beaten = self._standing
        alive = Alive(
            v=VERSION,
            publisher=self._identity.name,
            daemon="left" if left else daemon,
            interval=self._configuration.heartbeat_seconds,
            summary=self._sequences.get(summary_key(self._host), 0),
            behind=0.0 if self._behind is None else time.monotonic() - self._behind,
            confirmed=confirmed,
        )
        await self._put(bucket, alive_key(self._host), msgspec.json.encode(alive), expected)

    def _summary_of(self, state: State) -> Summary:
        room = state.room
        return Summary(
            v=VERSION,
            host=self._configuration.own_name,
            publisher=self._identity.name,
            instance=state.instance,
            generation=state.generation,
            changed=state.changed,
            devices=room.devices,
            counts=room.counts,
            tree=state.tree,
            types=room.types,
            cards=room.cards,
        )

    async def _write(self, bucket: Bucket, state: State) -> None:
        """Write a state, if it is not what is written."""
        summary = self._summary_of(state)
        before = self._summary
        if before is not None and replace(before, changed=state.changed) == summary:
            self._confirmed = before
            return
        if self._tree != state.tree.sha256:
            self._summary = self._tree = None  # its tree is no longer there
            await self._write_tree(bucket, state.parts)
            self._tree = state.tree.sha256
        key = summary_key(self._host)
        try:
            await self._put(bucket, key, msgspec.json.encode(summary), self._sequences[key])
        except FleetFull as error:
            self._tell(f"cannot publish: {error}", logging.ERROR)
            raise
        self._summary = self._confirmed = summary

    async def _write_tree(self, bucket: Bucket, parts: tuple[bytes, ...]) -> None:
        """Write the parts, the first one last; parts that are no longer needed are deleted."""
        for number in range(PARTS_AT_MOST, len(parts) - 1, -1):
            if self._sequences.get(tree_key(self._host, number)):
                await self._put_tree(bucket, number, None)
        for number in range(len(parts) - 1, -1, -1):
            await self._put_tree(bucket, number, parts[number])

    async def _put_tree(self, bucket: Bucket, number: int, value: bytes | None) -> None:
        key = tree_key(self._host, number)
        if key not in self._sequences:
            self._sequences[key] = (await bucket.get(key)).sequence
        await self._put(bucket, key, value, self._sequences[key])
        if value is None:
            del self._sequences[key]

    async def _put(self, bucket: Bucket, key: str, value: bytes | None, expected: int) -> None:
        self._sequences[key] = await bucket.put(key, value, expected)
        self.writes += 1

    def _tell(self, text: str, level: int = logging.INFO) -> None:
        if text != self._told:
            self._told = text
            log.log(level, "%s", text)
            self._on_state(text)


def _publisher(entry: Entry) -> str | None:
    """Return whose heartbeat it is; None if there is none."""
    if entry.value is None:
        return None
    try:
        return alive_of(entry.value).publisher
    except (Newer, Unreadable):
        return "(of another version)"


def _alive(entry: Entry) -> Alive | None:
    with suppress(Newer, Unreadable):
        return alive_of(entry.value or b"")
    return None
