"""A monitor whose events come from the test, on a descriptor that is real."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from nodedevd.host.events.lost import EventsLost
from nodedevd.host.events.udev import EventSource
from nodedevd.host.events.uevent import Uevent

PATIENCE_SECONDS = 20.0
"""A test fails after this time; what it waits for happens at once, or never."""


class FakeMonitor:
    """A `Monitor` of sources; a byte in a pipe stands for each event.

    Attributes:
        drains: how often it was drained.
        closed: whether it was closed.
    """

    def __init__(self) -> None:
        self.drains = 0
        self.closed = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._waiting: deque[object] = deque()

    def feed(self, *events: object) -> None:
        """Have these events arrive; an EventsLost is raised when its turn comes."""
        self._waiting.extend(events)
        os.write(self._write, bytes(len(events)))

    def overflow(self) -> None:
        """Report that the buffer was full."""
        self.feed(EventsLost("ENOBUFS", overflow=True, usable=True))

    def fail(self) -> None:
        """Report that the descriptor is broken."""
        self.feed(EventsLost("EBADF", overflow=False, usable=False))

    def uevent(self, action: str, path: str, subsystem: str | None = "pci") -> None:
        """Have one uevent arrive."""
        self.feed(Uevent(action, path, subsystem))

    @property
    def waiting(self) -> int:
        """How many events have not been drained."""
        return len(self._waiting)

    def fileno(self) -> int:
        """Return the descriptor to watch."""
        return self._read

    def drain(self) -> Iterator[Any]:
        """Yield the events that have arrived."""
        self.drains += 1
        while True:
            try:
                os.read(self._read, 1)
            except BlockingIOError:
                return
            event = self._waiting.popleft()
            if isinstance(event, EventsLost):
                raise event
            yield event

    def close(self) -> None:
        """Close the pipe."""
        self.closed = True
        os.close(self._read)
        os.close(self._write)


class FakeMonitors:
    """Opens fake monitors, or refuses to.

    Attributes:
        opened: all of them, the current one last.
        senders: who was to send the uevents of each.
        refusals: how many of the next tries fail with OSError.
        tries: how often a monitor was requested.
    """

    def __init__(self, refusals: int = 0) -> None:
        self.opened: list[FakeMonitor] = []
        self.senders: list[EventSource] = []
        self.refusals = refusals
        self.tries = 0

    def __call__(self, source: EventSource, buffer_bytes: int) -> FakeMonitor:
        self.senders.append(source)
        return self.open()

    def open(self) -> FakeMonitor:
        """Open one."""
        self.tries += 1
        if self.refusals:
            self.refusals -= 1
            raise PermissionError("no netlink here")
        self.opened.append(FakeMonitor())
        return self.opened[-1]

    @property
    def current(self) -> FakeMonitor:
        """The monitor that is open."""
        return self.opened[-1]


async def eventually(condition: Callable[[], bool]) -> None:
    """Let the loop run until a condition holds; fail after PATIENCE_SECONDS."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - files change without an event
            await asyncio.sleep(0.001)
