"""Standard output and standard error whose reader may leave early, as `head` does."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Pipe(io.FileIO):
    """A file descriptor that discards what is written after its reader has closed it."""

    abandoned = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write once, or discard all data."""
        if not self.abandoned:
            try:
                return super().write(data)
            except BrokenPipeError:
                self.abandoned = True
        return memoryview(data).nbytes


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
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _Pipe) and raw.abandoned


def _surviving(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(_Pipe(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
    )
