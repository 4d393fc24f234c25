"""The log: how many messages there are, and that nobody waits for it."""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nodedevd import logs
from nodedevd.logs import BURST, KINDS_MAX, PERIOD_SECONDS, BoundedHandler, RateLimit

ALICE, BOB = 1000, 1001


class Clock:
    """A time that tests set."""

    now = 100.0

    def __call__(self) -> float:
        """Return it."""
        return self.now


def record(
    text: str = "closing %s", *, line: int = 1, user: int | None = ALICE, level: int = logging.INFO
) -> logging.LogRecord:
    """Return a record from a place in the code about a user."""
    made = logging.LogRecord("server", level, "server.py", line, text, ("it",), None)
    if user is not None:
        made.user = user
    return made


def test_messages_of_one_kind_are_limited() -> None:
    """Those about another user, and those from another place, are another kind."""
    limit = RateLimit(Clock())
    assert [limit.filter(record()) for _ in range(BURST + 5)] == [True] * BURST + [False] * 5
    assert limit.filter(record(user=BOB))
    assert limit.filter(record(user=None))
    assert limit.filter(record(line=2))
    # The text may be another one each time, as asyncio's are, which has the task in it.
    assert not limit.filter(record("something else: %s"))
    assert limit.left_out == 6


def test_messages_that_are_left_out_are_counted_in_the_log() -> None:
    """When the period ends there is a summary, and the next messages are logged again."""
    clock = Clock()
    limit = RateLimit(clock)
    for number in range(BURST + 5):
        limit.filter(record(f"100%% of {number}: %s"))
    limit.filter(record(user=BOB))
    assert limit.summaries() == []
    clock.now += PERIOD_SECONDS
    (summary,) = limit.summaries()
    text = "5 more messages about user 1000 in 60 s, the last of them: 100% of 14: it"
    assert (summary.getMessage(), summary.levelno) == (text, logging.INFO)
    assert limit.filter(record())
    assert limit.summaries() == []


def test_debug_messages_are_not_limited() -> None:
    """Who asks for them wants all."""
    limit = RateLimit(Clock())
    assert all(limit.filter(record(level=logging.DEBUG)) for _ in range(BURST + 5))


@pytest.mark.slow
def test_kinds_are_bounded() -> None:
    """A user with many uids gets no more than one kind for the rest of them."""
    limit = RateLimit(Clock())
    logged = 0
    made = record()
    for uid in range(100_000):
        made.user = uid
        logged += limit.filter(made)
    assert logged == KINDS_MAX + BURST
    assert len(limit._kinds) == KINDS_MAX + 1


class Pipe:
    """A pipe that the log is written to."""

    def __init__(self) -> None:
        self.end, self.descriptor = os.pipe()
        self.handler = BoundedHandler(self.descriptor)
        self._rest = b""

    def fill(self) -> None:
        """Put as much into the pipe as it takes."""
        os.set_blocking(self.descriptor, False)
        try:
            while True:
                os.write(self.descriptor, b"x")
        except BlockingIOError:
            os.set_blocking(self.descriptor, True)

    def lines(self) -> Iterator[str]:
        """Yield the lines that arrive."""
        while True:
            line, end, rest = self._rest.partition(b"\n")
            if end:
                self._rest = rest
                yield line.decode()
            else:
                readable, _, _ = select.select([self.end], [], [], 30)
                assert readable, "no more lines"
                self._rest += os.read(self.end, 1 << 16)


@contextmanager
def piped() -> Iterator[Pipe]:
    """Log to a pipe."""
    pipe = Pipe()
    try:
        yield pipe
    finally:
        # While the thread waits for the pipe, closing it wakes nobody: it is read first.
        reader = threading.Thread(target=lambda: [*iter(lambda: os.read(pipe.end, 1 << 16), b"")])
        reader.start()
        pipe.handler.close()
        os.close(pipe.descriptor)
        reader.join()
        os.close(pipe.end)


@pytest.mark.slow
def test_log_that_nobody_reads_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are kept up to a limit, then dropped; what was dropped is logged when it is read."""
    monkeypatch.setattr(logs, "FLUSH_SECONDS", 0.01)
    with piped() as pipe:
        pipe.fill()
        for number in range(5000):
            pipe.handler.emit(record(f"{number} {'x' * 200} %s"))
        pipe.handler.flush()
        pipe.handler.flush()
        dropped = pipe.handler.dropped
        assert 3000 < dropped < 5000
        kept = 0
        for line in pipe.lines():
            if "were dropped" in line:
                assert line.startswith(f"{dropped} log messages were dropped")
                break
            kept += line.endswith(" it")
        assert kept == 5000 - dropped


def test_handler_ends_when_its_lines_are_written() -> None:
    """What was logged just before the end is written."""
    with piped() as pipe:
        pipe.handler.emit(record())
        pipe.handler.close()
        assert next(pipe.lines()) == "closing it"


def test_closed_standard_error_stops_nobody() -> None:
    """The messages are counted as dropped."""
    end, descriptor = os.pipe()
    os.close(end)
    handler = BoundedHandler(descriptor)
    try:
        handler.emit(record())
        handler.flush()
        assert handler.dropped == 1
    finally:
        handler.close()
        os.close(descriptor)


def test_message_that_cannot_be_formatted_is_a_line() -> None:
    """A defect in a message costs no more than its text."""
    with piped() as pipe:
        pipe.handler.emit(record("closing %s and %s"))
        assert next(pipe.lines()) == "a log message of server cannot be formatted"


FORGED = "disk\n<0>forged\u2028\x1b[2J\u202e\x85\udcff"


@pytest.mark.parametrize("journal", [False, True])
def test_name_cannot_forge_a_line(journal: bool) -> None:
    """A message is one line, whatever is in it; a traceback has lines of its own."""
    formatter = logs._LineFormatter("%(message)s", journal=journal)
    prefix = "<6>" if journal else ""
    escaped = r"disk\n<0>forged\u2028\x1b[2J\u202e\x85\udcff"
    assert formatter.format(record(FORGED + "%s")) == f"{prefix}{escaped}it"
    try:
        raise ValueError(FORGED)
    except ValueError as error:
        failed = record()
        failed.exc_info = (ValueError, error, error.__traceback__)
    lines = formatter.format(failed).split("\n")
    assert all(line.startswith(prefix) and line.isprintable() for line in lines)
    assert lines[:2] == [f"{prefix}closing it", f"{prefix}Traceback (most recent call last):"]


def test_what_python_writes_is_logged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An exception in a destructor, or of a thread."""
    seen: list[str] = []
    monkeypatch.setattr(logging, "error", lambda text, *args, **_: seen.append(text % args))
    thread = threading.Thread(target=lambda: 1 / 0, name="worker")
    monkeypatch.setattr(threading, "excepthook", logs._log_of_thread)
    thread.start()
    thread.join()
    assert len(seen) == 1
    assert "worker" in seen[0]
