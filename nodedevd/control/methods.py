"""ControlInterface: the handlers of the methods of org.nodedevd.Control.

`org.nodedevd.Control.varlink` beside this file describes the interface.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec

from nodedevd.actions.answers import ControlStatus, MadeList, Outcome
from nodedevd.actions.requests import REQUESTS
from nodedevd.actions.requests import Request as Change
from nodedevd.control.asker import Asker
from nodedevd.control.workers import Workers
from nodedevd.errors import CONTROL_INTERFACE
from nodedevd.server.varlink.answers import Answer, Later
from nodedevd.server.varlink.service import Interface, MethodTable, Request


class Changes(Protocol):
    """What makes changes; see `Acting`. All of it blocks."""

    def act(self, request: Change, asker: Asker) -> Outcome:
        """Make a change, or say what it would be. Raises NodedevError."""

    def made(self) -> MadeList:
        """Return whose the devices are. Raises NodedevError."""

    def status(self) -> ControlStatus:
        """Return the state."""


class GetStatusParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


class ListParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


methods = MethodTable()


class ControlInterface:
    """Answers each call when a thread has the result.

    A client that closes its connection does not stop its change.
    """

    def __init__(self, changes: Changes, workers: Workers, looks: Workers) -> None:
        """Answer.

        Args:
            changes: Makes the changes.
            workers: The threads for changes.
            looks: The threads for what only looks: it does not wait for changes.
        """
        self._changes = changes
        self._workers = workers
        self._looks = looks

    def interface(self) -> Interface:
        """Return the interface, ready to be served."""
        text = Path(__file__).with_name(f"{CONTROL_INTERFACE}.varlink").read_text("utf-8")
        return Interface(CONTROL_INTERFACE, text, methods.bind(self))

    def change(self, parameters: Change, request: Request) -> Answer:
        """Make a change, and answer what the tree shows then."""
        asker = request.peer
        assert isinstance(asker, Asker)
        workers = self._looks if parameters.dry_run else self._workers
        return _later(workers, asker, partial(self._changes.act, parameters, asker))

    @methods.add("GetStatus", GetStatusParameters)
    def get_status(self, parameters: GetStatusParameters, request: Request) -> Answer:
        """Answer the state of the service."""
        return _later(self._looks, request.peer, self._changes.status)

    @methods.add("List", ListParameters)
    def list(self, parameters: ListParameters, request: Request) -> Answer:
        """Answer whose the devices are."""
        return _later(self._looks, request.peer, self._changes.made)


for _name, _kind in REQUESTS.items():
    methods.add(_name, _kind)(ControlInterface.change)


def _later(workers: Workers, asker: Any, look: Callable[[], msgspec.Struct]) -> Later:
    # In the thread: the devices of an answer can be many.
    return Later(workers.run(asker.uid, lambda: msgspec.json.encode(look())), lambda text: text)
