"""The lines that a process prints, one by one."""

from __future__ import annotations

import os
import select
from typing import IO

from tests.support.running import PATIENCE_SECONDS


class Lines:
    """Reads a pipe, of which it is the only reader."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self.read = b""
        """the part of the next line that was read already"""

    def next(self) -> str:
        """Return the next line, without its end."""
        while b"\n" not in self.read:
            ready, _, _ = select.select([self._pipe], [], [], PATIENCE_SECONDS)
            assert ready, f"no line within {PATIENCE_SECONDS} s"
            data = os.read(self._pipe.fileno(), 1 << 16)
            assert data, "the process closed its output"
            self.read += data
        line, _, self.read = self.read.partition(b"\n")
        return line.decode()
