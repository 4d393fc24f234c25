"""recovery: takes up the changes of a process that was killed, from what the journal has of them.

An entry whose cards nobody has locked belongs to no process: the locks end with the process, and
with the writer that it may have left hanging in a driver. Where the change had come to its end, it
is kept; else it is undone; what cannot be undone stays in the journal, and `GetStatus` shows it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Thread

from nodedevd.actions.changed import changed_or_found
from nodedevd.actions.plan import Plan
from nodedevd.control.change import Change
from nodedevd.control.context import Context
from nodedevd.control.journal import Entry, locks_of
from nodedevd.control.left import left_in
from nodedevd.control.locks import Locked
from nodedevd.errors import CardBusy, NodedevError

_log = logging.getLogger(__name__)

_FOREVER = float("inf")


def recover(context: Context) -> None:
    """Take up all changes that were interrupted, the last one first.

    Those whose cards are still locked, because a write hangs or another process is alive, are
    taken up in the background when the cards are free. What is in the way of one entry is logged.
    Raises OSError if the journal cannot be listed.
    """
    for number in reversed(context.journal.numbers()):
        try:
            _take_up(context, number, seconds=0)
        except CardBusy:
            Thread(
                target=_take_up, args=(context, number, _FOREVER), name="recover", daemon=True
            ).start()


def settle(
    context: Context,
    locked: Locked,
    begins: Callable[[str | None], None] = lambda step: None,
    *,
    again: bool = False,
) -> None:
    """Take up the interrupted changes of cards that this process has locked.

    Args:
        context: The host.
        locked: The cards; a change that concerns others, too, is left alone.
        begins: Called with each step as it begins; see `Change`.
        again: Whether to try once more to undo what could not be undone.

    Raises OSError.
    """
    for entry in reversed([*context.journal.entries()]):
        if isinstance(entry, Entry) and set(entry.locks) <= set(locked.cards):
            _settle(Change(context, entry, locked, begins), again=again)


def cards_with(context: Context, plan: Plan) -> frozenset[str]:
    """Return the cards of a plan, and of changes in the journal that concern them.

    A plan without steps has none of its own, and ends what is left of what it has found as it is
    to be. Raises OSError.
    """
    found = set(locks_of(plan))
    as_it_is = frozenset() if plan.steps else changed_or_found(plan)
    for entry in context.journal.entries():
        if isinstance(entry, Entry) and not (
            found.isdisjoint(entry.locks) and as_it_is.isdisjoint(left_in(entry))
        ):
            found.update(entry.locks)
    return frozenset(found)


def _take_up(context: Context, number: int, seconds: float) -> None:
    entry = context.journal.read(number)
    if not isinstance(entry, Entry):
        return
    locked = context.locks.take(entry.locks, seconds)
    try:
        settle(context, locked, again=True)
    except OSError as error:
        _log.warning("change %d cannot be taken up: %s", number, error)
    finally:
        locked.release()


def _settle(change: Change, *, again: bool) -> None:
    entry = change.entry
    number, action = entry.number, entry.plan.action
    try:
        if entry.phase == "left":
            if not change.still_left():
                change.drop()
            elif again:
                change.undo(entry.count)
            return
        if entry.phase == "undoing":
            change.undo(entry.index + 1, entry.left, entry.count)
        elif change.is_all_done():
            change.confirm()
        elif entry.phase == "confirming" and change.takes_away:
            change.end()  # what is there now was made since
        else:
            change.undo(min(entry.index + 1, len(entry.plan.steps)))
        _log.warning("change %d, %s, was interrupted: taken up", number, action)
    except NodedevError as error:
        _log.warning("change %d, %s, was interrupted: %s", number, action, error)
