"""families: counts a reading, one file for each subject.

A subject is a function of a reading that returns families; it is added to `_SUBJECTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nodedevd.metrics.families import cards, daemon, devices, findings, in_use, layout, mdevs, vgpus
from nodedevd.metrics.family import Family, Metrics
from nodedevd.metrics.reading import Reading

_SUBJECTS: tuple[Callable[[Reading], Iterable[Family]], ...] = (
    devices.count,
    vgpus.count,
    mdevs.count,
    layout.count,
    in_use.count,
    findings.count,
    daemon.count,
)


def collect(reading: Reading) -> Metrics:
    """Return all families of a reading, and which are left out."""
    families = [family for count in _SUBJECTS for family in count(reading)]
    families.append(cards.describe(families))
    unread = findings.why_missing(reading)
    missing = in_use.why_missing(reading) + (() if unread is None else (unread,))
    return Metrics(reading.status.generation, tuple(families), missing)
