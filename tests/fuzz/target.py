"""Target: a reader of hostile bytes, and what must hold for any bytes.

`check` raises for a defect: an assertion about what the reader returned, or any exception that the
reader does not declare. It neither needs atheris nor knows of it, so that the suite runs it, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple


class Target(NamedTuple):
    """One reader, or several that read the same."""

    name: str
    check: Callable[[bytes], None]
    reads: tuple[str, ...]
    """the modules whose coverage counts, by their path"""
    words: tuple[bytes, ...] = ()
    """pieces of valid input, which a fuzzer would take long to guess"""
    most_bytes: int = 2048
    """length of the longest input"""
    steps: tuple[int, int] = (2000, 60)
    """most function calls of a run, and of each byte of its input"""
    share: float = 1.0
    """its share of the runs of all targets: what is fast, and has much to find, gets more"""
    needs: tuple[str, ...] = ()
    """what it takes, of tests/support/needs.py"""


class Cutter:
    """Takes numbers and pieces off the front of an input; past its end all are empty."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """The number of bytes that are not taken yet."""
        return len(self._data) - self._at

    def byte(self) -> int:
        """Take one byte, 0 at the end."""
        taken = self.piece(1)
        return taken[0] if taken else 0

    def piece(self, size: int) -> bytes:
        """Take so many bytes, or what is left."""
        start, self._at = self._at, min(self._at + size, len(self._data))
        return self._data[start : self._at]

    def rest(self) -> bytes:
        """Take all that is left."""
        return self.piece(self.left)

    def pieces(self, size: int) -> Iterator[bytes]:
        """Take all that is left in pieces of a size, at least 1."""
        while self.left:
            yield self.piece(max(size, 1))
