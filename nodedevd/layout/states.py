"""states: how each card of a tree compares with its layout file, as a part of that tree.

A card is compared when the files change, and when the tree changes in what concerns the card.
Without layout files nothing is looked at. What cannot be read stays as it was read last.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from nodedevd.host.sysroot import Sysroot
from nodedevd.layout.compare import compare, wanted_once
from nodedevd.layout.concerned import Concerned
from nodedevd.layout.difference import Difference
from nodedevd.layout.directories import DIRECTORIES
from nodedevd.layout.facts import LayoutFacts
from nodedevd.layout.files import Declared, read_layout
from nodedevd.layout.wanted import Layout, WantedCard
from nodedevd.layout.words import step_words
from nodedevd.model.changes import Changed, Update
from nodedevd.model.layout import NO_LAYOUT, AwaitedCard, CardLayout, HostLayout, Problem
from nodedevd.model.snapshot import Snapshot
from nodedevd.text import printable

REASONS_AT_MOST: Final = 20
"""Reasons that a device has; the last one says how many there are besides."""


class Compared(msgspec.Struct, frozen=True):
    """What the files of a host declare, and how the host compared with that last."""

    declared: Declared = Declared()
    answers: tuple[tuple[Difference, ...], ...] = ()
    """those of each entry"""


NOTHING: Final = Compared()
"""Before the files were read, and without any."""


def follow_layout(
    sysroot: Sysroot | None, update: Update, last: Compared
) -> tuple[Update, Compared]:
    """Return an update with the states of cards, and what to give the next call as `last`.

    Args:
        sysroot: Where to read the files again; None: they are as they were. Blocks.
        update: The tree, and the changes that led to it.
        last: What the last call returned, for the tree before these changes.
    """
    if sysroot is None:
        if not update.changes or last is NOTHING:
            return update, last
        return _with_states(update, last.declared, last)
    read = read_layout(sysroot)
    unread = {_directory(one) for one in read.problems if one.code == "unreadable"}
    if unread:
        read = kept(last.declared, read)
        update = replace(update, unread=update.unread | unread)
    return _with_states(update, read, last)


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


def _with_states(update: Update, declared: Declared, last: Compared) -> tuple[Update, Compared]:
    """Return an update with the state of each card that is named, and the answers."""
    if declared == NOTHING.declared and update.snapshot.layout is NO_LAYOUT:
        return update, NOTHING
    compared = Compared(declared, _answers(update, declared, last))
    return _answered(update, compared), compared


def with_facts(snapshot: Snapshot, declared: Declared, facts: LayoutFacts) -> Snapshot:
    """Return a tree whose states also say what is open, in use, or another's."""
    answers = tuple([compare(card, snapshot, facts) for card in declared.layout.cards])
    return _answered(Update(snapshot, ()), Compared(declared, answers)).snapshot


def _answered(update: Update, compared: Compared) -> Update:
    """Return an update with the states that follow from the answers.

    A state that is another one changes its device, after all other changes of the update.
    """
    old = update.snapshot
    answers, problems = compared.answers, compared.declared.problems
    found = wanted_once([one for entry in answers for one in entry])
    states: dict[str, CardLayout] = {}
    awaited = []
    for one in found:
        device = None if one.card is None else old.get(one.card)
        if device is None or device.path is None:
            awaited.append(AwaitedCard(printable(str(one.match)), one.file, one.line))
        else:
            states[device.path] = CardLayout(one.state, _reasons(one), one.file)
    layout = HostLayout(frozenset(states), tuple(awaited), problems)
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


def _answers(
    update: Update, declared: Declared, last: Compared
) -> tuple[tuple[Difference, ...], ...]:
    """Return the answers of each entry: the last ones of those that no change concerns."""
    cards = declared.layout.cards
    if declared.layout != last.declared.layout:
        return tuple([compare(card, update.snapshot) for card in cards])
    concerned = Concerned(update.changes, update.snapshot)
    return tuple(
        [
            _again(card, answers, update.snapshot, concerned)
            for card, answers in zip(cards, last.answers, strict=True)
        ]
    )


def _again(
    card: WantedCard,
    answers: tuple[Difference, ...],
    snapshot: Snapshot,
    concerned: Concerned,
) -> tuple[Difference, ...]:
    if not concerned.entry(card, answers):
        return answers
    known = {
        one.card: one
        for one in answers
        if one.card is not None and not concerned.card(card, one.card)
    }
    return compare(card, snapshot, known=known)


def _reasons(difference: Difference) -> tuple[str, ...]:
    """Return in words what is not as wanted, first what cannot be changed now."""
    to_do = (*map(step_words, difference.differences), *difference.later)
    reasons = [*difference.reasons, *[f"to do: {one}" for one in to_do]]
    more = len(reasons) - REASONS_AT_MOST
    if more > 0:
        reasons[REASONS_AT_MOST - 1 :] = [f"and {more + 1} more"]
    return tuple(map(printable, reasons))
