"""Freshness: the protocol by which a server gets volatile values that are recent enough.

The kernel changes some values without a uevent: how many more mdevs of a type a device can
create, which profile a vGPU has. A server asks for a refresh before it shows such a device, and
may serve the reply again until the values are too old.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Protocol

from nodedevd.model.device import Device


class Freshness(Protocol):
    """Keeps the volatile values of devices as recent as the daemon promises."""

    def refresh(self, devices: Iterable[Device]) -> Awaitable[None] | None:
        """Read the volatile values of these devices again where they are too old.

        Returns an awaitable that ends when the store has the new values, and None if all of
        them are recent enough.
        """

    def fresh_until(self, device: Device) -> float:
        """Return when the values of a device become too old, as time.monotonic().

        Infinity for a device without volatile values.
        """
