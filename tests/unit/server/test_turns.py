"""Turns: whose turn it is, counted in units of work by a clock that the work moves."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from nodedevd.server.turns import (
    FAVOURED_AT_ONCE,
    TURN_SECONDS,
    UNFINISHED_AT_ONCE,
    Left,
    Turns,
)

UNIT = TURN_SECONDS / 10
ROOT, POLITE, HOSTILE = 0, 1000, 65534


class Bench:
    """Turns by a clock of its own.

    Attributes:
        done: the user of each unit of work, in order.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.done: list[int] = []
        self.turns = Turns({ROOT}, clock=lambda: self.now)

    def client(self, uid: int, units: int, *, size: float = UNIT, calls: bool = True) -> Client:
        """Return a client with work to do, which waits for a turn."""
        client = Client(self, uid, units, size, calls)
        self.turns.enqueue(client)
        return client


class Client:
    """A client that has units of work, each of which takes some time."""

    def __init__(self, bench: Bench, uid: int, units: int, size: float, calls: bool) -> None:
        self.share = bench.turns.share(uid)
        self.queued = False
        self.units = units
        self.turns = 0
        self._bench = bench
        self._uid = uid
        self._size = size
        self._left = Left.CALLS if calls else Left.UNFINISHED

    def turn(self, until: float) -> Left:
        """Do units of work until the time is over; at least one."""
        self.turns += 1
        while self.units:
            self.units -= 1
            self._bench.now += self._size
            self._bench.done.append(self._uid)
            if self._bench.now >= until:
                break
        return self._left if self.units else Left.NOTHING


async def test_turn_of_the_loop_ends_in_time() -> None:
    """However many clients wait, with whatever they have to do."""
    bench = Bench()
    clients = [bench.client(HOSTILE, 10_000) for _ in range(900)]
    bench.turns.run()
    assert len(bench.done) == 10
    assert sum(client.turns for client in clients) == 1


async def test_users_share_the_time_not_their_clients() -> None:
    """One client gets as much as 900 clients of another user."""
    bench = Bench()
    for _ in range(900):
        bench.client(HOSTILE, 1000)
    bench.client(POLITE, 10_000)
    for _ in range(100):
        bench.turns.run()
    done = Counter(bench.done)
    assert abs(done[HOSTILE] - done[POLITE]) < 0.1 * done[POLITE]


async def test_what_a_turn_took_too_long_is_waited_out() -> None:
    """A user whose calls take ten turns each has one in eleven."""
    bench = Bench()
    bench.client(HOSTILE, 100, size=10 * TURN_SECONDS)
    bench.client(POLITE, 100_000)
    for _ in range(110):
        bench.turns.run()
    assert bench.done.count(POLITE) * UNIT >= 0.9 * bench.done.count(HOSTILE) * 10 * TURN_SECONDS


async def test_favoured_user_is_next_and_starves_nobody() -> None:
    """It waits for one turn at the most; others have one after some of its turns."""
    bench = Bench()
    bench.client(HOSTILE, 100_000)
    bench.turns.run()
    bench.client(ROOT, 100_000)
    for _ in range(2 * FAVOURED_AT_ONCE + 2):
        bench.turns.run()
    users = [bench.done[start] for start in range(0, len(bench.done), 10)]
    assert users[1] == ROOT
    assert 2 <= users.count(HOSTILE) <= 3
    assert not any(one == other == HOSTILE for one, other in pairwise(users))


async def test_few_calls_of_a_user_are_made_in_steps_at_once() -> None:
    """Others of the same user begin when these have ended, since each keeps memory."""
    bench = Bench()
    clients = [bench.client(HOSTILE, 100, calls=False) for _ in range(100)]
    for _ in range(100):
        bench.turns.run()
        begun = [client for client in clients if client.turns and client.units]
        assert len(begun) <= UNFINISHED_AT_ONCE + 1


async def test_lone_user_is_not_slowed_down() -> None:
    """Its debts are forgotten while nobody else waits."""
    bench = Bench()
    client = bench.client(HOSTILE, 10, size=5 * TURN_SECONDS)
    for _ in range(10):
        bench.turns.run()
    assert client.units == 0
