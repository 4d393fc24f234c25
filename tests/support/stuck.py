"""An attribute whose read does not return: a FIFO in a fake sysroot."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

PATIENCE_SECONDS = 20.0


class StuckAttribute:
    """Replaces a file, until it is freed."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._content = self._path.read_bytes()
        self._path.unlink()
        os.mkfifo(self._path)

    def free(self) -> None:
        """Answer the reader and restore the file; fail if no reader comes."""
        writer = self._open()
        self._path.unlink()
        self._path.write_bytes(self._content)
        os.write(writer, self._content)
        os.close(writer)

    def wait_read(self) -> None:
        """Wait until it is read, and let the reader wait on; fail if no reader comes."""
        # The reader blocks in open(2) before, and in read(2) afterwards.
        self._held = self._open()

    def _open(self) -> int:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO or time.monotonic() > deadline:
                    raise
                time.sleep(0.001)
