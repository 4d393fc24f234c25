"""Watching: what a watch is told, and where it is, without I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

import msgspec

from nodedevd.client.calls import decoded, words
from nodedevd.client.errors import (
    INTERFACE,
    ConnectionLost,
    NotUnderstood,
    TimedOut,
    TooManyClients,
    remote_error,
)
from nodedevd.errors import NoDaemon, NodedevError
from nodedevd.model.device import Device
from nodedevd.varlink import Reply, encode_call

Content: TypeAlias = Literal["none", "json", "xml"]
"""What a watch adds to its events: nothing, the device, or its XML."""

# What happens while a daemon is restarted.
_PASSING: Final = (ConnectionLost, NoDaemon, TooManyClients, TimedOut)
_NO_GENERATION: Final = -1  # who goes on from there is told everything anew
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 2.0


class Event(msgspec.Struct, frozen=True):
    """What a watch is told: a device that is there, or a change.

    `event` is one of

    - `present`: a device that is there; parents come before their children
    - `ready`: all that are there have been told
    - `added`, `changed`, `removed`: a change
    - `resync`: changes were lost: forget everything; `present` and `ready` follow
    """

    generation: int
    """of the tree, after this change"""
    instance: str
    """the daemon's process, whose generations these are"""
    event: Literal["present", "ready", "added", "changed", "removed", "resync"]
    name: str | None = None
    """of the device; None for `ready` and `resync`"""
    path: str | None = None
    parent: str | None = None
    capabilities: tuple[str, ...] | None = None
    """their types"""
    parts: tuple[str, ...] | None = None
    """of a device that changed: what is different, by field or type of capability"""
    device: Device | None = None
    """with content `json`; not of a device that is gone"""
    xml: str | None = None
    """with content `xml`; not of a device that is gone"""


class Watching:
    """Where a watch is: asks for it so that nothing is lost, whichever connection it is on."""

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
        self._begun = False
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self.text = b""
        """what was told last, as it came"""

    def message(self) -> bytes:
        """Return the call that goes on behind what was told last."""
        place = {"since": self._since, "instance": self._instance}
        return encode_call(f"{INTERFACE}.Watch", {**self._parameters, **place}, more=True)

    def take(self, reply: Reply) -> Event:
        """Return what a reply tells. Raises the error it is, or NotUnderstood."""
        if reply.error is not None:
            raise remote_error(reply)
        if not reply.continues:
            raise NotUnderstood("the end of a watch, which has none")
        event = decoded(reply.parameters, Event)
        # Half of what there is is worth nothing: it would have to begin again.
        begun = event.event in ("present", "resync")
        self._since = _NO_GENERATION if begun else event.generation
        self._instance = event.instance
        self._begun = True
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self.text = bytes(reply.parameters)
        return event

    def pause(self, error: NodedevError, left: float | None) -> float | None:
        """Return the seconds until the next attempt to connect, at most those that are left.

        None if there is to be none: a watch that never began has no place to go on from.
        """
        if not (self._reconnect and self._begun and isinstance(error, _PASSING)):
            return None
        pause = self._pause_seconds
        self._pause_seconds = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return pause if left is None else min(pause, left)
