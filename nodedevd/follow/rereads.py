"""Rereads: has read again later what changes after its last event.

An mdev without a type, until the kernel has linked it; a device that was still present after its
uevent `remove`, or whose removal has begun; the counts of a parent that lost an mdev; what no
event reports and clients wait for, every few seconds; the whole host, at every reconcile. What
clients request is in `volatile`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterable
from itertools import chain, repeat

from nodedevd.follow.options import FollowOptions
from nodedevd.follow.pending import Pending, Scan
from nodedevd.kinds import KINDS
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.pci.sriov import sharing_functions
from nodedevd.model.changes import Change, Changed, Removed
from nodedevd.model.device import Device
from nodedevd.model.store import Store

INCOMPLETE_SECONDS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.0)
"""Backoff of the retries for an mdev without a type; the last delay repeats."""
LEAVING_SECONDS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
"""Delays between the reads of a device that is still present after its uevent `remove`."""
AFTER_REMOVAL_SECONDS = (0.1, 0.9)
"""Delays between the reads of a parent's counts after it lost an mdev."""

_RECONCILE, _POLL = "reconcile", "poll"
_POLLED = frozenset(kind.capability for kind in KINDS if kind.outdated is not None)


class Rereads:
    """Reads nothing itself: puts paths into `pending` when they are due."""

    def __init__(self, pending: Pending, store: Store, options: FollowOptions) -> None:
        self._pending = pending
        self._store = store
        self._reconcile_seconds = options.reconcile_seconds
        self._poll_seconds = options.poll_seconds
        self._polled: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """by the path that a task has read again, after `remove@` until the device is gone; or by
        the task's own name"""

    def start(self) -> None:
        """Start to reconcile, unless the interval is 0."""
        if self._reconcile_seconds > 0:
            self._schedule(_RECONCILE, self._reconcile())

    def close(self) -> None:
        """Have nothing read again."""
        for task in self._tasks.values():
            task.cancel()

    def after(self, changes: Iterable[Change]) -> None:
        """Schedule what these changes call for."""
        for change in changes:
            self._note_polled(change)
            if not isinstance(change, Removed) and change.device.state == "removing":
                self._watch_removal(change.device.path or "")
            if not isinstance(change, Removed) and _is_incomplete(change.device):
                self._complete(change.device)
            if isinstance(change, Removed):
                self._recount_parent(change.device)
            elif isinstance(change, Changed) and change.moved:
                # A defined mdev was stopped, and only its definition is left.
                self._recount_parent(change.before)

    def leaving(self, paths: Iterable[str]) -> None:
        """Schedule reads of those devices that are still present after their uevent `remove`."""
        for path in paths:
            if self._store.snapshot.at(path) is not None:
                self._schedule(f"remove@{path}", self._until_gone(path))

    def _watch_removal(self, path: str) -> None:
        """Schedule the same for a removal that has begun: it may have been seen half done."""
        if f"remove@{path}" not in self._tasks:
            self.leaving([path])

    def _complete(self, device: Device) -> None:
        path = device.path or ""
        if path not in self._tasks:
            self._schedule(path, self._until_complete(path))

    async def _until_complete(self, path: str) -> None:
        """Retry an mdev: the kernel links its type after its last uevent."""
        for delay in chain(INCOMPLETE_SECONDS, repeat(INCOMPLETE_SECONDS[-1])):
            await asyncio.sleep(delay)
            if not _is_incomplete(self._store.snapshot.at(path)):
                return
            self._pending.touch({path, path.rpartition("/")[0]})

    async def _until_gone(self, path: str) -> None:
        """Retry a device: the kernel removes its directory after its last uevent.

        It can also be a new device in the same place, which stays.
        """
        for delay in LEAVING_SECONDS:
            await asyncio.sleep(delay)
            if self._store.snapshot.at(path) is None:
                return
            self._pending.touch({path})

    def _recount_parent(self, mdev: Device) -> None:
        child = mdev.capability(MdevChild)
        if child is not None and child.parent_path is not None:
            self._schedule(child.parent_path, self._recount(child.parent_path))

    async def _recount(self, parent_path: str) -> None:
        """Read the counts of a parent, and of those that share them, again.

        The kernel frees the slot of an mdev after its last uevent.
        """
        for delay in AFTER_REMOVAL_SECONDS:
            await asyncio.sleep(delay)
            snapshot = self._store.snapshot
            parent = snapshot.at(parent_path)
            if parent is not None:
                self._pending.recount(sharing_functions(parent, snapshot))

    def _note_polled(self, change: Change) -> None:
        """Poll a device from now on, or no longer; without any the host is left alone."""
        if isinstance(change, Changed):
            self._polled.discard(change.before.path or "")
        device = change.device
        if isinstance(change, Removed) or not _is_polled(device):
            self._polled.discard(device.path or "")
        elif self._poll_seconds > 0:
            self._polled.add(device.path or "")
            polls = self._tasks.get(_POLL)
            if polls is None or polls.done():
                self._schedule(_POLL, self._poll())

    async def _poll(self) -> None:
        while self._polled:
            await asyncio.sleep(self._poll_seconds)
            self._pending.poll(self._polled)

    async def _reconcile(self) -> None:
        while True:
            # Jitter keeps the hosts of a cluster from scanning at the same moment.
            await asyncio.sleep(self._reconcile_seconds * random.uniform(0.9, 1.1))
            self._pending.request(Scan.RECONCILE)

    def _schedule(self, path: str, rereads: Coroutine[object, object, None]) -> None:
        """Run this for a path, instead of what runs for it now."""
        if path in self._tasks:
            self._tasks[path].cancel()
        task = self._tasks[path] = asyncio.create_task(rereads)
        task.add_done_callback(lambda _: self._forget(path, task))

    def _forget(self, path: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(path) is task:
            del self._tasks[path]


def _is_polled(device: Device) -> bool:
    return device.active and not _POLLED.isdisjoint(map(type, device.capabilities))


def _is_incomplete(device: Device | None) -> bool:
    child = None if device is None else device.capability(MdevChild)
    return child is not None and child.state == "incomplete"
