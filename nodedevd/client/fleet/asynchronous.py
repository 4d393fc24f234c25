"""AsyncFleet and AsyncFleetWatch: ask a fleet, and follow its hosts, on asyncio."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Final, TypeVar

from nodedevd.client.deadline import Deadline
from nodedevd.client.errors import Closed, TimedOut
from nodedevd.client.fleet.access import Access, access
from nodedevd.client.fleet.bucket import Bucket, Entry, Info
from nodedevd.client.fleet.errors import (
    BadAccess,
    FleetError,
    FleetRefused,
    FleetUnreachable,
    NoFleet,
    NoNats,
    NoTree,
)
from nodedevd.client.fleet.fitting import FleetFits, Order, fleet_fits
from nodedevd.client.fleet.hosts import Host, Hosts, host_at, records
from nodedevd.client.fleet.mirror import Mirror
from nodedevd.client.fleet.tree import Tree
from nodedevd.client.fleet.values import (
    ALIVES,
    HOSTS,
    Newer,
    Unreadable,
    alive_key,
    host_of,
    summary_key,
    summary_of,
    tree_key,
    unpacked,
)
from nodedevd.client.fleet.watching import FleetEvent, FleetWatching
from nodedevd.errors import NodedevError

T = TypeVar("T")

CHECK_SECONDS: Final = 3.0
"""How often the leader is asked whether this reader is behind."""
_TICK_SECONDS: Final = 1.0
_PAUSES: Final = (0.1, 2.0)
_TREE_TRIES: Final = 5
_FOR_GOOD: Final = (BadAccess, FleetRefused, NoFleet, NoNats)
"""Errors that another try does not end: a one-shot call raises them at once."""


class AsyncFleet:
    """Asks the hosts of a fleet; an asynchronous context manager.

    Every call raises FleetUnreachable when no server can tell the newest state in time,
    FleetRefused, BadAccess, NoFleet, NoNats.
    """

    def __init__(
        self, servers: str | Sequence[str] | Access, *, timeout_seconds: float = 20.0
    ) -> None:
        """Prepare; it connects when it is first asked.

        Args:
            servers: URLs as `nats://127.0.0.1:4222`, or an Access with users and certificates.
            timeout_seconds: The longest time for a call; other servers are tried until then.
        """
        self._access = access(servers)
        self._timeout_seconds = timeout_seconds
        self._bucket: Bucket | None = None
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> AsyncFleet:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        bucket, self._bucket = self._bucket, None
        if bucket is not None:
            await bucket.close()

    async def hosts(self) -> Hosts:
        """Return all hosts with their summaries and states."""
        return await self._ask(_read_hosts)

    async def fits(self, wanted: str, count: int = 1, order: Order = "spread") -> FleetFits:
        """Return the hosts on which `count` vGPUs of a type fit, in order. Raises NoSuchType."""
        return fleet_fits(await self.hosts(), wanted, count, order)

    async def tree(self, host: str) -> Tree:
        """Return the newest published tree of a host. Raises NoSuchHost, NoTree."""
        found = (await self.hosts()).host(host)
        return await self.tree_of(found)

    async def tree_of(self, host: Host) -> Tree:
        """Return the newest tree of a host of which `hosts` has told. Raises NoTree."""
        return await self._ask(lambda bucket: _read_tree(bucket, host))

    async def forget(self, host: str) -> None:
        """Delete all that the bucket has of a host, as an administrator. Raises NoSuchHost."""
        found = (await self.hosts()).host(host)
        await self._ask(lambda bucket: _delete(bucket, found.id))

    def watch(self) -> AsyncFleetWatch:
        """Return a watch: the hosts, and then their changes, on a connection of its own."""
        return AsyncFleetWatch(self._access)

    async def _ask(self, call: Callable[[Bucket], Coroutine[Any, Any, T]]) -> T:
        deadline = Deadline(self._timeout_seconds)
        pause = _PAUSES[0]
        while True:
            try:
                async with self._lock:
                    bucket = self._bucket
                    if bucket is None or bucket.lost.is_set():
                        bucket = self._bucket = await Bucket.open(self._access)
                left = max(deadline.left or 0, self._access.timeout_seconds)
                return await asyncio.wait_for(call(bucket), left)
            except FleetRefused:
                # The server does not say which message it means: a later one would be refused, too.
                await self.close()
                raise
            except (FleetUnreachable, TimeoutError) as error:
                await self.close()
                if deadline.left is None or deadline.left <= pause:
                    if isinstance(error, FleetUnreachable):
                        raise
                    raise FleetUnreachable(self._access.shown, "timed out") from None
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, _PAUSES[1])


async def _read_hosts(bucket: Bucket) -> Hosts:
    async with _mirrors(bucket, lambda key, entry: None) as mirrors:
        for mirror in mirrors:
            await mirror.collect()
        entries = {**mirrors[0].entries, **mirrors[1].entries}
        info = await bucket.info()
    found = [host_at(one, info.now) for one in records(entries).values()]
    return Hosts(info.now, info.own_clock, tuple(found))


@asynccontextmanager
async def _mirrors(
    bucket: Bucket, on_change: Callable[[str, Entry | None], None]
) -> AsyncIterator[list[Mirror]]:
    # Heartbeats first: so no summary is older than the one that its heartbeat speaks of.
    mirrors = [Mirror(bucket, keys, on_change) for keys in (ALIVES, HOSTS)]
    try:
        yield mirrors
    finally:
        for mirror in mirrors:
            await mirror.end()


async def _read_tree(bucket: Bucket, host: Host) -> Tree:
    """Read the parts of a tree until they are those of the summary, which is another key."""
    reason = "it has none"
    for number in range(_TREE_TRIES):
        if number:
            await asyncio.sleep(0.1 * 2**number)
        entry = await bucket.get(summary_key(host.id))
        if entry.value is None:
            continue
        try:
            summary = summary_of(entry.value)
        except (Newer, Unreadable) as error:
            raise NoTree(host.id, f"its summary is not readable: {error}") from None
        parts = [
            (await bucket.get(tree_key(host.id, part))).value or b""
            for part in range(summary.tree.parts)
        ]
        try:
            return Tree(host, summary, unpacked(summary.tree, parts))
        except Unreadable as error:
            reason = str(error)
    raise NoTree(host.id, reason)


async def _delete(bucket: Bucket, host: str) -> None:
    keys = [alive_key(host), summary_key(host), tree_key(host)]
    keys += [tree_key(host, part) for part in range(1, 33)]
    for key in keys:
        entry = await bucket.get(key)
        if entry.value is not None:
            await bucket.put(key, None, entry.sequence)


class AsyncFleetWatch:
    """Yields the hosts and their changes, and says so when it cannot know of them.

    It survives whatever servers do: it opens another connection, begins anew, and yields the
    differences. An asynchronous iterator and context manager; it ends when it is closed.
    """

    def __init__(self, servers: Access, *, check_seconds: float = CHECK_SECONDS) -> None:
        self._access = servers
        self._check_seconds = check_seconds
        self._watching = FleetWatching()
        self._news = asyncio.Event()
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self._failure: NodedevError | None = None
        self._clock = (0.0, 0.0)
        self._own_clock = False
        self.connections = 0
        """how many connections were opened so far"""

    async def __aenter__(self) -> AsyncFleetWatch:
        self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncFleetWatch:
        return self

    async def __anext__(self) -> FleetEvent:
        try:
            event = await self.next()
        except Closed:
            raise StopAsyncIteration from None
        assert event is not None
        return event

    @property
    def reachable(self) -> bool:
        """Whether a server tells the newest state now."""
        return self._watching.reachable

    @property
    def own_clock(self) -> bool:
        """Whether the ages of heartbeats are by this machine's clock; see `Hosts`."""
        return self._own_clock

    def hosts(self) -> Iterable[Host]:
        """Return all hosts as they are known now, whether or not they were told of."""
        return self._watching.hosts()

    async def close(self) -> None:
        """End the watch."""
        self._closed = True
        self._news.set()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def next(self, timeout_seconds: float | None = None) -> FleetEvent | None:
        """Return the next event, None if there is none within so many seconds.

        Raises FleetRefused, BadAccess, NoFleet, NoNats before the first `ready`, later nothing: it
        goes on, and `unreachable` says why it cannot know. Raises Closed.
        """
        self._start()
        deadline = Deadline(timeout_seconds)
        while True:
            if self._closed:
                raise Closed
            event = self._watching.next()
            if event is not None:
                return event
            if self._failure is not None:
                raise self._failure
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), deadline.left)
            except TimeoutError:
                return None

    def _start(self) -> None:
        if self._task is None and not self._closed:
            self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        pause = _PAUSES[0]
        begun = False
        while True:
            bucket = None
            try:
                bucket = await Bucket.open(self._access)
                self.connections += 1
                async with _mirrors(bucket, self._on_change) as mirrors:
                    self._mirrors = mirrors
                    await self._begin(bucket, mirrors)
                    begun, pause = True, _PAUSES[0]
                    await self._follow(bucket, mirrors)
            except FleetError as error:
                self._lose(error)
                if isinstance(error, _FOR_GOOD) and not begun:
                    self._failure = error
                    return
            except Exception as error:
                self._failure = FleetUnreachable(self._access.shown, f"a defect: {error!r}")
                self._lose(self._failure)
                raise
            finally:
                if bucket is not None:
                    await bucket.close()
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, _PAUSES[1])

    async def _begin(self, bucket: Bucket, mirrors: Sequence[Mirror]) -> None:
        self._info = await bucket.info()
        self._set_clock(self._info)
        known = {one.id for one in self._watching.hosts()}
        for mirror in mirrors:
            await mirror.collect()
        # What this connection's mirrors do not have was removed while there was no connection.
        for host in known - set(self._hosts()):
            self._watching.set(host, {})
        self._watching.synchronised(self._now)
        self._news.set()

    async def _follow(self, bucket: Bucket, mirrors: Sequence[Mirror]) -> None:
        """Return never; raise FleetError when this connection cannot tell the state any more."""
        checked = time.monotonic()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(bucket.lost.wait(), _TICK_SECONDS)
            if bucket.lost.is_set():
                raise FleetUnreachable(self._access.shown, "the connection is lost")
            for mirror in mirrors:
                if mirror.broken:
                    await mirror.collect()
            if time.monotonic() - checked >= self._check_seconds:
                # Before it answers: what is delivered meanwhile may be newer than the answer.
                last = max(mirror.last_sequence for mirror in mirrors)
                info = await bucket.info()
                remade = info.created != self._info.created or info.last_sequence < last
                self._info = info
                self._set_clock(info)
                for mirror in mirrors:
                    await mirror.check()
                    if remade:
                        await mirror.collect()
                checked = time.monotonic()
            self._watching.at(self._now)
            self._news.set()

    def _hosts(self) -> Iterable[str]:
        return (host_of(key) for mirror in self._mirrors for key in mirror.entries)

    def _on_change(self, key: str, entry: Entry | None) -> None:
        host = host_of(key)
        entries = {
            one: found
            for one in (summary_key(host), alive_key(host))
            for mirror in self._mirrors
            if (found := mirror.entries.get(one)) is not None
        }
        self._watching.set(host, entries)
        if self._watching.reachable:
            self._news.set()

    def _lose(self, error: NodedevError) -> None:
        self._watching.lost(str(error))
        self._news.set()

    def _set_clock(self, info: Info) -> None:
        self._clock = info.now, time.monotonic()
        self._own_clock = info.own_clock

    @property
    def _now(self) -> float:
        """The server's time, as far as it is known."""
        told, at = self._clock
        return told + time.monotonic() - at


async def wait_for_hosts(
    watch: AsyncFleetWatch, reached: Callable[[list[Host]], bool], what: str, seconds: float | None
) -> list[Host]:
    """Wait until a condition holds for the hosts; return them. Raises TimedOut, FleetError."""
    deadline = Deadline(seconds)
    while True:
        event = await watch.next(deadline.left)
        found = list(watch.hosts())
        if watch.reachable and event is not None and event.event != "present" and reached(found):
            return found
        if event is None:
            state = "" if watch.reachable else "the fleet's servers do not answer"
            raise TimedOut(what, seconds or 0, state)
