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

TURN_SECONDS: Final = 0.001
"""After so long the loop looks for new input, and the next user has its turn."""
UNFINISHED_AT_ONCE: Final = 8
"""Calls of one user that are answered in steps at the same time; others wait for their end."""
FAVOURED_AT_ONCE: Final = 4
"""Whole turns of favoured users after which another user has one."""


class Left(Enum):
    """What a client has to do after a turn."""

    NOTHING = 0
    CALLS = 1
    """it has more calls, or output"""
    UNFINISHED = 2
    """it is in the middle of a call"""


class Taker(Protocol):
    """A client that takes turns."""

    uid: int
    queued: bool
    """whether it waits for a turn; False at first, and for `Turns` to change"""

    def turn(self, until: float) -> Left:
        """Do what there is to do, until a time of the clock."""


class _Share:
    """The clients of one user that wait for a turn.

    Attributes:
        credit: seconds of its turn that are left; below zero, what earlier turns took too long.
        unfinished: clients in the middle of a call.
    """

    __slots__ = ("credit", "favoured", "queued", "uid", "unfinished", "waiting")

    def __init__(self, uid: int, favoured: bool) -> None:
        self.uid = uid
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
        self._shares: dict[int, _Share] = {}
        self._favoured: deque[_Share] = deque()
        self._others: deque[_Share] = deque()
        self._favoured_turns = 0  # since another user had one
        self._handle: asyncio.Handle | None = None

    def add(self, taker: Taker) -> None:
        """Give a client a turn soon, behind the others of its user; a no-op while it waits."""
        self.enqueue(taker)
        self._run_soon()

    def enqueue(self, taker: Taker) -> None:
        """Do the same, but leave it to the caller to call `start`."""
        if taker.queued:
            return
        taker.queued = True
        share = self._shares.get(taker.uid)
        if share is None:
            favoured = taker.uid in self._favoured_uids
            share = self._shares[taker.uid] = _Share(taker.uid, favoured)
        share.waiting.append(taker)
        if not share.queued:
            share.queued = True
            self._queue(share).append(share)

    def start(self) -> None:
        """Give turns to those that were enqueued: now, or when the turns before have ended."""
        if self._handle is None:
            self.run()

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

    def _queue(self, share: _Share) -> deque[_Share]:
        return self._favoured if share.favoured else self._others

    def _next(self) -> _Share | None:
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

    def _serve(self, share: _Share, began: float, until: float) -> float:
        """Give turns to the clients of a user; return the time."""
        waiting = share.waiting
        until = min(until, began + max(share.credit, 0.0))
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
            del self._shares[share.uid]
            return now
        share.credit -= now - began
        if share.credit > 0:
            self._queue(share).appendleft(share)
        else:
            self._queue(share).append(share)
            self._favoured_turns += share.favoured
        return now
