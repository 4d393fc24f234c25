"""EventsLost: a monitor reports that events are missing."""

from __future__ import annotations

from nodedevd.errors import NodedevError


class EventsLost(NodedevError):
    """A monitor lost events, or its descriptor failed.

    Attributes:
        reason: name of the errno, or what could not be parsed.
        overflow: whether the buffer was full.
        usable: whether the monitor still works; if not, it has to be opened again.
    """

    code = "events-lost"

    def __init__(self, reason: str, *, overflow: bool, usable: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.overflow = overflow
        self.usable = usable

    def __str__(self) -> str:
        return self.reason
