"""Watching: the events of a watch, and its position among them, without I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal

import msgspec

from nodedevd.client.errors import ConnectionLost, NotUnderstood, TimedOut, remote_error
from nodedevd.client.question import decoded, words
from nodedevd.errors import NoDaemon, NodedevError, TooManyClients
from nodedevd.model.brief import State
from nodedevd.model.device import Device
from nodedevd.model.listing import Content
from nodedevd.socket_paths import INTERFACE
from nodedevd.varlink import Reply, encode_call

PASSING: Final = (ConnectionLost, NoDaemon, TooManyClients, TimedOut)
"""Errors that occur while a daemon restarts."""
_NO_GENERATION: Final = -1  # the daemon answers `resync`
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 2.0


class Event(msgspec.Struct, frozen=True):
    """One event of a watch: a device, or a change.

    `event` is one of

    - `present`: a device; parents come before their children
    - `ready`: all devices have been sent
    - `added`, `changed`, `removed`: a change
    - `resync`: changes were lost: forget everything; `present` and `ready` follow
    """

    generation: int
    """of the tree, after the change"""
    instance: str
    """the daemon's process, to which the generation belongs"""
    event: Literal["present", "ready", "added", "changed", "removed", "resync"]
    """what happened; docs/protocol.md has their meaning"""
    name: str | None = None
    """of the device; None for `ready` and `resync`"""
    path: str | None = None
    parent: str | None = None
    capabilities: tuple[str, ...] | None = None
    """their types"""
    state: State | None = None
    parts: tuple[str, ...] | None = None
    """for `changed`: what differs, by field or type of capability"""
    device: Device | None = None
    """with content `json`; not for `removed`"""
    xml: str | None = None
    """with content `xml`; not for `removed`"""


class Watching:
    """The position of a watch: it calls so that no event is lost, on whichever connection."""

    def __init__(
        self,
        *,
        capabilities: Iterable[str] | None,
        names: Iterable[str] | None,
        snapshot: bool,
        content: Content,
        since: int | None,
        instance: str | None,
        reconnect: bool,
        on_lost: Callable[[NodedevError], None] | None = None,
    ) -> None:
        self._parameters = {
            "capabilities": words(capabilities),
            "names": words(names),
            "snapshot": snapshot,
            "content": content,
        }
        self._since = since
        self._instance = instance
        self._reconnect = reconnect
        self._on_lost = on_lost
        self._begun = False
        self._lost = False
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self.text = b""
        """the last event, as it arrived"""

    def message(self) -> bytes:
        """Return the call that continues after the last event."""
        place = {"since": self._since, "instance": self._instance}
        return encode_call(f"{INTERFACE}.Watch", {**self._parameters, **place}, more=True)

    def take(self, reply: Reply) -> Event:
        """Return the event of a reply. Raises NotUnderstood, or the error of an error reply."""
        if reply.error is not None:
            raise remote_error(reply)
        if not reply.continues:
            raise NotUnderstood("a watch has no last reply")
        event = decoded(reply.parameters, Event)
        # A part of the devices is useless: after a reconnect, all have to come again.
        incomplete = event.event in ("present", "resync")
        self._since = _NO_GENERATION if incomplete else event.generation
        self._instance = event.instance
        self._begun = True
        self._lost = False
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self.text = bytes(reply.parameters)
        return event

    def pause(self, error: NodedevError, left: float | None) -> float | None:
        """Return the seconds until the next attempt to connect, at most those that are left.

        None if there is to be none. A watch that never began has no position to continue from.
        """
        if not (self._reconnect and self._begun and isinstance(error, PASSING)):
            return None
        if not self._lost:
            self._lost = True
            if self._on_lost is not None:
                self._on_lost(error)
        pause = self._pause_seconds
        self._pause_seconds = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return pause if left is None else min(pause, left)
