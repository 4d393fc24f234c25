"""logs: sends log records to standard error, one per line, with a priority for the journal.

Nothing that a client or a device does makes the log large: messages from the same place in the
code and about the same user are limited, and those that are left out are counted. And nobody
waits for the log: a thread writes what standard error does not take at once, and when too much is
left, lines are counted and dropped.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

_PRIORITIES: Final = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}
BURST: Final = 10
"""Messages of one kind that are logged within a period; debug messages are not limited."""
PERIOD_SECONDS: Final = 60.0
KINDS_MAX: Final = 256
"""Kinds that are counted apart; beyond, those of all users are one kind."""
QUEUE_BYTES: Final = 256 * 1024
"""Lines that may wait for standard error to take them."""
FLUSH_SECONDS: Final = 1.0
"""How long the end of the process waits for them."""


class _Kind:
    """What was logged from one place about one user in a period."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.logged = 0
        self.left_out = 0
        self.last = ("", logging.INFO, "")
        """logger, level and text of the last one that was left out"""


class RateLimit(logging.Filter):
    """Leaves out records when many of one kind arrive.

    A kind is a place in the code and the attribute `user` of the record, a uid, if it has one:
    `log.info(..., extra={"user": uid})`. A record with the attribute `always` is never left out.

    Attributes:
        left_out: the number of records that were left out so far.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.left_out = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: dict[tuple[object, ...], _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is logged."""
        if record.levelno <= logging.DEBUG or getattr(record, "always", False):
            return True
        now = self._clock()
        with self._lock:
            kind = self._kind(record, now)
            if kind.logged < BURST:
                kind.logged += 1
                return True
            kind.left_out += 1
            self.left_out += 1
            # As text: arguments and traceback would keep what they refer to in memory.
            kind.last = record.name, record.levelno, record.getMessage()
            return False

    def summaries(self) -> list[logging.LogRecord]:
        """Return a record for each kind whose period has ended and that left records out."""
        now = self._clock()
        with self._lock:
            ended = [(key, kind) for key, kind in self._kinds.items() if kind.until <= now]
            for key, _kind in ended:
                del self._kinds[key]
        return [_summary(kind, key) for key, kind in ended if kind.left_out]

    def _kind(self, record: logging.LogRecord, now: float) -> _Kind:
        place = (record.pathname, record.lineno)
        key: tuple[object, ...] = (*place, getattr(record, "user", None))
        kind = self._kinds.get(key)
        if kind is None and len(self._kinds) >= KINDS_MAX:
            key = place
            kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Kind(now + PERIOD_SECONDS)
        return kind


def _summary(kind: _Kind, place: tuple[Any, ...]) -> logging.LogRecord:
    path, line, *user = place
    whose = f" about user {user[0]}" if user and user[0] is not None else ""
    name, level, last = kind.last
    text = f"{kind.left_out} more messages{whose} in {PERIOD_SECONDS:g} s, the last of them: {last}"
    return _record(name, level, text, path, line)


def _record(name: str, level: int, text: str, path: str, line: int) -> logging.LogRecord:
    # The text is an argument: it may have a percent sign.
    return logging.LogRecord(name, level, path, line, "%s", (text,), None)


class BoundedHandler(logging.Handler):
    """Writes records to a file descriptor, from a thread of its own if it is not ready.

    Attributes:
        limit: what leaves records out.
        dropped: the number of records that the descriptor did not take.
    """

    def __init__(self, descriptor: int, limit: RateLimit | None = None) -> None:
        super().__init__()
        self.limit = limit or RateLimit()
        self.dropped = 0
        self.addFilter(self.limit)
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._reported = 0  # of the dropped
        self._closing = False
        self._stuck = False
        threading.Thread(target=self._write_all, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, queue it if that would block, or drop it if too many are queued."""
        try:
            line = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
        except Exception:
            line = f"a log message of {record.name} cannot be formatted\n".encode()
        with self._changed:
            if not self._lines and len(line) <= select.PIPE_BUF and self._is_ready():
                self.dropped += not self._write(line)
                return
            if self._bytes + len(line) > QUEUE_BYTES:
                self.dropped += 1
                return
            self._lines.append(line)
            self._bytes += len(line)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all lines are written, but not for long, and not again if that failed."""
        with self._changed:
            if not self._stuck:
                done = self._changed.wait_for(lambda: not self._lines, FLUSH_SECONDS)
                self._stuck = not done

    def close(self) -> None:
        """Write what is queued, if that does not take long."""
        self.flush()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        super().close()

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._closing, PERIOD_SECONDS / 10)
                if self._closing and not self._lines:
                    return
                line = self._lines[0] if self._lines else b""
            # Without the lock: this may wait for whoever reads standard error.
            written = not line or self._write(line)
            with self._changed:
                self._stuck = False
                if line:
                    self._lines.popleft()
                    self._bytes -= len(line)
                    self._changed.notify_all()
                self.dropped += not written
            if written:
                self._report()

    def _is_ready(self) -> bool:
        """Return whether PIPE_BUF bytes can be written without blocking."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(0))

    def _write(self, line: bytes) -> bool:
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError:
            return False
        return True

    def _report(self) -> None:
        """Log what was left out and dropped."""
        for summary in self.limit.summaries():
            self.emit(summary)
        if self.dropped > self._reported and not self._lines:
            count, self._reported = self.dropped - self._reported, self.dropped
            text = f"{count} log messages were dropped: standard error did not take them"
            self.emit(_record(__name__, logging.WARNING, text, __file__, 0))


class _LineFormatter(logging.Formatter):
    """Formats a record as one line, and a traceback as lines below it.

    Characters that are not printable are escaped: what a user has named cannot look like a
    message, or control a terminal.
    """

    def __init__(self, style: str, *, journal: bool) -> None:
        super().__init__(style)
        self._journal = journal

    def formatMessage(self, record: logging.LogRecord) -> str:
        return _escaped(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        lines = super().format(record).split("\n")
        # Before every line, `<N>`: see sd-daemon(3).
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>" if self._journal else ""
        return "\n".join(prefix + _escaped(line) for line in lines)


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def set_up_logging(verbosity: int, program: str = "nodedevd") -> None:
    """Log from INFO on; with a verbosity above 0 nodedevd's own records from DEBUG on.

    JOURNAL_STREAM in the environment shows that standard error is the journal. What Python
    itself would write to standard error, such as an exception that nobody catches in a thread, is
    logged.
    """
    handler = BoundedHandler(2)
    if "JOURNAL_STREAM" in os.environ:
        handler.setFormatter(_LineFormatter("%(message)s", journal=True))
    else:
        style = f"{program}: %(levelname)s: %(message)s"
        handler.setFormatter(_LineFormatter(style, journal=False))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("nodedevd").setLevel(logging.DEBUG if verbosity else logging.INFO)
    logging.captureWarnings(True)
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_of_thread


def lost_messages() -> tuple[int, int]:
    """Return how many messages were left out, being too many of a kind, and how many dropped."""
    handlers = [one for one in logging.getLogger().handlers if isinstance(one, BoundedHandler)]
    return sum(one.limit.left_out for one in handlers), sum(one.dropped for one in handlers)


def _log_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    text = unraisable.err_msg or "an exception is ignored"
    logging.error("%s: %r", text, unraisable.object, exc_info=unraisable.exc_value)


def _log_of_thread(args: threading.ExceptHookArgs) -> None:
    exc_info = args.exc_value or True
    logging.error("the thread %s ended", args.thread, exc_info=exc_info)
