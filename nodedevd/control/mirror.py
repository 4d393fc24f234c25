"""Mirror: the devices of the daemon, kept by a watch in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from nodedevd.client import Client
from nodedevd.client.errors import Closed, ConnectionLost, TimedOut
from nodedevd.client.watching import Event
from nodedevd.errors import NodedevError
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import ROOT

_log: Final = logging.getLogger(__name__)


class Mirror:
    """Follows a daemon until the connection is lost; then it has ended, for good."""

    def __init__(self, client: Client, offset: Callable[[str], int]) -> None:
        """Begin.

        Args:
            client: A client of the daemon.
            offset: What is added to the generations of an instance; see `Generations`.

        Raises NoDaemon, and what else a client raises.
        """
        self._client = client
        self._offset_of = offset
        self._offset = 0
        self._changed = threading.Condition()
        self._snapshot = Snapshot()
        self._instance = ""  # of the daemon; none while devices are missing
        self._loading: dict[str, Device] | None = {}
        self._ended: NodedevError | None = None
        self._watch = client.watch(content="json")
        threading.Thread(target=self._follow, name="mirror", daemon=True).start()

    @property
    def ended(self) -> bool:
        """Whether the daemon is not followed any more."""
        return self._ended is not None

    def close(self) -> None:
        """Stop following."""
        self._watch.close()

    def caught_up(self, seconds: float) -> Snapshot:
        """Return the tree, as new as the daemon's at the moment of the call. Blocks.

        Raises TimedOut, ConnectionLost, and what else a client raises.
        """
        until = time.monotonic() + seconds
        instance, generation = self._position(seconds)

        def is_there() -> bool:
            known = self._snapshot.generation - self._offset
            return self._instance == instance and known >= generation

        if not self.wait(is_there, max(0.0, until - time.monotonic())):
            raise TimedOut("the devices of the daemon", seconds)
        return self._snapshot

    def wait(self, reached: Callable[[], bool], seconds: float) -> bool:
        """Wait until a change makes a condition true; return whether it is. Raises ConnectionLost.

        The condition is tested now, and then after each change.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended is not None or reached(), seconds)
            if self._ended is not None:
                raise self._ended
            return reached()

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest tree, without waiting; None while the daemon sends all devices."""
        return self._snapshot if self._instance else None

    def _position(self, seconds: float) -> tuple[str, int]:
        """Return the daemon's instance and the generation of its tree."""
        with self._client.watch(names=[ROOT], content="none") as watch:
            while (event := watch.next(seconds)) is not None:
                if event.event == "ready":
                    return event.instance, event.generation
        raise TimedOut("the generation of the daemon's tree", seconds)

    def _follow(self) -> None:
        error: NodedevError = Closed()
        try:
            for event in self._watch:
                with self._changed:
                    self._take(event)
                    self._changed.notify_all()
        except NodedevError as raised:
            error = raised
        except Exception as raised:
            _log.exception("cannot follow the daemon")
            error = ConnectionLost(self._client.path or "", str(raised))
        finally:
            with self._changed:
                self._ended = error
                self._changed.notify_all()
            self._watch.close()

    def _take(self, event: Event) -> None:
        name, device = event.name or "", event.device
        if event.event == "resync":
            self._loading, self._instance = {}, ""
        elif self._loading is not None:
            if event.event == "ready":
                devices, self._loading = self._loading.values(), None
                self._offset = self._offset_of(event.instance)
                self._snapshot = Snapshot(devices, generation=event.generation + self._offset)
                self._instance = event.instance
            elif device is None:
                self._loading.pop(name, None)
            else:
                self._loading[name] = device
        elif event.event != "ready":
            self._snapshot = self._snapshot.replaced(
                removed=[name],
                devices=[] if device is None else [device],
                changes=0,
                errors=(),
                shared_names={},
            ).numbered(event.generation + self._offset)
