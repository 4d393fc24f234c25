"""ControlInterface: the handlers of the methods of org.nodedevd.Control.

`org.nodedevd.Control.varlink` beside this file describes the interface.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import msgspec

from nodedevd.actions.answers import ControlStatus, LayoutOutcome, MadeList, Outcome
from nodedevd.actions.requests import REQUESTS, ApplyLayout
from nodedevd.actions.requests import Request as Change
from nodedevd.control.asker import Asker
from nodedevd.control.authorise import Authoriser, log_refusal
from nodedevd.control.caller import SPEAK_FOR, Caller
from nodedevd.control.polkit import PERMISSIONS
from nodedevd.control.workers import Workers
from nodedevd.errors import CONTROL_INTERFACE, InvalidParameter, NotAllowed
from nodedevd.server.varlink.answers import Answer, Later
from nodedevd.server.varlink.service import Interface, MethodTable, Request

_METHOD_LENGTH: Final = 64

_log: Final = logging.getLogger(__name__)


class Changes(Protocol):
    """What makes changes; see `Acting`. All of it blocks."""

    def act(self, request: Change, asker: Asker) -> Outcome:
        """Make a change, or say what it would be. Raises NodedevError."""

    def apply_layout(self, request: ApplyLayout, asker: Asker) -> LayoutOutcome:
        """Make the host as its layout declares it, or say what that would be.

        Raises NodedevError.
        """

    def made(self) -> MadeList:
        """Return whose the devices are. Raises NodedevError."""

    def status(self) -> ControlStatus:
        """Return the state."""


class GetStatusParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


class ListParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


class SpeakForParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None; a descriptor comes along."""


class AuthoriseParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be called."""

    method: Annotated[str, msgspec.Meta(max_length=_METHOD_LENGTH)]
    """its name within the interface"""


methods = MethodTable()


class ControlInterface:
    """Answers each call when a thread has the result.

    A client that closes its connection does not stop its change.
    """

    def __init__(
        self,
        changes: Changes,
        workers: Workers,
        looks: Workers,
        authoriser: Authoriser,
        libvirt_sockets: Collection[str],
    ) -> None:
        """Answer.

        Args:
            changes: Makes the changes.
            workers: The threads for changes.
            looks: The threads for what only looks: it does not wait for changes.
            authoriser: Knows who may call what.
            libvirt_sockets: Paths of the sockets whose clients may be spoken for.
        """
        self._authoriser = authoriser
        self._libvirt_sockets = libvirt_sockets
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

    @methods.add("ApplyLayout", ApplyLayout)
    def apply_layout(self, parameters: ApplyLayout, request: Request) -> Answer:
        """Make the host as its layout declares it, and answer what came of each card."""
        asker = request.peer
        assert isinstance(asker, Asker)
        workers = self._looks if parameters.dry_run else self._workers
        return _later(workers, asker, partial(self._changes.apply_layout, parameters, asker))

    @methods.add("GetStatus", GetStatusParameters)
    def get_status(self, parameters: GetStatusParameters, request: Request) -> Answer:
        """Answer the state of the service."""
        return _later(self._looks, request.peer, self._changes.status)

    @methods.add("List", ListParameters)
    def list(self, parameters: ListParameters, request: Request) -> Answer:
        """Answer whose the devices are."""
        return _later(self._looks, request.peer, self._changes.made)

    @methods.add("SpeakFor", SpeakForParameters)
    def speak_for(self, parameters: SpeakForParameters, request: Request) -> Answer:
        """Make the later calls for another process."""
        caller = request.peer
        assert isinstance(caller, Caller)
        connected = caller.identity.connected
        try:
            asker = caller.identity.speak_for(self._libvirt_sockets)
        except NotAllowed as error:
            log_refusal(SPEAK_FOR, connected, error)
            raise
        text = "process %d speaks for process %d (%s) of user %d"
        _log.debug(text, connected.pid, asker.pid, asker.command, asker.uid)
        return b"{}"

    @methods.add("Authorise", AuthoriseParameters)
    def authorise(self, parameters: AuthoriseParameters, request: Request) -> Answer:
        """Answer nothing if the caller may call a method."""
        asker, method = request.peer, parameters.method
        assert isinstance(asker, Asker)
        if method not in PERMISSIONS:
            raise InvalidParameter("method", f"{method!r} is none that needs a permission")
        return self._authoriser.permit(method, asker, lambda: b"{}")


for _name, _kind in REQUESTS.items():
    methods.add(_name, _kind)(ControlInterface.change)


def _later(workers: Workers, asker: Any, look: Callable[[], msgspec.Struct]) -> Later:
    # In the thread: the devices of an answer can be many.
    return Later(workers.run(asker.uid, lambda: msgspec.json.encode(look())), lambda text: text)
