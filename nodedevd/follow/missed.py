"""Missed: tells changes of which no uevent told from those whose uevent is only late."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Set

from nodedevd.model.changes import Change, Changed
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.related import neighbours
from nodedevd.tree.touched import reporting_paths

log = logging.getLogger(__name__)

SHOWN = 10
"""Missed changes that are logged by name at once."""


class Missed:
    """The changes that a reconcile found, until a uevent explains them or it is too late."""

    def __init__(self) -> None:
        self._suspects: dict[str, Change] = {}

    def __bool__(self) -> bool:
        return bool(self._suspects)

    def suspect(self, changes: Iterable[Change]) -> None:
        """Take up what a reconcile found."""
        for change in changes:
            if change.device.path is not None:
                self._suspects[change.device.path] = change

    def acquit(self, told: Set[str], snapshot: Snapshot) -> None:
        """Strike off the devices at these paths, and what changes with them in silence."""
        for change in tuple(self._suspects.values()):
            device = change.device
            paths = reporting_paths(device)
            if isinstance(change, Changed):
                paths.add(change.before.path or "")
            if told.isdisjoint(paths):
                continue
            self._suspects.pop(device.path or "", None)
            if not isinstance(change, Changed) or change.moved:
                for other in neighbours(device, snapshot):
                    self._suspects.pop(other, None)

    def convict(self) -> int:
        """Log what nothing has explained, forget it, and return how much it was."""
        names = sorted(
            f"{change.device.name} {type(change).__name__.lower()}"
            for change in self._suspects.values()
        )
        self._suspects.clear()
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            log.info("changes no uevent told of: %s%s", ", ".join(names[:SHOWN]), more)
        return len(names)
