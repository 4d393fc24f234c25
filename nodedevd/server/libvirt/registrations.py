"""Registrations: which sessions wait for an event of which device, by the event and the device.

A change wakes only the sessions that are registered for one of its events. So it costs the same
however many registrations there are for other devices.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple, Protocol


class Wanted(NamedTuple):
    """An event that a client is registered for."""

    event_id: int
    device: str | None
    """libvirt's name of a device; None is any"""

    @property
    def of_any(self) -> Wanted:
        """The same event of any device."""
        return Wanted(self.event_id, None)


class Session(Protocol):
    """A client that is registered for events."""

    def note(self, generation: int) -> None:
        """Take notice that the change of this generation causes an event for the client."""


class Registrations:
    """The registrations of all sessions."""

    def __init__(self) -> None:
        self._sessions: defaultdict[Wanted, set[Session]] = defaultdict(set)

    def __bool__(self) -> bool:
        return bool(self._sessions)

    def add(self, wanted: Wanted, session: Session) -> None:
        """Add a registration."""
        self._sessions[wanted].add(session)

    def remove(self, wanted: Wanted, session: Session) -> None:
        """Remove a registration."""
        sessions = self._sessions[wanted]
        sessions.discard(session)
        if not sessions:
            del self._sessions[wanted]

    def of(self, events: Iterable[Wanted]) -> set[Session]:
        """Return the sessions that are registered for any of these events of a device."""
        found: set[Session] = set()
        for event in events:
            for wanted in (event, event.of_any):
                found |= self._sessions.get(wanted, set())
        return found
