"""state: which changes of a host are in progress, and what is left of those that failed.

It is read from the journal and the locks, so that it includes the changes of other processes, and
the writes that a killed service has left behind in a driver.
"""

from __future__ import annotations

from nodedevd.actions.answers import InProgress, Leftover
from nodedevd.control.context import Context
from nodedevd.control.journal import Entry


def in_progress(context: Context) -> tuple[InProgress, ...]:
    """Return the changes that somebody is at. Raises OSError."""
    found = []
    for entry in context.journal.entries():
        if not isinstance(entry, Entry) or not _is_held(context, entry):
            continue
        holder = context.locks.holder(entry.locks[0])
        seconds = 0.0 if holder is None else holder.seconds
        found.append(
            InProgress(
                action=entry.plan.action,
                cards=entry.plan.cards,
                step="" if holder is None else holder.text,
                seconds=seconds,
                hangs=seconds >= context.write_seconds,
                uid=entry.asked.uid,
                pid=entry.asked.pid,
            )
        )
    return tuple(found)


def leftovers(context: Context) -> tuple[Leftover, ...]:
    """Return the changes that nobody is at: interrupted, or not undone altogether.

    Raises OSError.
    """
    found = []
    for entry in context.journal.entries():
        if not isinstance(entry, Entry):
            detail = f"entry {entry.number} of the journal cannot be read: {entry.detail}"
            found.append(
                Leftover(number=entry.number, action=None, cards=(), left=(detail,), since=None)
            )
        elif not _is_held(context, entry):
            found.append(
                Leftover(
                    number=entry.number,
                    action=entry.plan.action,
                    cards=entry.plan.cards,
                    left=entry.left or _interrupted(entry),
                    since=entry.since,
                )
            )
    return tuple(found)


def _is_held(context: Context, entry: Entry) -> bool:
    return entry.phase != "left" and any(map(context.locks.is_taken, entry.locks))


def _interrupted(entry: Entry) -> tuple[str, ...]:
    steps = map(str, entry.plan.steps[: entry.index + 1])
    return tuple(f"{step}: interrupted, the next change of the card takes it up" for step in steps)
