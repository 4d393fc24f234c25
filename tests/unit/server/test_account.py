"""Places and memory of users."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.errors import BudgetExceeded, TooManyClients
from nodedevd.server.account import Account, AccountLimits, Accounts, Holding

ROOT = 0
ALICE, BOB, CAROL, DAVE, EVE = range(1000, 1005)


def accounts(**limits: int) -> Accounts:
    """Return accounts with only root favoured."""
    return Accounts(AccountLimits(**limits), favoured=[ROOT])


def entered(accounts: Accounts, uid: int, places: int) -> list[Account]:
    """Take places for a user until one is refused."""
    return [accounts.enter(uid) for _ in range(places)]


def test_user_gets_a_quarter_of_the_places() -> None:
    """The error says whose limit it is; a place that was left is free again."""
    all_users = accounts(places=40, kept_places=4)
    held = entered(all_users, ALICE, 10)
    with pytest.raises(TooManyClients) as refused:
        all_users.enter(ALICE)
    assert refused.value.args == (10, ALICE)
    all_users.enter(BOB)
    held.pop().leave()
    all_users.enter(ALICE)


def test_places_are_kept_for_root_however_many_users_there_are() -> None:
    """Together they get all but the kept places; root gets as many as are free."""
    all_users = accounts(places=40, kept_places=4)
    for user in (ALICE, BOB, CAROL):
        entered(all_users, user, 10)
    entered(all_users, DAVE, 6)
    for user in (DAVE, EVE):
        with pytest.raises(TooManyClients) as refused:
            all_users.enter(user)
        assert refused.value.args == (36, None)
    entered(all_users, ROOT, 4)
    with pytest.raises(TooManyClients) as refused:
        all_users.enter(ROOT)
    assert refused.value.args == (40, None)


def test_root_may_have_more_than_a_quarter() -> None:
    """Its clients do not use up the other users' places beyond the total."""
    all_users = accounts(places=40, kept_places=4)
    root = entered(all_users, ROOT, 30)
    entered(all_users, ALICE, 10)
    with pytest.raises(TooManyClients):
        all_users.enter(BOB)
    root[0].leave()
    all_users.enter(BOB)


def test_accounts_without_clients_are_forgotten() -> None:
    """A user with many uids leaves nothing."""
    all_users = accounts()
    for uid in range(1000, 3000):
        all_users.enter(uid).leave()
    assert (all_users._accounts, all_users.places, all_users.other_places) == ({}, 0, 0)


def test_user_may_hold_so_many_bytes_over_all_clients() -> None:
    """What exceeds them is refused and not counted; another user has an own budget."""
    all_users = accounts(user_bytes=100)
    one, two = (Holding(all_users.enter(ALICE)) for _ in range(2))
    one.set("names", 60)
    two.set("names", 40)
    with pytest.raises(BudgetExceeded) as refused:
        two.set("reply", 1)
    assert refused.value.args == (100, ALICE)
    Holding(all_users.enter(BOB)).set("names", 100)
    one.set("names", 59)
    two.set("reply", 1)
    with pytest.raises(BudgetExceeded):
        one.set("names", 60)


def test_all_users_together_may_hold_so_many_bytes() -> None:
    """Root has as many for itself."""
    all_users = accounts(user_bytes=100, all_bytes=150)
    Holding(all_users.enter(ALICE)).set("names", 100)
    bob = Holding(all_users.enter(BOB))
    with pytest.raises(BudgetExceeded) as refused:
        bob.set("names", 51)
    assert refused.value.args == (150, None)
    bob.set("names", 50)
    root = Holding(all_users.enter(ROOT))
    root.set("names", 150)
    with pytest.raises(BudgetExceeded) as refused:
        root.set("reply", 1)
    assert refused.value.args == (150, ROOT)


def test_what_clients_share_counts_once_for_a_user() -> None:
    """As long as one of them holds it."""
    all_users = accounts(user_bytes=100)
    account = all_users.enter(ALICE)
    one, two = Holding(account), Holding(account)
    reply, other = b"a" * 80, b"b" * 80
    one.share("reply", reply, 80)
    two.share("reply", reply, 80)
    with pytest.raises(BudgetExceeded):
        two.share("reply", other, 80)
    assert account.held_bytes == 80
    one.drop("reply")
    assert account.held_bytes == 80
    two.drop("reply")
    assert account.held_bytes == 0
    two.share("reply", other, 80)


def test_sharing_the_same_again_counts_once() -> None:
    """A holder that replaces an object by the same one holds it once."""
    account = accounts(user_bytes=100).enter(ALICE)
    holding, reply = Holding(account), b"a" * 80
    holding.share("reply", reply, 80)
    holding.share("reply", reply, 80)
    holding.drop("reply")
    assert (account.held_bytes, account._shared) == (0, {})


STEPS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["set", "share", "drop", "close"]),
        st.sampled_from(["names", "reply"]),
        st.integers(0, 60),
    )
)


@given(STEPS)
def test_closing_gives_everything_back(steps: list[tuple[int, str, str, int]]) -> None:
    """Whatever was held and refused before."""
    all_users = accounts(user_bytes=100, all_bytes=150)
    users = [all_users.enter(uid) for uid in (ROOT, ALICE, ALICE, BOB)]
    holdings = [Holding(account) for account in users]
    objects = [bytes(size) for size in range(61)]
    for index, step, what, size in steps:
        holding = holdings[index]
        try:
            if step == "set":
                holding.set(what, size)
            elif step == "share":
                holding.share(what, objects[size], size)
            elif step == "drop":
                holding.drop(what)
            else:
                holding.close()
        except BudgetExceeded:
            pass
        assert all(0 <= account.held_bytes <= 150 for account in users)
        assert all_users.held_bytes == users[1].held_bytes + users[3].held_bytes <= 150
    for holding in holdings:
        holding.close()
    assert all((account.held_bytes, account._shared) == (0, {}) for account in users)
    assert all_users.held_bytes == 0
