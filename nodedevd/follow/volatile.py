"""VolatileValues: has the values that change without an event read again when a client needs them.

These are the counts of an mdev parent, the profile of a vGPU and the ports of an RDMA device. They
are read when a client is about to see them and they are older than the options allow. The profile
of a vGPU is also polled, by `rereads`, since clients wait for it to be set.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable, Mapping

from nodedevd.follow.options import FollowOptions
from nodedevd.follow.pending import Pending, Work, settle
from nodedevd.model.device import Device
from nodedevd.model.freshness import Freshness
from nodedevd.model.snapshot import Snapshot

READ_BESIDES = 256
"""Devices that are read together with those that a client requests."""


class VolatileValues(Freshness):
    """Knows when the volatile values of each device were read, and requests them again."""

    def __init__(self, pending: Pending, options: FollowOptions) -> None:
        self._pending = pending
        self._maximum_age = options.count_age_seconds
        self._timeout = 2 * options.stuck_seconds
        self._read_at: dict[str, float] = {}
        self._requested_at: dict[str, float] = {}

    def refresh(self, devices: Iterable[Device]) -> asyncio.Future[None] | None:
        """Have the volatile values of these devices read again where they are too old.

        Returns a future that ends when the store has them, None if all are recent enough.
        """
        paths = [one.path for one in devices if one.is_volatile and one.path is not None]
        if not paths:
            return None
        time_now = time.monotonic()
        oldest = time_now - self._maximum_age
        self._requested_at.update(dict.fromkeys(paths, time_now))
        stale = self._older_than(oldest, paths)
        if not stale:
            return None
        future = self._pending.refresh(stale, oldest)
        # With every thread stuck, stale values are better than no reply.
        timer = asyncio.get_running_loop().call_later(self._timeout, settle, future)
        future.add_done_callback(lambda _: timer.cancel())
        return future

    def fresh_until(self, device: Device) -> float:
        """Return when the values of a device become too old, as time.monotonic()."""
        if not device.is_volatile:
            return math.inf
        return self._read_at.get(device.path or "", 0.0) + self._maximum_age

    def read_besides(self, work: Work) -> None:
        """Have a job for volatile values also read those that clients requested recently.

        They are stale by now. To read one of them besides takes less time than a job of its own
        at its next request.
        """
        if not work.volatile:
            return
        oldest = work.began - self._maximum_age
        since = oldest - self._maximum_age
        self._requested_at = {path: at for path, at in self._requested_at.items() if at > since}
        others = self._older_than(oldest, self._requested_at.keys() - work.volatile)
        work.volatile.update(others[:READ_BESIDES])

    def note(self, work: Work, snapshot: Snapshot, began: Mapping[str, float]) -> None:
        """Note what a job read into a snapshot.

        `began` has when it began to read each device, as time.monotonic(), if it knows.
        """
        paths = work.touched | work.volatile
        if work.scan:
            self._read_at = {}
            paths = {one.path for one in snapshot if one.is_volatile and one.path is not None}
        for path in paths:
            device = snapshot.at(path)
            if device is not None and device.is_volatile:
                self._read_at[path] = began.get(path, work.began)
            else:
                self._read_at.pop(path, None)

    def _older_than(self, oldest: float, paths: Iterable[str]) -> list[str]:
        """Return those paths whose last read began before a time."""
        return [path for path in paths if self._read_at.get(path, 0.0) < oldest]
