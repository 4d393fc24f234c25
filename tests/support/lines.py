"""The lines that a process prints, waited for one by one."""

from __future__ import annotations

import os
import select
from typing import IO

from tests.support.running import PATIENCE_SECONDS


class Lines:
    """Reads a pipe that nobody else reads."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self.read = b""
        """what was read beyond the last line"""

    def next(self) -> str:
        """Return the next line, without its end."""
        while b"\n" not in self.read:
            ready, _, _ = select.select([self._pipe], [], [], PATIENCE_SECONDS)
            assert ready, "nothing was printed"
            data = os.read(self._pipe.fileno(), 1 << 16)
            assert data, "it printed no more"
            self.read += data
        line, _, self.read = self.read.partition(b"\n")
        return line.decode()
