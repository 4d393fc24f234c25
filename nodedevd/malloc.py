"""malloc: has glibc's allocator give memory that is free again back to the kernel.

Without this, what clients held once would stay with the process: a free block in the middle of
the heap is kept, and the size from which blocks are mapped on their own grows with each large one
that was freed. Source: mallopt(3), malloc_trim(3). With another C library, nothing is done.
"""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_THRESHOLD_BYTES: Final = 128 * 1024  # the defaults, which no longer change by themselves


def set_thresholds() -> None:
    """Map blocks from 128 KiB on, and trim the heap's end, whatever was freed before."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            mallopt(parameter, _THRESHOLD_BYTES)


def trim() -> None:
    """Give free memory back; this takes milliseconds after much was freed."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(ctypes.c_size_t(0))
