"""waiting: what a change waits for: its place at the control service, and the tree that shows it.

The control service takes a bounded number of connections, of one user a quarter. So calls queue
here, user by user, instead of being refused there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from nodedevd.descriptors import WRITES
from nodedevd.errors import CardBusy
from nodedevd.model.store import Store

PLACES_OF_USER: Final = 48
"""Connections of one user at a time; `descriptors.WRITES` are those of all."""
STUCK_SECONDS: Final = 30.0
"""A change that takes longer over one step is not waited for any more."""
QUEUES: Final = 20
"""How often a change joins the queue for its card again, which the service limits in time."""
PAUSE_SECONDS: Final = 0.1
"""Before it does, in case the service refuses at once."""
SETTLE_SECONDS: Final = 5.0
"""After so long a change that is confirmed is answered nevertheless."""

_T = TypeVar("_T")


class Places:
    """The connections to the control service that may be open at a time."""

    def __init__(self, places: int = WRITES, of_user: int = PLACES_OF_USER) -> None:
        self._all = asyncio.Semaphore(places)
        self._of_user = of_user
        self._users: WeakValueDictionary[int, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, uid: int) -> AsyncIterator[None]:
        """Wait for a place of a user, and give it back in the end."""
        user = self._users.get(uid)
        if user is None:
            user = self._users[uid] = asyncio.Semaphore(self._of_user)
        async with user, self._all:
            yield


async def in_turn(ask: Callable[[], Awaitable[_T]]) -> _T:
    """Return what comes of a change, in spite of others that are made of its card meanwhile.

    libvirt's clients wait as long as it takes: a queue of hundreds is no error, a change that hangs
    in a driver is. Raises what the call raises.
    """
    for _ in range(QUEUES):
        try:
            return await ask()
        except CardBusy as busy:
            if busy.seconds >= STUCK_SECONDS:
                raise
        await asyncio.sleep(PAUSE_SECONDS)
    return await ask()


async def settled(store: Store, holds: Callable[[], bool], seconds: float = SETTLE_SECONDS) -> bool:
    """Return when a condition of the store's snapshot holds; False if it does not in time."""
    if holds():
        return True
    held = asyncio.get_running_loop().create_future()

    def look() -> None:
        if not held.done() and holds():
            held.set_result(None)

    store.subscribe(look)
    try:
        async with asyncio.timeout(seconds):
            await held
    except TimeoutError:
        return False
    finally:
        store.unsubscribe(look)
    return True
