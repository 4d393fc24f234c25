"""Autostart: starts the mdevs that are defined so, once each time their parents appear.

mdevctl leaves that to a udev rule, which tries once, when the parent is registered, and on Debian
runs a program that is not there. Here it is tried until it works, or in vain for some minutes: the
types of a parent, or room on its card, may come late; and what could not be started is reported.

A parent has appeared if it was not there at the last look, or has been registered anew since: its
directory `mdev_supported_types` has another inode then. What was seen, and what is to be started
still, outlives the service in a directory below /run. So an mdev that somebody has stopped stays
stopped until its parent is registered anew, or the host is booted.

Nothing is started unless that directory exists: nodedevd-control-autostart.service makes it, and
so says that the administrator wants this. The service may be started for a client at any time, and
that is no reason to start what has been stopped since the boot.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from nodedevd.actions.answers import NotStarted
from nodedevd.actions.requests import Start
from nodedevd.control.seen import Seen
from nodedevd.errors import NodedevError
from nodedevd.host.mdev_paths import MDEV_TYPES
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.vgpus import card_of

PAUSES: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0, 60.0)
"""Seconds before each further attempt; after the last it is given up, until something changes.

A look at the host that fails is never given up.
"""
LOOK_SECONDS: Final = 60.0
"""How long nothing is looked at if no change is seen."""
SETTLE_SECONDS: Final = 0.2
"""How long nothing is looked at after a change."""
_UNWANTED_SECONDS: Final = 2.0
"""How long it is not looked whether the directory is there."""
_RUNNING_SECONDS: Final = 1.0
"""How long nothing is looked at while mdevs are being started."""
_FILE: Final = "parents"
_log: Final = logging.getLogger(__name__)


class Changing(Protocol):
    """The tree of the host; see `View`."""

    def snapshot(self) -> Snapshot:
        """Return the tree of this moment. Raises NodedevError, OSError."""

    def wait_for_change(self, generation: int, seconds: float) -> None:
        """Wait until there is a newer tree than that, at most so many seconds."""


class Waiting(msgspec.Struct, frozen=True, order=True):
    """An mdev that is to be started."""

    parent: str
    """kernel name of the parent"""
    uuid: str


class _Kept(msgspec.Struct):
    """What outlives the service."""

    parents: dict[str, int]
    """the inode of `mdev_supported_types` of each parent that was seen, by its kernel name"""
    waiting: list[Waiting]


@dataclass
class _Try:
    """What came of an mdev that is to be started."""

    card: str = ""
    """name of the card; one of its mdevs at a time is started"""
    due: float = 0.0
    """on the monotonic clock"""
    tries: int = 0
    detail: str = "it is about to be started"
    obstacle: str | None = None
    """what the tree shows that it waits for"""

    @property
    def given_up(self) -> bool:
        """Whether it is not tried again unless something changes."""
        return self.tries > len(PAUSES)


class Autostart:
    """Starts mdevs of one host, each card's in a thread of its own."""

    def __init__(
        self,
        view: Changing,
        act: Callable[[Start], object],
        root: str,
        directory: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look at nothing yet.

        Args:
            view: The tree.
            act: Starts an mdev; raises NodedevError, OSError.
            root: The sysroot.
            directory: Where it is kept what was seen; nothing is done unless it exists.
            clock: Seconds, for tests.
        """
        self._view = view
        self._act = act
        self._root = root
        self._seen = Seen(directory, _FILE, _Kept)
        self._clock = clock
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._parents: dict[str, int] = {}
        self._tries: dict[Waiting, _Try] = {}
        self._absent: tuple[NotStarted, ...] = ()
        self._busy: set[str] = set()  # cards whose mdevs are being started

    def run(self) -> None:
        """Look, start, and wait for changes, until `stop`. Blocks."""
        failures = 0
        while not self._stopped.is_set():
            try:
                with self._lock:
                    is_wanted = self._is_wanted()
                if not is_wanted:
                    self._stopped.wait(_UNWANTED_SECONDS)
                    continue
                snapshot = self._view.snapshot()
                seconds = self.look(snapshot)
                for card, waiting in self.due():
                    threading.Thread(
                        target=self.start, args=(card, waiting), name="autostart", daemon=True
                    ).start()
            except (NodedevError, OSError) as error:
                _log.warning("cannot look for mdevs to start: %s", error)
            except Exception:
                _log.exception("cannot look for mdevs to start")
            else:
                failures = 0
                self._view.wait_for_change(snapshot.generation, seconds)
                self._stopped.wait(SETTLE_SECONDS)  # changes come in bursts
                continue
            self._stopped.wait(PAUSES[min(failures, len(PAUSES) - 1)])
            failures += 1

    def stop(self) -> None:
        """Have `run` end with its next look."""
        self._stopped.set()

    def not_started(self) -> tuple[NotStarted, ...]:
        """Return what is to be started and is not, sorted by parent and UUID."""
        with self._lock:
            waiting = [
                NotStarted(
                    uuid=one.uuid,
                    parent=one.parent,
                    detail=state.detail,
                    tries=state.tries,
                    waits=not state.given_up,
                )
                for one, state in self._tries.items()
            ]
            return tuple(sorted((*waiting, *self._absent), key=lambda one: (one.parent, one.uuid)))

    def look(self, snapshot: Snapshot) -> float:
        """Note which parents have appeared, and what is to be started.

        Returns the seconds until the next attempt is due. Raises OSError, UnsafePath.
        """
        with self._lock:
            if not self._is_wanted():
                return LOOK_SECONDS
        parents = {
            device.sysname or "": device
            for device in snapshot
            if device.active and device.capability(MdevParent) is not None
        }
        registered = dict(self._registered(parents.values()))
        # The mdev's own parent_path may be of another moment than the parent.
        inactive = {
            Waiting(mdev.parent_addr, mdev.uuid): mdev
            for device in snapshot
            if (mdev := device.capability(MdevChild)) is not None
            and mdev.state == "inactive"
            and mdev.autostart
        }
        with self._lock:
            before = (self._parents, set(self._tries))
            for one in inactive:
                inode = registered.get(one.parent)
                if inode is not None and inode != self._parents.get(one.parent):
                    self._tries[one] = _Try()
            self._parents = registered
            # What is no longer inactive runs, or nobody wants it started any more.
            present = {one for one in inactive if one.parent in registered}
            self._tries = {one: state for one, state in self._tries.items() if one in present}
            for one, state in self._tries.items():
                state.card = card_of(parents[one.parent])
                if state.obstacle != inactive[one].waits_for:
                    state.obstacle = inactive[one].waits_for
                    state.due = self._clock()
                    if state.given_up:
                        state.tries = 0
            self._absent = tuple(
                NotStarted(
                    uuid=one.uuid, parent=one.parent, detail=_absence(mdev), tries=0, waits=True
                )
                for one, mdev in inactive.items()
                if one.parent not in registered
            )
            if before != (self._parents, set(self._tries)):
                self._write()
            return self._seconds()

    def due(self) -> list[tuple[str, list[Waiting]]]:
        """Return what is to be started now, by card. All of it has to be given to `start`."""
        found: dict[str, list[Waiting]] = {}
        with self._lock:
            for one, state in sorted(self._tries.items(), key=lambda item: item[0]):
                is_due = not state.given_up and state.due <= self._clock()
                if is_due and state.card not in self._busy:
                    found.setdefault(state.card, []).append(one)
            self._busy.update(found)
        return list(found.items())

    def start(self, card: str, waiting: Iterable[Waiting]) -> None:
        """Start mdevs of one card, one after the other, whatever comes of each."""
        try:
            for one in waiting:
                with self._lock:
                    state = self._tries.get(one)
                if state is not None:
                    error = self._try(one)
                    with self._lock:
                        self._note(one, state, error)
        finally:
            with self._lock:
                self._busy.discard(card)

    def _note(self, one: Waiting, state: _Try, error: str | None) -> None:
        """Note what came of an attempt, and when the next is due."""
        if error is None:
            if self._tries.pop(one, None) is not None:
                self._write()
            return
        state.tries += 1
        state.detail = error
        if state.given_up:
            _log.error("gave up starting %s on %s: %s", one.uuid, one.parent, error)
        else:
            state.due = self._clock() + PAUSES[state.tries - 1]

    def _seconds(self) -> float:
        """Return the seconds until the next attempt, at most `LOOK_SECONDS`."""
        if self._busy:
            return _RUNNING_SECONDS
        times = [state.due - self._clock() for state in self._tries.values() if not state.given_up]
        return max(0.0, min([LOOK_SECONDS, *times]))

    def _try(self, one: Waiting) -> str | None:
        """Start an mdev; return why that failed, None if it runs."""
        try:
            self._act(Start(name=one.uuid, parent=one.parent))
        except (NodedevError, OSError) as error:
            return str(error)
        except Exception as error:
            _log.exception("cannot start %s on %s", one.uuid, one.parent)
            return f"a defect: {error}"
        return None

    def _registered(self, parents: Iterable[Device]) -> Iterator[tuple[str, int]]:
        """Yield the parents that there are, with the inodes of their types. Raises OSError."""
        for device in parents:
            types = f"{self._root.rstrip('/')}{device.path}/{MDEV_TYPES}"
            with suppress(FileNotFoundError, NotADirectoryError):  # it has just gone
                yield device.sysname or "", os.stat(types).st_ino

    def _write(self) -> None:
        self._seen.write(_Kept(parents=self._parents, waiting=sorted(self._tries)))

    def _is_wanted(self) -> bool:
        """Return whether mdevs are started at all; take up what was seen before."""
        if self._seen.look():
            kept = self._seen.before or _Kept(parents={}, waiting=[])
            self._parents, self._absent = kept.parents, ()
            self._tries = {one: _Try() for one in kept.waiting}
        return self._seen.is_wanted


def _absence(mdev: MdevChild) -> str:
    if mdev.parent_path is None:
        return f"its parent {mdev.parent_addr} is missing"
    return f"the driver of {mdev.parent_addr} has not registered it as an mdev parent"
