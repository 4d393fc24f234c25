"""Standard output and standard error whose reader may leave early, as `head` does."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Pipe(io.BufferedWriter):
    """A buffered file descriptor that discards what is written after its reader has closed it.

    It catches the error here and not in the raw file below: Ctrl-C in a raw write of Python
    would leave the buffer full, and what was written would be written again.
    """

    abandoned = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write to the buffer, or discard all data."""
        try:
            return super().write(data)
        except BrokenPipeError:
            self._abandon()
            return memoryview(data).nbytes

    def flush(self) -> None:
        """Write what is in the buffer, or discard it."""
        try:
            super().flush()
        except BrokenPipeError:
            self._abandon()

    def _abandon(self) -> None:
        self.abandoned = True
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), self.fileno())


def survive_closed_pipes() -> None:
    """Let a command whose reader leaves end as usual, with its own exit status.

    Terminals, and streams that a caller has replaced, stay as they are.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not getattr(sys, f"__{name}__") or not isinstance(stream, io.TextIOWrapper):
            continue
        if not stream.isatty():
            setattr(sys, name, _surviving(stream))


def is_abandoned() -> bool:
    """Return whether the reader of standard output has left, as far as a write has shown."""
    buffer = getattr(sys.stdout, "buffer", None)
    return isinstance(buffer, _Pipe) and buffer.abandoned


def _surviving(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        _Pipe(io.FileIO(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
    )
