"""Changes that are only noted, for tests of what asks for them."""

from __future__ import annotations

from nodedevd.actions.answers import ControlStatus, LayoutOutcome, MadeList, Outcome
from nodedevd.actions.requests import ApplyLayout, Request
from nodedevd.control.asker import Asker


class RecordedChanges:
    """Takes the place of what makes changes.

    Attributes:
        requests: what was asked for, and by whom.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[Request, Asker]] = []

    def act(self, request: Request, asker: Asker) -> Outcome:
        """Note it."""
        self.requests.append((request, asker))
        return Outcome(generation=1, devices=(), steps=(), plan=(), dry_run=False)

    def apply_layout(self, request: ApplyLayout, asker: Asker) -> LayoutOutcome:
        """Fail: nobody asks."""
        raise AssertionError

    def made(self) -> MadeList:
        """Return nothing."""
        return MadeList(generation=1, devices=())

    def status(self) -> ControlStatus:
        """Fail: nobody asks."""
        raise AssertionError
