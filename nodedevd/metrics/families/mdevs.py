"""mdevs: how many of the mdevs that mdevctl has defined run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.metrics.families.cards import card_label
from nodedevd.metrics.family import Family, Sample
from nodedevd.metrics.reading import Reading


def count(reading: Reading) -> Iterator[Family]:
    """Yield the numbers of defined mdevs by card and state."""
    counts: Counter[tuple[str, str]] = Counter()
    for device in reading.snapshot:
        mdev = device.capability(MdevChild)
        if mdev is not None and mdev.defined:
            counts[card_label(reading.snapshot, device), device.state] += 1
    samples = tuple(
        [
            Sample({"card": card, "state": state}, counts[card, state])
            for card, state in sorted(counts)
        ]
    )
    text = "Mdevs with a definition of mdevctl, by the state of the device: active means running."
    yield Family("nodedev_mdev_defined", "gauge", text, samples)
