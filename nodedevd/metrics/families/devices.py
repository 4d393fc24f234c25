"""devices: how many there are of each kind."""

from __future__ import annotations

from collections.abc import Iterator

from nodedevd.metrics.family import Family, Sample
from nodedevd.metrics.reading import Reading


def count(reading: Reading) -> Iterator[Family]:
    """Yield the numbers of devices by capability."""
    counts = reading.status.capability_counts.items()
    samples = tuple([Sample({"capability": name}, number) for name, number in counts])
    text = "Devices by capability, without inactive mdevs."
    yield Family("nodedev_devices", "gauge", text, samples)
