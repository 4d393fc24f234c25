"""A block device of the real kernel that nobody else uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ZRAM = Path("/sys/class/zram-control")


@contextmanager
def zram() -> Iterator[str]:
    """Make a zram device and return its kernel name; it is gone in the end."""
    number = (ZRAM / "hot_add").read_text().strip()
    try:
        yield f"zram{number}"
    finally:
        (ZRAM / "hot_remove").write_text(number)
