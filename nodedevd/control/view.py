"""View: the tree that changes are planned from, and confirmed by.

It is the daemon's, if there is one for this host, and else that of scans. Everything here blocks,
and may be called from several threads.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Final, Literal

from nodedevd.actions.plan import Expected
from nodedevd.client import Client
from nodedevd.client.errors import TimedOut
from nodedevd.control.generations import Generations
from nodedevd.control.mirror import Mirror
from nodedevd.control.newest import with_newest_values
from nodedevd.control.scans import Scans
from nodedevd.errors import NoDaemon, NodedevError, NoSuchDevice
from nodedevd.host.faults import Fault
from nodedevd.host.mdev_paths import MDEV_DEVICES
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.snapshot import Snapshot

_log: Final = logging.getLogger(__name__)

DAEMON_SECONDS: Final = 10.0
"""How long the daemon may take to answer; after that the host is scanned."""
EVENT_SECONDS: Final = 5.0
"""How long the daemon may take to hear of an mdev; after that the host is scanned."""
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.5
_SCAN_SECONDS: Final = 5.0
"""Interval of scans for whoever waits for any change, if there is no daemon."""
_ASK_SECONDS: Final = 0.1
"""Interval at which the daemon is asked for what the kernel sends no event of."""


class View:
    """One host, seen through the daemon or by scans.

    Attributes:
        source: where the last tree came from.
    """

    def __init__(
        self,
        root: str = "/",
        path: str | None = None,
        *,
        daemon: bool = True,
        directory: str | None = None,
    ) -> None:
        """Look at nothing yet.

        Args:
            root: The sysroot.
            path: Socket of the daemon; by default those that clients try.
            daemon: Whether to look for one.
            directory: Where it is kept which daemon was followed last; see `Generations`.
        """
        self._offset = _none if directory is None else Generations(directory).offset
        self.source: Literal["daemon", "scan"] = "scan"
        self._root = Sysroot(root).root
        self._path = path
        self._wanted = daemon
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._mirror: Mirror | None = None
        self._hanging: frozenset[str] = frozenset()
        self._scans = Scans(self._root)
        self._reported = ""

    def snapshot(self) -> Snapshot:
        """Return the tree of this moment, with counts and profiles as they are now.

        Raises NotASysroot, TooManyHang, OSError.
        """
        try:
            mirror = self._followed()
            if mirror is not None:
                snapshot = self._with_errors(self._caught_up(mirror))
                newest, hanging = with_newest_values(self._root, snapshot, self._hanging)
                self._hanging |= hanging
                self.source = "daemon"
                return newest
        except (NodedevError, OSError) as error:
            self._report(error)
        self.source = "scan"
        return self._scans.scan()

    def known(self) -> Snapshot:
        """Return the tree that the daemon has sent so far; without one, that of this moment.

        Raises as `snapshot`.
        """
        try:
            mirror = self._followed()
            snapshot = None if mirror is None else mirror.snapshot
        except NodedevError:
            snapshot = None
        return self.snapshot() if snapshot is None else snapshot

    def wait(self, expected: Iterable[Expected], seconds: float) -> Snapshot | None:
        """Return the first tree that shows all that is expected; None if none does in time.

        Raises as `snapshot`.
        """
        expected = tuple(expected)
        until = time.monotonic() + seconds
        try:
            mirror = self._followed()
            found = None if mirror is None else self._shown(mirror, expected, until)
            if found is not None:
                self.source = "daemon"
                return found
        except (NodedevError, OSError) as error:
            self._report(error)
        # The daemon is gone, or late: what it shows is not what decides about undoing a change.
        self.source = "scan"
        pause = _FIRST_PAUSE
        while True:
            snapshot = self._scans.scan()
            if all(one.met(snapshot) for one in expected):
                return snapshot
            left = until - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def wait_for_change(self, generation: int, seconds: float) -> None:
        """Wait until the daemon has a newer tree, at most so many seconds; without one, a few."""
        try:
            mirror = self._followed()
            if mirror is not None:
                mirror.wait(lambda: self._is_other(mirror, generation), seconds)
                return
        except (NodedevError, OSError) as error:
            self._report(error)
        time.sleep(min(seconds, _SCAN_SECONDS))

    def close(self) -> None:
        """Follow the daemon no longer."""
        with self._lock:
            self._drop()

    def _shown(
        self, mirror: Mirror, expected: tuple[Expected, ...], until: float
    ) -> Snapshot | None:
        """Return the first tree of the daemon that shows all; None if none does in time."""

        def is_shown() -> bool:
            snapshot = mirror.snapshot
            return snapshot is not None and all(one.met(snapshot) for one in expected)

        while True:
            asked = self._ask_for(mirror, expected)
            left = until - time.monotonic()
            if mirror.wait(is_shown, max(0.0, min(left, _ASK_SECONDS) if asked else left)):
                return mirror.snapshot
            if left <= 0:
                return None

    def _ask_for(self, mirror: Mirror, expected: Iterable[Expected]) -> bool:
        """Have the daemon read what changes without an event; return whether anything does."""
        snapshot, client = mirror.snapshot, self._client
        if snapshot is None or client is None:
            return False
        devices = [one.device(snapshot) for one in expected if not one.met(snapshot)]
        names = [
            one.name for one in devices if one is not None and one.capability(Vgpu) is not None
        ]
        if names:
            with suppress(NoSuchDevice):  # it has gone meanwhile
                client.snapshot(names=names)
        return bool(names)

    def _caught_up(self, mirror: Mirror) -> Snapshot:
        """Return the daemon's tree of this moment, with the mdevs that the kernel has.

        The kernel's events reach the daemon through udevd, which can be busy: an mdev that is gone
        by now must not count as one that runs. Raises TimedOut, and what else a client raises.
        """
        until = time.monotonic() + EVENT_SECONDS
        snapshot = mirror.caught_up(DAEMON_SECONDS)
        while not self._has_mdevs_of_kernel(snapshot):
            if time.monotonic() >= until:
                raise TimedOut("the daemon to hear of an mdev", EVENT_SECONDS)
            mirror.wait(partial(self._is_other, mirror, snapshot.generation), _ASK_SECONDS)
            snapshot = mirror.snapshot or snapshot
        return snapshot

    def _has_mdevs_of_kernel(self, snapshot: Snapshot) -> bool:
        """Return whether all mdevs of the tree exist, and all that the kernel lists are in it."""
        root = self._root.rstrip("/")
        mdevs = [one for one in snapshot.select(["mdev_child"]) if one.active]
        try:
            listed = os.listdir(f"{root}{MDEV_DEVICES}")
        except FileNotFoundError:
            listed = []
        return {one.sysname for one in mdevs}.issuperset(listed) and all(
            os.path.lexists(f"{root}{one.path}") for one in mdevs
        )

    def _with_errors(self, snapshot: Snapshot) -> Snapshot:
        """Return a tree with what the daemon could not list: devices may be missing."""
        client = self._client
        if client is None:
            return snapshot
        errors = tuple(
            Fault(one.attribute, one.code, one.detail)
            for one in client.status().errors
            if one.device is None
        )
        if errors == snapshot.errors:
            return snapshot
        return snapshot.replaced(
            removed=(), devices=(), changes=0, errors=errors, shared_names=snapshot.shared_names
        )

    def _is_other(self, mirror: Mirror, generation: int) -> bool:
        snapshot = mirror.snapshot
        return snapshot is not None and snapshot.generation != generation

    def _followed(self) -> Mirror | None:
        """Return the mirror of a daemon of this host, None if there is none."""
        if not self._wanted:
            return None
        with self._lock:
            if self._mirror is not None and not self._mirror.ended:
                return self._mirror
            self._drop()
            try:
                client = Client(self._path, timeout_seconds=DAEMON_SECONDS)
            except NoDaemon:
                return None
            try:
                served = client.status().sysroot
                if served != self._root:
                    self._say(f"the daemon serves {served}, and not {self._root}")
                    client.close()
                    return None
                self._mirror = Mirror(client, self._offset)
            except BaseException:
                client.close()
                raise
            self._client, self._reported = client, ""
            return self._mirror

    def _drop(self) -> None:
        if self._mirror is not None:
            self._mirror.close()
        if self._client is not None:
            self._client.close()
        self._mirror = self._client = None

    def _report(self, error: Exception) -> None:
        self._say(str(error))

    def _say(self, why: str) -> None:
        """Log once why the daemon is not asked."""
        if why != self._reported:
            self._reported = why
            _log.warning("scanning %s, since the daemon cannot be asked: %s", self._root, why)


def _none(instance: str) -> int:
    return 0
