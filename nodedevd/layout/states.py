"""states: how each card of a tree compares with its layout file, as a part of that tree.

An update of the tree is compared when it changes something, and when the files were read again.
Without layout files nothing is looked at. What cannot be read stays as it was read last.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from nodedevd.host.sysroot import Sysroot
from nodedevd.layout.compare import compare_layout
from nodedevd.layout.difference import Difference
from nodedevd.layout.files import DIRECTORIES, Declared, read_layout
from nodedevd.layout.problem import Problem
from nodedevd.layout.wanted import Layout
from nodedevd.layout.words import step_words
from nodedevd.model.changes import Changed, Update
from nodedevd.model.layout import NO_LAYOUT, AwaitedCard, CardLayout, HostLayout, LayoutProblem
from nodedevd.text import printable

NOT_READ: Final = Declared()
"""What is declared before the files were read, and without any."""
REASONS_AT_MOST: Final = 20
"""Reasons that a device has; the last one says how many there are besides."""


def follow_layout(
    sysroot: Sysroot | None, update: Update, declared: Declared
) -> tuple[Update, Declared]:
    """Return an update with the states of cards, and what the files declare.

    Args:
        sysroot: Where to read the files again; None: they are as in `declared`. Blocks.
        update: The tree, and the changes that led to it.
        declared: What the files declared when they were read last.
    """
    if sysroot is None:
        return (with_states(update, declared) if update.changes else update), declared
    read = read_layout(sysroot)
    unread = {_directory(one) for one in read.problems if one.code == "unreadable"}
    if unread:
        read = kept(declared, read)
        update = replace(update, unread=update.unread | unread)
    return with_states(update, read), read


def kept(before: Declared, read: Declared) -> Declared:
    """Return what was read, with the cards of before of what could not be read.

    If a directory could not be listed, it is not known which files count: all cards are those of
    before then.
    """
    unread = {one.file for one in read.problems if one.code == "unreadable"}
    if not unread.isdisjoint(DIRECTORIES):
        return replace(read, layout=before.layout)
    cards = [one for one in before.layout.cards if one.file in unread]
    return replace(read, layout=Layout((*read.layout.cards, *cards)))


def _directory(problem: Problem) -> str:
    """Return the directory to read again for a problem."""
    directory = problem.file.rpartition("/")[0]
    return directory if directory in DIRECTORIES else problem.file


def with_states(update: Update, declared: Declared) -> Update:
    """Return an update with the state of each card that a layout names.

    A state that is another one changes its device, after all other changes of the update.
    """
    old = update.snapshot
    if declared == NOT_READ and old.layout is NO_LAYOUT:
        return update
    states: dict[str, CardLayout] = {}
    awaited = []
    for one in compare_layout(declared.layout, old):
        device = None if one.card is None else old.get(one.card)
        if device is None or device.path is None:
            awaited.append(AwaitedCard(printable(str(one.match)), one.file, one.line))
        else:
            states[device.path] = CardLayout(one.state, _reasons(one), one.file)
    layout = HostLayout(frozenset(states), tuple(awaited), tuple(map(_public, declared.problems)))
    if layout == NO_LAYOUT:
        layout = NO_LAYOUT
    changes = [
        Changed(device, replace(device, layout=states.get(path)))
        for path in sorted({*states, *old.layout.cards})
        if (device := old.at(path)) is not None and device.layout != states.get(path)
    ]
    if not changes and layout == old.layout:
        return update
    snapshot = old.replaced(
        removed=(),
        devices=[change.device for change in changes],
        changes=len(changes),
        errors=old.errors,
        shared_names=old.shared_names,
        layout=layout,
    )
    return replace(update, snapshot=snapshot, changes=(*update.changes, *changes))


def _public(problem: Problem) -> LayoutProblem:
    return LayoutProblem(
        file=problem.file,
        line=problem.line,
        key=None if problem.key is None else printable(problem.key),
        code=problem.code,
        message=printable(problem.message),
        instead=printable(problem.instead),
    )


def _reasons(difference: Difference) -> tuple[str, ...]:
    """Return in words what is not as wanted, first what cannot be changed now."""
    to_do = (*map(step_words, difference.differences), *difference.later)
    reasons = [*difference.reasons, *[f"to do: {one}" for one in to_do]]
    more = len(reasons) - REASONS_AT_MOST
    if more > 0:
        reasons[REASONS_AT_MOST - 1 :] = [f"and {more + 1} more"]
    return tuple(map(printable, reasons))
