"""Status: the state of the daemon, and the attributes that it could not read."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime

import msgspec

from nodedevd import __version__
from nodedevd.host.faults import Fault
from nodedevd.kinds import KINDS
from nodedevd.model.layout import (
    LAYOUT_STATES,
    NO_LAYOUT,
    AwaitedCard,
    Problem,
)
from nodedevd.model.snapshot import Snapshot
from nodedevd.steps import STEP_ITEMS, Steps, finish

ERRORS_SHOWN = 100
"""Read errors that a status lists, and problems of layout files; it counts all of them."""


class DeviceFault(Fault, frozen=True, gc=False):
    """A fault with the name of its device, None for a directory of the scan."""

    device: str | None = None


class ScanTimes(msgspec.Struct, frozen=True, gc=False):
    """The time and the duration of a scan."""

    finished: datetime
    """UTC"""
    seconds: float


class UnansweredRead(msgspec.Struct, frozen=True, gc=False):
    """A read of a device that has not returned."""

    path: str
    seconds: float
    """time since it began"""


class StateCounts(msgspec.Struct, frozen=True, gc=False):
    """Numbers of devices by their state."""

    active: int
    inactive: int
    removing: int


class LayoutCounts(msgspec.Struct, frozen=True, gc=False):
    """Numbers of cards that layout files name, by their state."""

    in_sync: int
    """as their file says"""
    drifted: int
    """differ, and can be changed"""
    blocked: int
    """differ, and cannot be changed now"""
    pending: int
    """not present yet, or without their driver or functions"""


class LayoutStatus(msgspec.Struct, frozen=True, gc=False):
    """The part of a status about layout files."""

    counts: LayoutCounts
    """numbers of cards by their state"""
    awaited: tuple[AwaitedCard, ...]
    """the first of the cards that a file names and the host does not have"""
    problem_count: int
    """what is wrong with the files"""
    problems: tuple[Problem, ...]
    """the first of these"""


class Followed(msgspec.Struct, frozen=True):
    """The part of a status about following changes; a single scan has its defaults."""

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
    """The reply to `GetStatus`, which `nodedevctl status` prints."""

    version: str
    """version of nodedevd"""
    pid: int
    sysroot: str
    privileged: bool
    """whether it runs as root; the kernel refuses some attributes to other users"""
    started: datetime
    """UTC"""
    generation: int
    """generation of the current snapshot"""
    state_counts: StateCounts
    capability_counts: dict[str, int]
    """number of devices by capability, without inactive ones"""
    last_scan: ScanTimes
    event_source: str
    """udev, kernel, or none; with none, only the reconcile finds changes"""
    events: int
    """uevents received"""
    last_event: datetime | None
    """UTC"""
    updates: int
    """reads of devices after events; one for all uevents of a burst"""
    overflows: int
    """losses of uevents because the monitor's buffer was full"""
    monitor_errors: int
    """other failures of the monitor"""
    rescans: int
    """scans of the whole host after the first"""
    missed_changes: int
    """changes that the reconcile found, without a uevent"""
    unanswered_reads: tuple[UnansweredRead, ...]
    """reads that hang in a driver"""
    watchers: int
    """clients that watch for changes"""
    clients: int
    """clients that are connected"""
    calls: int
    """calls answered since the start"""
    log_left_out: int
    """messages that the log does not have, since it had many of the same kind"""
    log_dropped: int
    """messages that nobody took from standard error in time"""
    error_count: int
    """attributes that could not be read"""
    errors: tuple[DeviceFault, ...]
    """the first of these errors"""
    layout: LayoutStatus | None = None
    """None if there is no layout file"""


class Tally(msgspec.Struct, frozen=True):
    """What a status counts of the devices of one snapshot."""

    generation: int
    states: Counter[str]
    """numbers of devices by their state"""
    capabilities: Counter[str]
    """numbers of devices by capability, without inactive ones"""
    error_count: int
    errors: tuple[DeviceFault, ...]
    """the first of the errors"""


def tally_in_steps(snapshot: Snapshot) -> Steps[Tally]:
    """Count the devices of a snapshot, in steps."""
    states: Counter[str] = Counter()
    capabilities: Counter[str] = Counter()
    errors = [DeviceFault(one.attribute, one.code, one.detail) for one in snapshot.errors]
    error_count = len(errors)
    del errors[ERRORS_SHOWN:]
    for group in snapshot.in_groups(STEP_ITEMS):
        for device in group:
            states[device.state] += 1
            if device.active:
                capabilities.update(device.types)
            if device.errors:
                error_count += len(device.errors)
                errors += [
                    DeviceFault(fault.attribute, fault.code, fault.detail, device.name)
                    for fault in device.errors[: ERRORS_SHOWN - len(errors)]
                ]
        yield
    return Tally(snapshot.generation, states, capabilities, error_count, tuple(errors))


def build_status(
    snapshot: Snapshot,
    *,
    sysroot: str,
    started: datetime,
    last_scan: ScanTimes,
    followed: Followed | None = None,
    clients: int = 0,
    calls: int = 0,
    log_left_out: int = 0,
    log_dropped: int = 0,
    tally: Tally | None = None,
) -> Status:
    """Return the status of a snapshot and the process that serves it.

    `tally` is that of the snapshot, if the caller has it.
    """
    tally = finish(tally_in_steps(snapshot)) if tally is None else tally
    states = tally.states
    return Status(
        version=__version__,
        pid=os.getpid(),
        sysroot=sysroot,
        privileged=os.geteuid() == 0,
        started=started,
        generation=tally.generation,
        state_counts=StateCounts(states["active"], states["inactive"], states["removing"]),
        capability_counts={kind.name: tally.capabilities[kind.name] for kind in KINDS},
        last_scan=last_scan,
        **msgspec.structs.asdict(followed or Followed()),
        clients=clients,
        calls=calls,
        log_left_out=log_left_out,
        log_dropped=log_dropped,
        error_count=tally.error_count,
        errors=tally.errors,
        layout=_layout_status(snapshot),
    )


def count_layout(snapshot: Snapshot) -> LayoutCounts:
    """Return the numbers of cards that layout files name, by their state.

    The time grows with the number of these cards, not with that of devices.
    """
    states: Counter[str] = Counter()
    for path in snapshot.layout.cards:
        device = snapshot.at(path)
        if device is not None and device.layout is not None:
            states[device.layout.state] += 1
    states["pending"] += len(snapshot.layout.awaited)
    return LayoutCounts(*[states[state] for state in LAYOUT_STATES])


def _layout_status(snapshot: Snapshot) -> LayoutStatus | None:
    layout = snapshot.layout
    if layout == NO_LAYOUT:
        return None
    return LayoutStatus(
        counts=count_layout(snapshot),
        awaited=layout.awaited[:ERRORS_SHOWN],
        problem_count=len(layout.problems),
        problems=layout.problems[:ERRORS_SHOWN],
    )


def now() -> datetime:
    """Return the time in UTC, to the millisecond."""
    time = datetime.now(UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)
