"""Status: how the daemon itself is doing, and what it could not read."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime

import msgspec

from nodedevd import __version__
from nodedevd.host.faults import Fault
from nodedevd.kinds import KINDS
from nodedevd.model.snapshot import Snapshot

ERRORS_SHOWN = 100
"""Read errors listed in a status; all of them are counted."""


class DeviceFault(Fault, frozen=True, gc=False):
    """A fault together with the name of its device, None for the scan as a whole."""

    device: str | None = None


class ScanTimes(msgspec.Struct, frozen=True, gc=False):
    """When the snapshot was read, and how long that took."""

    finished: datetime
    """UTC"""
    seconds: float


class UnansweredRead(msgspec.Struct, frozen=True, gc=False):
    """A read of a device that has not returned."""

    path: str
    seconds: float
    """how long ago it began"""


class Followed(msgspec.Struct, frozen=True):
    """How changes are followed: the part of a status that a single scan has nothing to say to."""

    event_source: str = "none"
    events: int = 0
    last_event: datetime | None = None
    updates: int = 0
    overflows: int = 0
    monitor_errors: int = 0
    rescans: int = 0
    missed_changes: int = 0
    unanswered_reads: tuple[UnansweredRead, ...] = ()
    watchers: int = 0


class Status(msgspec.Struct, frozen=True, gc=False):
    """What `GetStatus` answers and `nodedevctl status` shows."""

    version: str
    pid: int
    sysroot: str
    privileged: bool
    """whether it runs as root; without, some attributes are refused by the kernel"""
    started: datetime
    """UTC"""
    generation: int
    """of the snapshot in use"""
    devices: int
    capabilities: dict[str, int]
    """devices by capability"""
    last_scan: ScanTimes
    event_source: str
    """udev, kernel, or none: then changes are found by the reconcile alone"""
    events: int
    """uevents received"""
    last_event: datetime | None
    """UTC"""
    updates: int
    """times that what uevents touched was read; one takes in all uevents of a burst"""
    overflows: int
    """times uevents were lost because the monitor's buffer was full"""
    monitor_errors: int
    """other failures of the monitor"""
    rescans: int
    """scans of the whole host after the first"""
    missed_changes: int
    """changes found by the reconcile, of which no uevent had told"""
    unanswered_reads: tuple[UnansweredRead, ...]
    """reads that hang in a driver"""
    watchers: int
    """clients that are being told of changes"""
    clients: int
    calls: int
    """calls answered since the start"""
    error_count: int
    """attributes that could not be told"""
    errors: tuple[DeviceFault, ...]
    """the first of them"""


def build_status(
    snapshot: Snapshot,
    *,
    sysroot: str,
    started: datetime,
    last_scan: ScanTimes,
    followed: Followed | None = None,
    clients: int = 0,
    calls: int = 0,
) -> Status:
    """Sum up a snapshot and the process that serves it."""
    counts = Counter(kind for device in snapshot for kind in device.types)
    errors = [
        DeviceFault(fault.attribute, fault.code, fault.detail, device)
        for device, faults in (
            (None, snapshot.errors),
            *((device.name, device.errors) for device in snapshot),
        )
        for fault in faults
    ]
    return Status(
        version=__version__,
        pid=os.getpid(),
        sysroot=sysroot,
        privileged=os.geteuid() == 0,
        started=started,
        generation=snapshot.generation,
        devices=len(snapshot),
        capabilities={kind.name: counts[kind.name] for kind in KINDS},
        last_scan=last_scan,
        **msgspec.structs.asdict(followed or Followed()),
        clients=clients,
        calls=calls,
        error_count=len(errors),
        errors=tuple(errors[:ERRORS_SHOWN]),
    )


def now() -> datetime:
    """Return the time, in UTC, to the millisecond."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)
