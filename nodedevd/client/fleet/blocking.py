"""Fleet and FleetWatch: ask a fleet, and follow its hosts, for programs that block.

An event loop in a thread of its own answers the servers' pings, whatever the program does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

from nodedevd.client.errors import Closed
from nodedevd.client.fleet.access import Access
from nodedevd.client.fleet.asynchronous import AsyncFleet, AsyncFleetWatch, wait_for_hosts
from nodedevd.client.fleet.fitting import FleetFits, Order
from nodedevd.client.fleet.hosts import Host, Hosts
from nodedevd.client.fleet.tree import Tree
from nodedevd.client.fleet.watching import FleetEvent

T = TypeVar("T")


class _LoopThread:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="nodedevd-fleet", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine, and return what it returns."""
        if self._loop.is_closed() or not self._thread.is_alive():
            coroutine.close()
            raise Closed
        future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the loop and its thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        finally:
            self._loop.close()


class Fleet:
    """Asks the hosts of a fleet; a context manager. The errors are those of `AsyncFleet`."""

    def __init__(
        self, servers: str | Sequence[str] | Access, *, timeout_seconds: float = 20.0
    ) -> None:
        """Prepare; it connects when it is first asked. The arguments are those of `AsyncFleet`."""
        self._thread = _LoopThread()
        self._fleet = AsyncFleet(servers, timeout_seconds=timeout_seconds)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, and end its watches."""
        try:
            self._thread.call(self._fleet.close())
        except Closed:
            return
        self._thread.stop()

    def hosts(self) -> Hosts:
        """Return all hosts with their summaries and states."""
        return self._thread.call(self._fleet.hosts())

    def fits(self, wanted: str, count: int = 1, order: Order = "spread") -> FleetFits:
        """Return the hosts on which `count` vGPUs of a type fit, in order. Raises NoSuchType."""
        return self._thread.call(self._fleet.fits(wanted, count, order))

    def tree(self, host: str) -> Tree:
        """Return the newest published tree of a host. Raises NoSuchHost, NoTree."""
        return self._thread.call(self._fleet.tree(host))

    def tree_of(self, host: Host) -> Tree:
        """Return the newest tree of a host of which `hosts` has told. Raises NoTree."""
        return self._thread.call(self._fleet.tree_of(host))

    def forget(self, host: str) -> None:
        """Delete all that the bucket has of a host, as an administrator. Raises NoSuchHost."""
        self._thread.call(self._fleet.forget(host))

    def watch(self) -> FleetWatch:
        """Return a watch: the hosts, and then their changes, on a connection of its own."""
        return FleetWatch(self._thread, self._fleet.watch())


class FleetWatch:
    """Yields the hosts and their changes; an iterator and context manager, see AsyncFleetWatch."""

    def __init__(self, thread: _LoopThread, watch: AsyncFleetWatch) -> None:
        self._thread = thread
        self._watch = watch

    def __enter__(self) -> FleetWatch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[FleetEvent]:
        while True:
            try:
                event = self.next()
            except Closed:
                return
            assert event is not None
            yield event

    @property
    def reachable(self) -> bool:
        """Whether a server tells the newest state now."""
        return self._watch.reachable

    @property
    def own_clock(self) -> bool:
        """Whether the ages of heartbeats are by this machine's clock; see `Hosts`."""
        return self._watch.own_clock

    def hosts(self) -> list[Host]:
        """Return all hosts as they are known now."""

        async def known() -> list[Host]:
            return list(self._watch.hosts())

        return self._thread.call(known())

    def next(self, timeout_seconds: float | None = None) -> FleetEvent | None:
        """Return the next event, None if there is none within so many seconds. Raises Closed."""
        return self._thread.call(self._watch.next(timeout_seconds))

    def wait_for(
        self,
        reached: Callable[[list[Host]], bool],
        what: str = "the condition",
        timeout_seconds: float | None = None,
    ) -> list[Host]:
        """Wait until a condition holds for the hosts; return them. Raises TimedOut, FleetError."""
        return self._thread.call(wait_for_hosts(self._watch, reached, what, timeout_seconds))

    def close(self) -> None:
        """End the watch."""
        try:
            self._thread.call(self._watch.close())
        except Closed:
            return
