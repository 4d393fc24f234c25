"""freshness: what is asked before devices are shown that change without an event."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from nodedevd.model.device import Device

Fresh: TypeAlias = Callable[[Iterable[Device]], "Awaitable[None] | None"]
"""Has what changes without an event read again where it is too old to be served; None: none is."""

YoungUntil: TypeAlias = Callable[[Device], float]
"""Tells until when a device may be served as it is known, by time.monotonic()."""


def always_fresh(devices: Iterable[Device]) -> None:
    """Find nothing too old, as where nobody reads anything again."""


def young_until(device: Device) -> float:
    """Return the end of time, or its beginning for a device that changes without an event."""
    return 0.0 if device.is_volatile else math.inf
