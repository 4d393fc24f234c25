"""MissedChanges: separates changes whose event was lost from those whose event is late."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Set

from nodedevd.model.changes import Change, Changed
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.related import path_of, related
from nodedevd.tree.touched import reporting_paths

log = logging.getLogger(__name__)

LATE_EVENT_SECONDS = 1.0
"""How long after a reconcile the event of a change may come before the change counts as missed."""
NAMES_LOGGED = 10
"""Missed changes that one line of the log names."""


class MissedChanges:
    """The changes that a reconcile found, until an event explains them or they count as missed.

    Attributes:
        count: changes missed since the start.
    """

    def __init__(self) -> None:
        self.count = 0
        self._unexplained: dict[str, Change] = {}
        self._expiry: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        return bool(self._unexplained)

    def found(self, changes: Iterable[Change], reported: Set[str], snapshot: Snapshot) -> None:
        """Take the changes of a reconcile, except those that the `reported` paths explain."""
        for change in changes:
            if change.device.path is not None and not _is_only_compared(change):
                self._unexplained[change.device.path] = change
        self.explain(reported, snapshot)
        if self._unexplained and self._expiry is None:
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(LATE_EVENT_SECONDS, self._expire)

    def explain(self, reported: Set[str], snapshot: Snapshot) -> None:
        """Drop the changes at these paths, and the neighbours that change with them."""
        for change in tuple(self._unexplained.values()):
            device = change.device
            paths = reporting_paths(device)
            if isinstance(change, Changed):
                paths.add(change.before.path or "")
            if reported.isdisjoint(paths):
                continue
            self._unexplained.pop(device.path or "", None)
            for other in map(path_of, related(change, snapshot)):
                self._unexplained.pop(other, None)

    def clear(self) -> None:
        """Drop all changes: events were lost, so which changes they reported is not known."""
        self._unexplained.clear()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def _expire(self) -> None:
        """Count and log the changes that no event has explained in time."""
        names = sorted(
            f"{change.device.name} {type(change).__name__.lower()}"
            for change in self._unexplained.values()
        )
        self.count += len(names)
        self.clear()
        if names:
            more = f" and {len(names) - NAMES_LOGGED} more" if len(names) > NAMES_LOGGED else ""
            log.info(
                "the reconcile found changes without an event: %s%s",
                ", ".join(names[:NAMES_LOGGED]),
                more,
            )


def _is_only_compared(change: Change) -> bool:
    """Return whether only the comparison with a layout file has another result."""
    return isinstance(change, Changed) and change.parts == ("layout",)
