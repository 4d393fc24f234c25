"""findings: how many findings of `nodedevctl doctor` there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from nodedevd.metrics.family import Family, Sample
from nodedevd.metrics.reading import Reading


def count(reading: Reading) -> Iterator[Family]:
    """Yield the numbers of findings by code and severity; nothing if the host was not read."""
    if reading.findings is None:
        return
    counts = Counter((one.code, one.severity) for one in reading.findings)
    samples = tuple(
        [
            Sample({"code": code, "severity": severity}, number)
            for (code, severity), number in sorted(counts.items())
        ]
    )
    text = "Findings of `nodedevctl doctor` by code, without those that need a scan."
    yield Family("nodedev_doctor_findings", "gauge", text, samples)


def why_missing(reading: Reading) -> str | None:
    """Return why there is no such family, as a sentence; None if there is one."""
    return (
        None if reading.unread is None else f"nodedev_doctor_findings is missing: {reading.unread}"
    )
