"""in_use: how many of the devices that VFIO drives are open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from nodedevd.metrics.families.cards import card_label
from nodedevd.metrics.family import Family, Sample
from nodedevd.metrics.reading import Reading
from nodedevd.questions.in_use import REASONS

_STATES = {"yes": "open", "no": "closed", "unknown": "unknown"}
_UNTOLD = ("processes-unseen", "other-host")
"""For these reasons nothing is known of any device, but that some are open."""


def count(reading: Reading) -> Iterator[Family]:
    """Yield the numbers of devices by card and state; nothing if processes cannot be seen."""
    if why_missing(reading) is not None:
        return
    counts: Counter[tuple[str, str]] = Counter()
    for use in reading.in_use.devices:
        device = reading.snapshot.get(use.name)
        if device is not None:  # it has come since the devices were read
            counts[card_label(reading.snapshot, device), _STATES[use.open]] += 1
    samples = tuple(
        [
            Sample({"card": card, "state": state}, counts[card, state])
            for card, state in sorted(counts)
        ]
    )
    text = "Mdevs and devices bound to VFIO, by whether a process has them open."
    yield Family("nodedev_vfio_open", "gauge", text, samples)


def why_missing(reading: Reading) -> str | None:
    """Return why there is no such family, as a sentence; None if there is one."""
    reasons = {use.reason for use in reading.in_use.devices}
    for reason in _UNTOLD:
        if reason in reasons:
            return f"nodedev_vfio_open is missing: {REASONS[reason]}"
    return None
