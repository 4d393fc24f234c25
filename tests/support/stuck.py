"""An attribute whose read does not return: a FIFO in a fake sysroot; and its time."""

from __future__ import annotations

import errno
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import pytest

PATIENCE_SECONDS = 20.0


class StuckAttribute:
    """Replaces a file, until it is freed."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._content = self._path.read_bytes()
        self._path.unlink()
        os.mkfifo(self._path)
        self._lock = threading.Lock()
        self._held: int | None = None

    @property
    def hanging(self) -> int:
        """The number of reads that hang: 1 from the first one on."""
        with self._lock:
            if self._held is None:
                with suppress(OSError):  # nobody reads it
                    self._held = self._try()
            return int(self._held is not None)

    def free(self) -> None:
        """Answer the reader and restore the file; fail if no reader comes."""
        writer = self._open()
        self._path.unlink()
        self._path.write_bytes(self._content)
        os.write(writer, self._content)
        os.close(writer)
        if self._held is not None:
            os.close(self._held)

    def wait_read(self) -> None:
        """Wait until it is read, and let the reader wait on; fail if no reader comes."""
        # The reader blocks in open(2) before, and in read(2) afterwards.
        self._held = self._open()

    def _open(self) -> int:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self._try()
            except OSError as error:
                if error.errno != errno.ENXIO or time.monotonic() > deadline:
                    raise
                time.sleep(0.001)

    def _try(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)


class Hanging(Protocol):
    """Something whose reads hang."""

    @property
    def hanging(self) -> int:
        """The number of reads that hang, or did."""


class HangingClock:
    """The clock by which reads hang: it stands, and goes on by an hour with each that does hang.

    By the real clock a read that is only late, on a busy machine, would be taken for one.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._watched: list[Hanging] = []
        for module in ("nodedevd.follow.hangs", "nodedevd.host.job"):
            monkeypatch.setattr(f"{module}.time", self)

    def watch(self, *watched: Hanging) -> None:
        """Go on with what hangs there."""
        self._watched += watched

    def monotonic(self) -> float:
        """Return the time in seconds."""
        return 3600.0 * sum(one.hanging for one in self._watched)
