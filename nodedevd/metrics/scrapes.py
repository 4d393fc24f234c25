"""scrapes: the metrics of this time, for all that ask at about the same time.

A daemon is asked once for them, in a thread of its own: however many clients there are, and
whatever they send, the daemon has at most one call at a time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from nodedevd.client import Client
from nodedevd.client.errors import ConnectionLost
from nodedevd.errors import NodedevError
from nodedevd.follow.worker_thread import WorkerThread
from nodedevd.metrics.families import collect
from nodedevd.metrics.family import Metrics
from nodedevd.metrics.reading import Reader
from nodedevd.metrics.text import Format, text_of

T = TypeVar("T")

FRESH_SECONDS: Final = 1.0
"""How old the metrics may be that a client gets."""
ANSWER_SECONDS: Final = 5.0
"""How long the daemon may take for a call."""

_log: Final = logging.getLogger(__name__)


class Asker:
    """Asks a daemon for metrics, again and again. Blocks; not for several threads at once."""

    def __init__(self, path: str | None = None) -> None:
        """Prepare; `path` is the daemon's socket, by default those that clients try."""
        self._path = path
        self._client: Client | None = None
        self._reader: Reader | None = None

    def read(self) -> Metrics:
        """Return the metrics of this time. Raises NoDaemon, and what else a client raises."""
        try:
            return collect(self._connected().read())
        except ConnectionLost:  # the daemon was started again
            return collect(self._connected().read())

    def _connected(self) -> Reader:
        if self._reader is None:
            self._client = Client(self._path, timeout_seconds=ANSWER_SECONDS)
            self._reader = Reader(self._client, followed=True)
        return self._reader

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()


class _Scrape:
    """One reading, and its texts."""

    def __init__(self, reading: asyncio.Future[Metrics]) -> None:
        self.reading = reading
        self.texts: dict[Format, asyncio.Future[bytes]] = {}
        self.until = 0.0


class Scrapes:
    """Shares metrics between clients; made on a running event loop."""

    def __init__(
        self, read: Callable[[], Metrics], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare.

        Args:
            read: Returns the metrics of this time. Blocks. Raises NodedevError, OSError.
            clock: Returns seconds.
        """
        self._read = read
        self._clock = clock
        self._thread = WorkerThread("metrics")
        self._scrape: _Scrape | None = None
        self._said: tuple[str, ...] = ()

    async def metrics(self) -> Metrics:
        """Return the metrics. Raises what `read` raises."""
        return await asyncio.shield(self._current().reading)

    async def text(self, form: Format) -> bytes:
        """Return them in a format. Raises what `read` raises, and NoMetricsLibrary."""
        scrape = self._current()
        found = await asyncio.shield(scrape.reading)
        text = scrape.texts.get(form)
        if text is None:
            text = scrape.texts[form] = self._thread.run(text_of, found.families, form)
            text.add_done_callback(_retrieve)
        return await asyncio.shield(text)

    def close(self, timeout_seconds: float) -> None:
        """Stop; a reading that is not done after the timeout is left to its thread."""
        self._thread.close(timeout_seconds)

    def _current(self) -> _Scrape:
        """Return the last scrape, or begin one if that is too old."""
        scrape = self._scrape
        if scrape is None or (scrape.reading.done() and self._clock() >= scrape.until):
            scrape = self._scrape = _Scrape(self._thread.run(self._read))
            scrape.reading.add_done_callback(partial(self._end, scrape))
        return scrape

    def _end(self, scrape: _Scrape, reading: asyncio.Future[Metrics]) -> None:
        # A failure is kept as long: a daemon that is down is not asked for each client, either.
        scrape.until = self._clock() + FRESH_SECONDS
        error = _retrieve(reading)
        if error is None:
            said = reading.result().missing
        elif isinstance(error, (NodedevError, OSError)):
            said = (str(error),)
        else:
            said = ()
            _log.error("cannot read metrics", exc_info=error)
        if said != self._said:
            self._said = said
            for sentence in said:
                _log.log(logging.INFO if error is None else logging.WARNING, "%s", sentence)


def _retrieve(future: asyncio.Future[T]) -> BaseException | None:
    """Return a future's exception, which asyncio then does not log if nobody waits for it."""
    return asyncio.CancelledError() if future.cancelled() else future.exception()
