"""A monitor of uevents whose events come from the test, on a descriptor that is real."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterator

from nodedevd.host.events.lost import EventsLost
from nodedevd.host.events.udev import EventSource
from nodedevd.host.events.uevent import Uevent

PATIENCE_SECONDS = 20.0
"""After so long a test fails; what it waits for comes at once, or never."""


class FakeMonitor:
    """What `udev.Monitor` is to a follower; a byte in a pipe stands for each event.

    Attributes:
        drains: how often the follower came to read.
        closed: whether the follower gave it back.
    """

    def __init__(self, source: EventSource = "kernel") -> None:
        self.source = source
        self.drains = 0
        self.closed = False
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._waiting: deque[Uevent | EventsLost] = deque()

    def feed(self, *events: Uevent | EventsLost) -> None:
        """Have these arrive; an EventsLost is raised when its turn comes."""
        self._waiting.extend(events)
        os.write(self._write, bytes(len(events)))

    def overflow(self) -> None:
        """Report that the buffer was too small."""
        self.feed(EventsLost("ENOBUFS", overflow=True, usable=True))

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

    def drain(self) -> Iterator[Uevent]:
        """Yield what was fed."""
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
        """Give the pipe back."""
        self.closed = True
        os.close(self._read)
        os.close(self._write)


class FakeMonitors:
    """Opens fake monitors for a follower, or refuses to.

    Attributes:
        opened: all of them, the current one last.
        refusals: how many of the next tries fail with OSError.
        tries: how often one was asked for.
    """

    def __init__(self, refusals: int = 0) -> None:
        self.opened: list[FakeMonitor] = []
        self.refusals = refusals
        self.tries = 0

    def __call__(self, source: EventSource, buffer_bytes: int) -> FakeMonitor:
        self.tries += 1
        if self.refusals:
            self.refusals -= 1
            raise PermissionError("no netlink here")
        self.opened.append(FakeMonitor(source))
        return self.opened[-1]

    @property
    def current(self) -> FakeMonitor:
        """The monitor that is open."""
        return self.opened[-1]


async def eventually(condition: Callable[[], bool]) -> None:
    """Let the loop run until a condition holds; one that never does fails the test."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - files change without telling anyone
            await asyncio.sleep(0.001)
