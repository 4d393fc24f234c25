"""Source: the state of the local daemon, and that it has changed."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from nodedevd.client.asynchronous import AsyncClient
from nodedevd.client.errors import NotUnderstood, TimedOut
from nodedevd.client.fleet.values import DaemonState, TreeFacts, packed
from nodedevd.errors import NodedevError
from nodedevd.model.listing import Devices
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.summary import HostRoom, host_room
from nodedevd.undecodable import UNDECODABLE

log = logging.getLogger(__name__)

_PAUSES = (0.2, 5.0)
_ANSWER_SECONDS = 60.0
_LATE_SECONDS = 10.0
"""A daemon that does not answer for so long is said to be absent; the answer is waited for."""


class State(msgspec.Struct, frozen=True):
    """A host at one generation."""

    instance: str
    generation: int
    changed: str
    room: HostRoom
    tree: TreeFacts
    parts: tuple[bytes, ...]
    cost_seconds: float
    """processor time that it took to make"""


class Source:
    """Follows the daemon; `changed` is set when there is a newer state to read.

    `told` is set when `daemon` is another.
    """

    def __init__(self, socket: str | None = None) -> None:
        self._socket = socket
        self._client = AsyncClient(socket, timeout_seconds=_ANSWER_SECONDS)
        self.changed = asyncio.Event()
        self.told = asyncio.Event()
        self.daemon: DaemonState = "absent"
        self.instance = ""
        self.generation = 0
        """the newest that is known of"""
        self.reason = "not asked yet"

    async def follow(self) -> None:
        """Follow the daemon, whether it is there or not, until cancelled."""
        pause = _PAUSES[0]
        while True:
            try:
                async with (
                    AsyncClient(self._socket, timeout_seconds=_ANSWER_SECONDS) as client,
                    client.watch(snapshot=False, content="none") as watch,
                ):
                    async for event in watch:
                        pause = _PAUSES[0]
                        if event.event == "resync":
                            continue
                        self.instance, self.generation = event.instance, event.generation
                        self._set("ok")
                        self.changed.set()
            except NodedevError as error:
                self._set("unreadable" if isinstance(error, NotUnderstood) else "absent", error)
                self.changed.set()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSES[1])

    async def read(self, part_bytes: int) -> State | None:
        """Return the newest state; None if the daemon does not answer.

        The daemon reads again what changes without an event, such as what is left of a type.
        """
        late = asyncio.get_running_loop().call_later(
            _LATE_SECONDS, self._set, "absent", TimedOut("nodedevd to answer", _LATE_SECONDS)
        )
        try:
            await self._client.types()
            text = await self._client.snapshot_json()
        except NodedevError as error:
            self._set("absent", error)
            return None
        finally:
            late.cancel()
        instance = self.instance
        try:
            state = await asyncio.to_thread(state_of, text, instance, part_bytes)
        except UNDECODABLE as error:
            self._set("unreadable", error)
            return None
        self._set("ok")
        return state

    async def close(self) -> None:
        """Close the connection."""
        with suppress(NodedevError):
            self._client.close()

    def _set(self, daemon: DaemonState, error: Exception | None = None) -> None:
        if daemon != self.daemon:
            self.daemon = daemon
            self.told.set()
            self.reason = "" if error is None else str(error)
            level = logging.INFO if daemon == "ok" else logging.WARNING
            log.log(level, "nodedevd: %s %s", daemon, self.reason)


def state_of(text: bytes, instance: str, part_bytes: int) -> State:
    """Return the state that a document of all devices has. Raises ValueError."""
    begun = time.thread_time()
    found = msgspec.json.decode(text, type=Devices)
    snapshot = Snapshot(found.devices, generation=found.generation)
    tree, parts = packed(text, part_bytes)
    changed = datetime.now(UTC).isoformat(timespec="milliseconds")
    room = host_room(snapshot)
    cost = time.thread_time() - begun
    return State(instance, found.generation, changed, room, tree, tuple(parts), cost)
