"""left: what an entry of the journal has left to undo, by what its steps change."""

from __future__ import annotations

from msgspec.structs import replace

from nodedevd.actions.changed import Changed, changed_by, is_written_to, leaves_no_trace
from nodedevd.actions.plan import Step
from nodedevd.control.journal import Entry


def left_in(entry: Entry) -> dict[Changed, list[int]]:
    """Return the indices of the steps that may be left, by what they change, in order."""
    found: dict[Changed, list[int]] = {}
    for index, step in enumerate(entry.plan.steps[: entry.count]):
        if index not in entry.over and not leaves_no_trace(step):
            found.setdefault(changed_by(step), []).append(index)
    return found


def ended(entry: Entry, *indices: int) -> Entry:
    """Return an entry to which some steps no longer matter, nor what is written to their device."""
    steps = entry.plan.steps
    also = {
        each
        for each, step in enumerate(steps)
        if any(is_written_to(step, steps[index]) for index in indices)
    }
    words = tuple(_words(steps[each], "") for each in (*indices, *also))
    return replace(
        entry,
        over=tuple(sorted({*entry.over, *indices, *also})),
        left=tuple(one for one in entry.left if not one.startswith(words)),
    )


def not_undone(entry: Entry, step: Step, why: str) -> Entry:
    """Return an entry with a step that could not be undone, in words."""
    return replace(entry, left=(*entry.left, _words(step, why)))


def _words(step: Step, why: str) -> str:
    return f"{step}: {why}"
