"""Freshness without a host: notes what is asked for, and makes a reply wait if a test wants it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Iterable

from nodedevd.model.device import Device


class FakeFreshness:
    """Never reads anything; every refresh returns None.

    Attributes:
        asked: names of the devices of all refreshes, in order.
    """

    def __init__(self, fresh_seconds: float = 0.0) -> None:
        self.asked: list[str] = []
        self._fresh_seconds = fresh_seconds

    def refresh(self, devices: Iterable[Device]) -> Awaitable[None] | None:
        """Note the devices."""
        self.asked.extend(device.name for device in devices)
        return None

    def fresh_until(self, device: Device) -> float:
        """Return a time from now for a volatile device, and infinity for any other."""
        return time.monotonic() + self._fresh_seconds if device.is_volatile else math.inf


class GatedFreshness(FakeFreshness):
    """Every refresh waits until the test opens the gate.

    Attributes:
        gate: to be set by the test.
        cancelled: number of refreshes that were cancelled while they waited.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.cancelled = 0

    def refresh(self, devices: Iterable[Device]) -> Awaitable[None] | None:
        """Note the devices; return what waits for the gate."""
        super().refresh(devices)
        return self._wait()

    async def _wait(self) -> None:
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
