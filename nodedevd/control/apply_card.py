"""apply_card: makes a card as a layout declares it, each difference by a change of its own.

Before each change the card is compared anew, under its lock. So this may be interrupted anywhere,
and repeated: what is so already is no difference any more, and `recovery` ends or undoes the change
that was in progress. What is refused is reported, and what does not depend on it is done.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from nodedevd.actions.answers import LayoutCard, Outcome, Refusal
from nodedevd.actions.plan import Plan
from nodedevd.actions.put_right import request_for
from nodedevd.actions.requests import Request
from nodedevd.control.carry_out import carry_out
from nodedevd.control.context import Context
from nodedevd.control.journal import Asked
from nodedevd.errors import (
    CardBusy,
    DeviceInUse,
    MadeByOther,
    NodedevError,
    NotConfirmed,
    OwnedByOther,
    StepFailed,
    StillWriting,
)
from nodedevd.layout.compare import compare
from nodedevd.layout.difference import AnyDifference, Difference, State
from nodedevd.layout.facts import LayoutFacts
from nodedevd.layout.wanted import WantedCard
from nodedevd.layout.words import step_words
from nodedevd.model.snapshot import Snapshot

MOST_CHANGES: Final = 4096
"""Changes of one card in one call: whoever undoes each of them must not keep it busy for ever."""

BUSY_TIMES: Final = 4
"""How often a card waits for another change, as long as any change does."""

_FAILED: Final = (CardBusy, StepFailed, StillWriting, NotConfirmed)
"""A driver does not do what it should, or in time: nothing more is asked of the card."""
_STAYS: Final = (DeviceInUse, MadeByOther, OwnedByOther)
"""Refusals that no step before them changes."""


class Turns:
    """Has each card made as declared by one thread of this process at a time."""

    def __init__(self) -> None:
        """No card is being made."""
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def of(self, card: str) -> threading.Lock:
        """Return what is held as long as a card is made."""
        with self._lock:
            return self._locks[card]


@dataclass(frozen=True)
class LayoutHost:
    """The host whose layout is applied."""

    context: Context
    facts: Callable[[Snapshot], LayoutFacts]
    """reads what a comparison needs besides the tree; a plan looks at all of it once more"""
    plan: Callable[[Snapshot, Request], Plan]
    """plans a request of the layout; raises NodedevError"""
    asked: Asked
    turns: Turns = field(default_factory=Turns)
    done: Callable[[Request, Outcome], None] = lambda request, outcome: None
    failed: Callable[[Request, NodedevError], None] = lambda request, error: None


def applied(host: LayoutHost, entry: WantedCard, difference: Difference) -> LayoutCard:
    """Make a card as its entry declares it, as far as can be; return what came of it.

    `difference` is how it differs at first. Blocks. That the host cannot be looked at is in the
    answer, too.
    """
    if not difference.differences:
        return _Progress().answer(difference)
    with host.turns.of(difference.card or ""):
        card = _Applied(host, entry, difference)
        try:
            return card.apply()
        except (NodedevError, OSError) as error:
            return card.not_looked_at(error)


def planned(
    plan: Callable[[Snapshot, Request], Plan], difference: Difference, snapshot: Snapshot
) -> LayoutCard:
    """Return what would be done for a card; what builds on a step that is not done is `later`."""
    progress = _Progress()
    later: list[str] = []
    for number, one in enumerate(difference.differences):
        try:
            progress.steps += map(str, plan(snapshot, request_for(one)).steps)
        except NodedevError as error:
            if number == 0 or isinstance(error, _STAYS):
                progress.refuse(one, error)
            else:
                later.append(step_words(one))
    return progress.answer(difference, (*later, *difference.later))


@dataclass
class _Progress:
    """What came of a card so far."""

    steps: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    refused: set[AnyDifference] = field(default_factory=set)
    has_failed: bool = False

    def refuse(self, one: AnyDifference, error: NodedevError) -> None:
        """Note that a change was refused, or has failed."""
        self.refused.add(one)
        self.has_failed |= isinstance(error, _FAILED)
        undone, left = getattr(error, "undone", ()), getattr(error, "left", ())
        alone = error
        if {"undone", "left"} <= set(error.fields):
            alone = type(error)(**{**vars(error), "undone": (), "left": ()})
        self.refusals.append(
            Refusal(
                change=step_words(one),
                code=error.code,
                detail=str(alone),
                undone=tuple(undone),
                left=tuple(left),
            )
        )

    def answer(self, after: Difference, later: Sequence[str] = ()) -> LayoutCard:
        """Return it, with how the card differs from its entry now."""
        state: State = after.state
        if state == "drifted" and set(after.differences) <= self.refused and not self.has_failed:
            state = "blocked"
        return LayoutCard(
            file=after.file,
            line=after.line,
            entry=str(after.match),
            card=after.card,
            state=state,
            reasons=after.reasons,
            steps=tuple(self.steps),
            later=tuple(later),
            refusals=tuple(self.refusals),
        )


class _Applied:
    """One card that is made as its entry declares it."""

    def __init__(self, host: LayoutHost, entry: WantedCard, before: Difference) -> None:
        """Prepare it; `before` is how the card differs from its entry at first."""
        self._host = host
        self._entry = entry
        self._before = before
        self._progress = _Progress()
        self._waits = BUSY_TIMES

    def apply(self) -> LayoutCard:
        """Do all that can be done, and return what came of it.

        What the changes bring with them is looked at in the end, such as functions that are made
        anew and nobody's, and done as well.
        """
        changes = 0
        while True:
            snapshot = self._host.context.view.snapshot()
            facts = self._host.facts(snapshot)
            now = self._compare(snapshot, facts)
            before = changes
            if not set(now.differences) <= self._progress.refused:
                while (
                    changes < MOST_CHANGES
                    and not self._progress.has_failed
                    and self._do_next(facts)
                ):
                    changes += 1
            if changes == before:
                return self._progress.answer(now)

    def not_looked_at(self, error: NodedevError | OSError) -> LayoutCard:
        """Return what came of it before the host could not be looked at any more."""
        code = error.code if isinstance(error, NodedevError) else "unreadable"
        refusal = Refusal(change="look at the card", code=code, detail=str(error))
        self._progress.refusals.append(refusal)
        self._progress.has_failed = True
        return self._progress.answer(self._before)

    def _do_next(self, facts: LayoutFacts) -> bool:
        """Make one change; return whether there was one to make."""
        chosen: list[AnyDifference] = []

        def plan(snapshot: Snapshot) -> Plan:
            found = self._compare(snapshot, facts).differences
            chosen[:] = [one for one in found if one not in self._progress.refused][:1]
            if not chosen:
                cards = () if self._before.card is None else (self._before.card,)
                return Plan(action="create", cards=cards, steps=(), expected=())
            return self._host.plan(snapshot, request_for(chosen[0]))

        try:
            outcome = carry_out(plan, self._host.context, self._host.asked)
        except NodedevError as error:
            if not chosen:
                raise
            if isinstance(error, CardBusy) and self._waits:
                self._waits -= 1  # as for sriov-manage, which runs for one card after the other
                return True
            self._progress.refuse(chosen[0], error)
            self._host.failed(request_for(chosen[0]), error)
            return True
        if chosen and outcome.steps:
            self._progress.steps += outcome.steps
            self._host.done(request_for(chosen[0]), outcome)
        elif chosen:  # its plan finds nothing to do, and must not be made for ever
            self._progress.refused.add(chosen[0])
        return bool(chosen)

    def _compare(self, snapshot: Snapshot, facts: LayoutFacts) -> Difference:
        """Compare the card anew; one that has gone is waited for."""
        found = compare(self._entry, snapshot, facts)
        gone = replace(
            self._before,
            state="pending",
            reasons=(f"{self._before.card} has gone",),
            differences=(),
            later=(),
        )
        return next((one for one in found if one.card == self._before.card), gone)
