"""daemon: how the daemon follows the host, and for how many clients."""

from __future__ import annotations

from collections.abc import Iterator

from nodedevd.metrics.family import Family, Sample, single
from nodedevd.metrics.reading import Reading


def count(reading: Reading) -> Iterator[Family]:
    """Yield what `nodedevctl status` reports; without a daemon, what a scan alone knows."""
    status = reading.status
    yield single(
        "nodedev_read_errors", "gauge", "Attributes that could not be read.", status.error_count
    )
    yield single(
        "nodedev_reads_hanging",
        "gauge",
        "Reads that hang in a driver.",
        len(status.unanswered_reads),
    )
    yield single(
        "nodedev_scan_seconds",
        "gauge",
        "Duration of the last scan of the whole host.",
        status.last_scan.seconds,
    )
    text = "Version of the daemon, or of the command that has scanned; always 1."
    yield Family("nodedev_build", "info", text, (Sample({"version": status.version}, 1),))
    if not reading.followed:
        return
    yield single("nodedev_clients", "gauge", "Clients that are connected.", status.clients)
    yield single("nodedev_changes", "counter", "Changes of the device tree.", status.generation)
    yield single("nodedev_events", "counter", "Uevents received.", status.events)
    yield single(
        "nodedev_events_lost",
        "counter",
        "Times that uevents were lost; the whole host is scanned after each.",
        status.overflows + status.monitor_errors,
    )
    yield single(
        "nodedev_rescans",
        "counter",
        "Scans of the whole host after the first, planned ones included.",
        status.rescans,
    )
