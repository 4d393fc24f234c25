"""Turns: shares the time of the event loop between the users whose clients it serves.

Clients with something to do wait in a queue of their user. One call of `run` serves them for
`TURN_SECONDS`, then the loop looks for new input before it goes on. Users take turns, each for
the same time by the clock (deficit round robin): what a turn took too long, the user waits out
while others have something to do. So a user with 900 busy clients gets no more than one with a
single busy client.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final, Protocol
from weakref import WeakValueDictionary

TURN_SECONDS: Final = 0.001
"""After so long the loop looks for new input, and the next user has its turn."""
UNFINISHED_AT_ONCE: Final = 8
"""Calls of one user that are answered in steps at the same time; others wait for their end."""
FAVOURED_AT_ONCE: Final = 4
"""Whole turns of favoured users after which another user has one."""

_SECONDS_LEFT_OVER: Final = TURN_SECONDS / 20
"""A turn that has no more than this left has ended."""


class Left(Enum):
    """What a client has to do after a turn."""

    NOTHING = 0
    CALLS = 1
    """it has more calls, or output"""
    UNFINISHED = 2
    """it is in the middle of a call"""


class Taker(Protocol):
    """A client that takes turns."""

    share: Share
    """that of its user"""
    queued: bool
    """whether it waits for a turn; False at first, and for `Turns` to change"""

    def turn(self, until: float) -> Left:
        """Do what there is to do, until a time of the clock."""


class Share:
    """The clients of one user that wait for a turn; `Turns.share` returns it.

    Attributes:
        credit: seconds of its turn that are left; below zero, what earlier turns took too long.
        unfinished: clients in the middle of a call.
    """

    __slots__ = ("__weakref__", "credit", "favoured", "queue", "queued", "unfinished", "waiting")

    def __init__(self, queue: deque[Share], favoured: bool) -> None:
        self.queue = queue
        self.favoured = favoured
        self.waiting: deque[Taker] = deque()
        self.unfinished: set[Taker] = set()
        self.credit = 0.0
        self.queued = False

    def put_back(self, taker: Taker, left: Left) -> None:
        """Have a client wait for its next turn."""
        taker.queued = True
        if left is Left.CALLS:
            self.unfinished.discard(taker)
            self.waiting.append(taker)
        elif taker in self.unfinished or len(self.unfinished) < UNFINISHED_AT_ONCE:
            self.unfinished.add(taker)
            self.waiting.append(taker)
        else:
            self.waiting.appendleft(taker)


class Turns:
    """Gives turns to clients; made on a running event loop.

    `favoured` users come first: root and the daemon's own.
    """

    def __init__(
        self,
        favoured: Iterable[int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self.look: Callable[[], None] = lambda: None
        """called before a turn of the loop: who has become ready meanwhile is enqueued"""
        self._loop = asyncio.get_running_loop()
        self._favoured_uids = frozenset((0, os.geteuid()) if favoured is None else favoured)
        self._shares: WeakValueDictionary[int, Share] = WeakValueDictionary()
        self._favoured: deque[Share] = deque()
        self._others: deque[Share] = deque()
        self._favoured_turns = 0  # since another user had one
        self._handle: asyncio.Handle | None = None

    def share(self, uid: int) -> Share:
        """Return the share of a user, which its clients keep."""
        share = self._shares.get(uid)
        if share is None:
            favoured = uid in self._favoured_uids
            share = Share(self._favoured if favoured else self._others, favoured)
            self._shares[uid] = share
        return share

    def add(self, taker: Taker) -> None:
        """Give a client a turn soon, behind the others of its user; a no-op while it waits."""
        self.enqueue(taker)
        self._run_soon()

    def enqueue(self, taker: Taker) -> None:
        """Do the same, but leave it to the caller to call `start`."""
        if taker.queued:
            return
        taker.queued = True
        share = taker.share
        share.waiting.append(taker)
        if not share.queued:
            share.queued = True
            share.queue.append(share)

    def start(self) -> None:
        """Give turns to those that were enqueued: now, or when the turns before have ended."""
        if self._handle is None:
            self.run()

    def start_with(self, taker: Taker) -> None:
        """Give a client a turn as `start` does; at once and in less time if no other waits."""
        if self._handle is None and not taker.queued and not self._favoured and not self._others:
            left = taker.turn(self.clock() + TURN_SECONDS)
            if left is not Left.NOTHING:
                self.add(taker)
        else:
            self.enqueue(taker)
            self.start()

    def run(self) -> None:
        """Give turns for about `TURN_SECONDS`; the loop's next turn goes on with what is left."""
        now = self.clock()
        until = now + TURN_SECONDS
        while now < until:
            share = self._next()
            if share is None:
                return
            now = self._serve(share, now, until)
        if self._favoured or self._others:
            self._run_soon()

    def close(self) -> None:
        """Give no more turns."""
        if self._handle is not None:
            self._handle.cancel()

    def _run_soon(self) -> None:
        if self._handle is None:
            self._handle = self._loop.call_soon(self._run_now)

    def _run_now(self) -> None:
        self._handle = None
        self.look()
        self.run()

    def _next(self) -> Share | None:
        """Return the user whose turn it is, None if no client waits."""
        if self._favoured and (not self._others or self._favoured_turns < FAVOURED_AT_ONCE):
            queue = self._favoured
        else:
            queue, self._favoured_turns = self._others, 0
        while queue:
            share = queue.popleft()
            if share.credit <= 0:
                share.credit += TURN_SECONDS
                if share.credit <= 0 and queue:
                    queue.append(share)
                    continue
            return share
        return None

    def _serve(self, share: Share, began: float, until: float) -> float:
        """Give turns to the clients of a user; return the time."""
        waiting = share.waiting
        if began + share.credit < until:
            until = began + share.credit
        now = began
        while waiting:
            taker = waiting.popleft()
            taker.queued = False
            left = taker.turn(until)
            if left is Left.NOTHING:
                if share.unfinished:
                    share.unfinished.discard(taker)
            elif not taker.queued:
                share.put_back(taker, left)
            now = self.clock()
            if now >= until:
                break
        if not waiting:
            # What it owes is forgotten: it had to wait for no other user.
            share.queued = False
            share.credit = 0.0
            return now
        share.credit -= now - began
        if share.credit > _SECONDS_LEFT_OVER:
            share.queue.appendleft(share)
        else:
            share.queue.append(share)
            self._favoured_turns += share.favoured
        return now
