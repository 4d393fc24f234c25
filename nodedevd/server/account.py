"""Account: the places and the memory that one user's clients take, whichever protocol they speak.

A user is the uid of a client's process when it connected, SO_PEERCRED of unix(7). Root and the
daemon's own user are favoured: some places are kept for them, and they have a budget of their
own, so that nothing that the other users do keeps them out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

import msgspec

from nodedevd.errors import BudgetExceeded, TooManyClients

USER_FRACTION: Final = 4
"""A user takes at most one of so many parts of all places."""


class AccountLimits(msgspec.Struct, frozen=True):
    """What the clients of one user, and of all users, may take."""

    places: int = 1024
    """connected clients of all users, over all sockets"""
    kept_places: int = 32
    """of these, for root and the daemon's own user"""
    user_bytes: int = 16 << 20
    """memory that the clients of one user may hold"""
    all_bytes: int = 80 << 20
    """the same of all users together, but the favoured; the limit of each of these, too"""

    @property
    def user_places(self) -> int:
        """Connected clients of one user."""
        return max(1, self.places // USER_FRACTION)

    @property
    def other_places(self) -> int:
        """Connected clients of all users but the favoured."""
        return max(1, self.places - self.kept_places)


class Accounts:
    """The accounts of all users that have clients.

    Attributes:
        places: the number of clients that are connected now.
        other_places: those of them that are not the favoured users'.
        held_bytes: memory that the clients of users that are not favoured hold.
    """

    def __init__(
        self, limits: AccountLimits | None = None, favoured: Iterable[int] | None = None
    ) -> None:
        self.limits = limits or AccountLimits()
        self.places = 0
        self.other_places = 0
        self.held_bytes = 0
        self._favoured = frozenset((0, os.geteuid()) if favoured is None else favoured)
        self._accounts: dict[int, Account] = {}

    def enter(self, uid: int) -> Account:
        """Take a place for a client of a user, until `Account.leave`. Raises TooManyClients."""
        limits, favoured = self.limits, uid in self._favoured
        account = self._accounts.get(uid)
        if not favoured and account is not None and account.places >= limits.user_places:
            raise TooManyClients(limits.user_places, uid)
        if not favoured and self.other_places >= limits.other_places:
            raise TooManyClients(limits.other_places)
        if self.places >= limits.places:
            raise TooManyClients(limits.places)
        if account is None:
            account = self._accounts[uid] = Account(self, uid, favoured)
        account.places += 1
        self.places += 1
        self.other_places += not favoured
        return account

    def leave(self, account: Account) -> None:
        """Give a place back; an account without a place is forgotten."""
        account.places -= 1
        self.places -= 1
        self.other_places -= not account.favoured
        if not account.places:
            del self._accounts[account.uid]


class Account:
    """What the clients of one user take.

    Attributes:
        uid: the user.
        favoured: whether the user is root or the daemon's own.
        places: the number of its clients that are connected now.
        held_bytes: memory that they hold.
    """

    def __init__(self, accounts: Accounts, uid: int, favoured: bool) -> None:
        self.uid = uid
        self.favoured = favoured
        self.places = 0
        self.held_bytes = 0
        self._accounts = accounts
        self._shared: dict[int, int] = {}  # the number of holders, by the identity of the object

    def leave(self) -> None:
        """Give the place of a client back."""
        self._accounts.leave(self)

    def take(self, size: int) -> None:
        """Add bytes to those that are held. Raises BudgetExceeded, and adds nothing."""
        limits = self._accounts.limits
        limit = limits.all_bytes if self.favoured else limits.user_bytes
        if self.held_bytes + size > limit:
            raise BudgetExceeded(limit, self.uid)
        if not self.favoured:
            if self._accounts.held_bytes + size > limits.all_bytes:
                raise BudgetExceeded(limits.all_bytes)
            self._accounts.held_bytes += size
        self.held_bytes += size

    def give(self, size: int) -> None:
        """Subtract bytes that are held no longer."""
        self.held_bytes -= size
        if not self.favoured:
            self._accounts.held_bytes -= size

    def take_shared(self, held: object, size: int) -> None:
        """Add an object that other clients may hold as well; it is counted once for a user.

        Its holders keep a reference to it until `give_shared`. Raises BudgetExceeded.
        """
        holders = self._shared.get(id(held), 0)
        if not holders:
            self.take(size)
        self._shared[id(held)] = holders + 1

    def give_shared(self, held: object, size: int) -> None:
        """Note that a client holds the object no longer."""
        holders = self._shared.pop(id(held)) - 1
        if holders:
            self._shared[id(held)] = holders
        else:
            self.give(size)


class Holding:
    """The memory that one client holds, in its user's account; by what it is held for.

    `holding.set("names", 4096)` replaces what was held for names before, so a mistake in one
    place cannot add up; `close` gives everything back.
    """

    def __init__(self, account: Account | None = None) -> None:
        self._account = account or Accounts().enter(os.geteuid())
        self._sizes: dict[str, int] = {}
        self._shared: dict[str, tuple[object, int]] = {}

    def set(self, what: str, size: int) -> None:
        """Hold so many bytes for something. Raises BudgetExceeded, and holds as many as before."""
        before = self._sizes.get(what, 0)
        if size > before:
            self._account.take(size - before)
        elif size < before:
            self._account.give(before - size)
        if size:
            self._sizes[what] = size
        else:
            self._sizes.pop(what, None)

    def share(self, what: str, held: object, size: int) -> None:
        """Hold an object for something that other clients may hold as well.

        Raises BudgetExceeded, and holds what it held before.
        """
        self._account.take_shared(held, size)
        self.drop(what)
        self._shared[what] = held, size

    def move(self, account: Account) -> None:
        """Hold the same in another account. Raises BudgetExceeded, and holds nothing."""
        sizes, shared = self._sizes.copy(), self._shared.copy()
        self.close()
        self._account = account
        try:
            for what, size in sizes.items():
                self.set(what, size)
            for what, (held, size) in shared.items():
                self.share(what, held, size)
        except BudgetExceeded:
            self.close()
            raise

    def drop(self, what: str) -> None:
        """Hold nothing for something any longer."""
        if what in self._sizes:
            self.set(what, 0)
        shared = self._shared.pop(what, None)
        if shared is not None:
            self._account.give_shared(*shared)

    def close(self) -> None:
        """Hold nothing any longer."""
        for what in (*self._sizes, *self._shared):
            self.drop(what)
