"""Caller: who has connected to the control service, and for whom its calls are made.

That is whoever has connected, until SpeakFor names another process. If anything about SpeakFor is
wrong, no call of the connection is made any more: none of somebody's calls is made as root, since
the daemon that speaks for clients is root.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import Final

from nodedevd.control.asker import Asker
from nodedevd.control.spoken_for import NotAccepted, spoken_for
from nodedevd.errors import NotAllowed
from nodedevd.server.conversation import Peer

SPEAK_FOR: Final = "SpeakFor"


class Identity:
    """For whom the calls of one connection are made.

    Attributes:
        connected: who has connected.
        moved: called with who is spoken for, before the first of its calls; an error that it
            raises is the answer.
    """

    def __init__(self, connected: Asker) -> None:
        self.connected = connected
        self.moved: Callable[[Asker], None] = _nobody
        self._favoured = connected.uid in (0, os.geteuid())
        self._asker: Asker | None = connected
        self._why = ""
        """why no call is made, if there is nobody to make it for"""
        self._called = False
        self._descriptor: int | None = None
        """what was passed, for SpeakFor"""

    @property
    def may_pass(self) -> bool:
        """Whether a descriptor may arrive: it belongs to a SpeakFor that may still be called."""
        return self._favoured and not self._called and self._descriptor is None

    def passed(self, descriptors: Sequence[int], *, more: bool) -> bool:
        """Take the descriptors that have arrived; return False if they have no place here.

        Args:
            descriptors: Those that the kernel has opened, which are this object's now.
            more: Whether there were others, which the kernel has closed.
        """
        if self.may_pass and len(descriptors) == 1 and not more:
            [self._descriptor] = descriptors
            return True
        for descriptor in descriptors:
            os.close(descriptor)
        self._refuse("descriptors were passed that have no place here")
        return False

    def begin(self, method: str) -> Asker:
        """Return for whom a call is made; of SpeakFor, who has connected. Raises NotAllowed."""
        first, self._called = not self._called, True
        if method == SPEAK_FOR:
            return self._begin_speaking(first=first)
        if self._descriptor is not None:
            self._refuse("a descriptor was passed, which only SpeakFor takes")
        if self._asker is None:
            raise NotAllowed(method, f"{self._why}; open another connection")
        return self._asker

    def speak_for(self, paths: Collection[str]) -> Asker:
        """Make the calls from now on for the client of the socket that was passed; return it.

        Args:
            paths: Where servers of libvirt's protocol listen.

        Raises NotAllowed, or as `moved`.
        """
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            raise NotAllowed(SPEAK_FOR, "no descriptor was passed with the call")
        try:
            asker = spoken_for(descriptor, paths)
        except NotAccepted as error:
            raise NotAllowed(SPEAK_FOR, str(error)) from error
        self.moved(asker)
        self._asker = asker.through(self.connected)
        return self._asker

    def close(self) -> None:
        """Close what was passed, and make no call any more: the connection is closed."""
        self.moved = _nobody  # it refers to the connection, which refers to this object
        self._refuse("the connection is closed")

    def _begin_speaking(self, *, first: bool) -> Asker:
        """Make no call until it is known for whom. Raises NotAllowed."""
        if not first:
            reason = "it has to be the first call of a connection, and the only one of its kind"
        elif not self._favoured:
            reason = "only root, and the user of the service, may speak for others"
        else:
            reason = ""
        self._asker, self._why = None, self._why or "SpeakFor was refused on this connection"
        if reason:
            self._close_descriptor()
            raise NotAllowed(SPEAK_FOR, reason)
        return self.connected

    def _refuse(self, why: str) -> None:
        self._close_descriptor()
        self._asker, self._why = None, self._why or why

    def _close_descriptor(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class Caller(Peer, frozen=True, gc=True):
    """The process that has connected, and the identity of its connection."""

    identity: Identity

    @classmethod
    def of(cls, asker: Asker) -> Caller:
        """Return the caller that a process is, which has just connected."""
        return cls(asker.pid, asker.uid, Identity(asker))


def _nobody(asker: Asker) -> None:
    """Do nothing: there is no connection."""
