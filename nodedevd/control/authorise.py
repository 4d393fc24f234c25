"""authorise: decides who may call which method, before anything of the call but its name is parsed.

Who calls is the process that has connected, or the one that it speaks for; see `caller`.

The mode of the socket decides who can connect. Root, and the user that the service itself runs
as, may call everything; others need to be in a group of the configuration, and then polkit has
to agree if it is asked.
"""

from __future__ import annotations

import grp
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from nodedevd.actions.requests import METHODS
from nodedevd.control import polkit
from nodedevd.control.asker import Asker
from nodedevd.control.caller import SPEAK_FOR, Caller
from nodedevd.control.configuration import Configuration
from nodedevd.errors import CONTROL_INTERFACE, NodedevError, NotAllowed
from nodedevd.server.conversation import Peer
from nodedevd.server.varlink.answers import Answer, Later
from nodedevd.server.varlink.service import Service
from nodedevd.varlink import Call

_log: Final = logging.getLogger(__name__)

Ask = Callable[[str, Asker], Awaitable[object]]
"""Asks polkit, off the event loop; the awaitable raises NotAllowed."""


class Authoriser:
    """Knows the groups of a configuration."""

    def __init__(self, configuration: Configuration, ask: Ask) -> None:
        """Look the groups up; one that does not exist is logged, and has no members."""
        self._ask = ask
        self.polkit = configuration.polkit
        self._favoured = frozenset((0, os.geteuid()))
        gids = _gids({*configuration.groups, *sum(configuration.methods.values(), ())})
        self._names = {one: configuration.groups_of(one) for one in polkit.PERMISSIONS}
        self._gids = {
            method: frozenset(gids[name] for name in names if name in gids)
            for method, names in self._names.items()
        }
        # Whoever may call anything may look.
        everybody = frozenset().union(*(self._gids[method] for method in METHODS))
        for method in self._gids.keys() - METHODS.keys():
            self._gids[method] = everybody

    def check(self, method: str, asker: Asker) -> bool:
        """Refuse a process that may not call a method; return whether polkit is to be asked.

        `method` is its name within the interface. Raises NotAllowed.
        """
        if asker.uid in self._favoured:
            return False
        if self._gids[method].isdisjoint((asker.gid, *asker.groups)):
            names = self._names[method]
            who = f"members of {' or '.join(names)}" if names else "nobody else"
            raise NotAllowed(method, f"root may ask for it, and {who}; see control.toml")
        return self.polkit

    def permit(self, method: str, asker: Asker, answer: Callable[[], Answer]) -> Answer:
        """Return an answer, which is made when it is known that a process may call a method.

        Raises NotAllowed, as the answer may.
        """
        try:
            ask = self.check(method, asker)
        except NotAllowed as error:
            log_refusal(method, asker, error)
            raise
        return Later(self._ask(method, asker), lambda _: answer()) if ask else answer()


class AuthorisedService(Service):
    """A service that decodes the parameters of a call only for a client that may call it."""

    def __init__(self, authoriser: Authoriser, **about: Any) -> None:
        super().__init__(**about)
        self._authoriser = authoriser

    def call(self, call: Call, peer: Peer) -> Answer | Awaitable[Answer]:
        """Return the answer of the called method, or the refusal. Raises VarlinkError."""
        interface, _, method = call.method.rpartition(".")
        if interface != CONTROL_INTERFACE:
            return super().call(call, peer)
        assert isinstance(peer, Caller)
        try:
            asker = peer.identity.begin(method)
        except NotAllowed as error:
            log_refusal(method, peer.identity.connected, error)
            raise self.translate(error) from error
        if method == SPEAK_FOR:
            return super().call(call, peer)
        if method not in polkit.PERMISSIONS:
            return super().call(call, asker)
        try:
            return self._authoriser.permit(method, asker, lambda: self._decoded(call, asker))
        except NotAllowed as error:
            raise self.translate(error) from error

    def _decoded(self, call: Call, peer: Peer) -> Answer:
        try:
            answer = super().call(call, peer)
        except NodedevError as error:  # of a parameter, by its struct
            raise self.translate(error) from error
        assert not isinstance(answer, Awaitable)  # handlers return a Later
        return answer


def log_refusal(method: str, asker: Asker, error: NotAllowed) -> None:
    """Log that a process may not do what it asks for."""
    text = "refusing %s of process %d (%s) of user %d: %s"
    user = {"user": asker.uid}
    _log.warning(text, method, asker.pid, asker.command, asker.uid, error, extra=user)


def _gids(names: Iterable[str]) -> dict[str, int]:
    found = {}
    for name in sorted(names):
        try:
            found[name] = grp.getgrnam(name).gr_gid
        except (KeyError, ValueError):
            _log.warning("the group %s of control.toml does not exist", name)
    return found
