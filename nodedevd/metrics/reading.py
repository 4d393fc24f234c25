"""reading: what all metrics are counted from, asked of a daemon or a scan at one time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import msgspec

from nodedevd.errors import NodedevError
from nodedevd.follow.in_time import read_in_time
from nodedevd.host.facts import read_host
from nodedevd.host.faults import Fault
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.listing import Devices
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import Status
from nodedevd.questions.doctor import DaemonView, Finding, diagnose
from nodedevd.questions.fits import Types
from nodedevd.questions.in_use import InUse

NOT_OF_THE_HOST = "not-root"
"""The finding that is about the process that asks, and not about its host."""


class Source(Protocol):
    """A daemon (`Client`), or a scan."""

    def status(self) -> Status:
        """Return counts and read errors."""

    def types(self) -> Types:
        """Return the room of each card for each of its vGPU types."""

    def snapshot(self) -> Devices:
        """Return all devices."""

    def in_use(self) -> InUse:
        """Return which devices of VFIO are open."""


class Reading(msgspec.Struct, frozen=True):
    """A host and its daemon at one time."""

    status: Status
    followed: bool
    """whether a daemon follows the host, and has counted events and clients"""
    snapshot: Snapshot
    types: Types
    in_use: InUse
    findings: tuple[Finding, ...] | None
    """findings of `doctor` that need no scan; None if the host cannot be read from here"""
    unread: str | None = None
    """why there are no findings"""


class Reader:
    """Reads a source again and again; the devices only if they have changed.

    Not for several threads at once.

    Args:
        source: Whom to ask.
        followed: Whether it is a daemon.
        in_use: Asks which devices are open; by default the source.
    """

    def __init__(
        self, source: Source, *, followed: bool, in_use: Callable[[], InUse] | None = None
    ) -> None:
        self._source = source
        self._followed = followed
        self._in_use = in_use or source.in_use
        self._sysroot: Sysroot | None = None
        self._known: tuple[int, datetime, int] | None = None
        self._snapshot = Snapshot()

    def read(self) -> Reading:
        """Return a reading. Raises what the source raises, and OSError."""
        # The daemon reads the counts of vGPUs again for this call; the others have them, too.
        types = self._source.types()
        in_use = self._in_use()
        status = self._source.status()
        snapshot = self._devices(status)
        findings, unread = self._findings(status, snapshot)
        return Reading(status, self._followed, snapshot, types, in_use, findings, unread)

    def _devices(self, status: Status) -> Snapshot:
        # A daemon that was started again counts its generations anew.
        if self._known != (status.pid, status.started, status.generation):
            answer = self._source.snapshot()
            errors = tuple(
                Fault(one.attribute, one.code, one.detail)
                for one in status.errors
                if one.device is None
            )
            self._snapshot = Snapshot(answer.devices, generation=answer.generation, errors=errors)
            self._known = status.pid, status.started, answer.generation
        return self._snapshot

    def _findings(
        self, status: Status, snapshot: Snapshot
    ) -> tuple[tuple[Finding, ...] | None, str | None]:
        try:
            if self._sysroot is None or self._sysroot.root != status.sysroot:
                self._sysroot = Sysroot(status.sysroot)
            self._sysroot.check()
            facts, hanging = read_in_time(self._sysroot, read_host)
        except (NodedevError, OSError) as error:
            return None, str(error)
        hanging = tuple({one.path: one for one in (*hanging, *status.unanswered_reads)}.values())
        view = DaemonView((), status) if self._followed else None
        found = diagnose(snapshot, facts, hanging=hanging, daemon=view)
        return tuple([one for one in found if one.code != NOT_OF_THE_HOST]), None
