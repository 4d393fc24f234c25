"""carry_out: does what an action plans, with its cards locked, and answers in time.

A change runs in a thread of its own. When a driver does not answer, whoever waits for the change
gets StillWriting, and the thread goes on: it confirms or undoes the change when the write ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from threading import Condition, Thread
from typing import Final

from nodedevd.actions.answers import Outcome
from nodedevd.actions.plan import Plan
from nodedevd.control.change import Change, PlanAgain, end_left
from nodedevd.control.context import Context
from nodedevd.control.journal import Asked, Entry, locks_of
from nodedevd.control.locks import Locked
from nodedevd.control.recovery import cards_with, settle
from nodedevd.errors import CardBusy, NodedevError, NotPossible, StepFailed, StillWriting
from nodedevd.host.faults import errno_name
from nodedevd.model.snapshot import Snapshot

ATTEMPTS: Final = 3
"""How often a plan is carried out that other writers overtake."""
LOOK: Final = "look at the host"
"""What a change does before its first step."""
_MOVES: Final = 10
"""How often a plan may move to other cards while its cards are being locked."""


def carry_out(
    action: Callable[[Snapshot], Plan],
    context: Context,
    asked: Asked,
    *,
    sketch: Callable[[Snapshot], Plan] | None = None,
) -> Outcome:
    """Carry out an action. Blocks until it has ended, or hangs.

    Args:
        action: Plans it from a tree.
        context: The host.
        asked: Who wants it.
        sketch: Plans the same in less time, if need be wrongly, on the same cards: these are
            locked, and then `action` plans it.

    Raises NodedevError; StillWriting for a change that goes on.
    """
    running = _Running(action, sketch or action, context, asked)
    Thread(target=running.run, name="change", daemon=True).start()
    return running.result()


class _Abandoned(Exception):
    """Whoever wanted the change has been told that there will be none."""


class _Running:
    """A change in its thread, and whoever waits for it."""

    def __init__(
        self,
        action: Callable[[Snapshot], Plan],
        sketch: Callable[[Snapshot], Plan],
        context: Context,
        asked: Asked,
    ) -> None:
        self._action = action
        self._sketch = sketch
        self._context = context
        self._asked = asked
        self._step: str | None = None
        self._since = 0.0
        self._takes_up: str | None = None
        self._changed = Condition()
        self._result: Outcome | BaseException | None = None
        self._answered = False

    def result(self) -> Outcome:
        """Wait for the result, as long as the driver answers in time. Raises NodedevError."""
        context = self._context
        with self._changed:
            while self._result is None:
                seconds = time.monotonic() - self._since
                limit = context.look_seconds if self._step is LOOK else context.write_seconds
                if self._step is None:
                    self._changed.wait()
                elif seconds < limit:
                    self._changed.wait(limit - seconds)
                else:
                    self._answered = True
                    if self._takes_up is not None:
                        raise CardBusy(self._takes_up, f"interrupted, {self._step}", seconds)
                    raise _in_time(self._step, seconds)
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result

    def run(self) -> None:
        """Carry it out."""
        result: Outcome | BaseException
        try:
            result = self._carry_out()
        except BaseException as error:
            result = error
        with self._changed:
            self._result = result
            self._changed.notify_all()
            late = self._answered
        if late and not isinstance(result, _Abandoned):
            self._context.ended_late(self._asked, result)

    def _begins(self, step: str | None, takes_up: str | None = None) -> None:
        """Note what may hang from now on; None for what has a limit of its own.

        `takes_up` is the card while this ends a change that somebody else has left: that goes on in
        any case, and whoever waits too long for it is told that nothing of their own was done.
        """
        with self._changed:
            told_no = self._step is LOOK or self._takes_up is not None
            if self._answered and told_no and takes_up is None:
                raise _Abandoned
            self._takes_up = takes_up
            self._step, self._since = step, time.monotonic()
            self._changed.notify_all()

    def _carry_out(self) -> Outcome:
        self._begins(LOOK)
        plan = self._plan_of_what_is_known(self._sketch)
        overtaken: NodedevError | None = None
        attempts = 0
        for _ in range(_MOVES):
            cards = cards_with(self._context, plan)
            locked = self._locked(cards)
            try:
                settle(self._context, locked, partial(self._begins, takes_up=locked.cards[0]))
                self._begins(LOOK)
                now = self._context.view.snapshot()
                self._context.records.forget_gone(now, locked.cards)
                plan = self._action(now)
                if not cards_with(self._context, plan) <= set(locked.cards):
                    continue
                attempts += 1
                return self._do(plan, locked)
            except PlanAgain as again:
                overtaken = again.error
                if attempts == ATTEMPTS:
                    break
            finally:
                locked.release()
        raise overtaken or CardBusy(
            locks_of(plan)[0], "other changes keep moving this one to another card", 0.0
        )

    def _plan_of_what_is_known(self, planned: Callable[[Snapshot], Plan]) -> Plan:
        """Return a plan to know which cards it is about: the tree may be late."""
        try:
            return planned(self._context.view.known())
        except NodedevError:
            return self._action(self._context.view.snapshot())

    def _locked(self, cards: Iterable[str]) -> Locked:
        """Lock cards. Raises CardBusy, and what is refused whoever has the cards, at once."""
        self._begins(None)
        locks, seconds = self._context.locks, self._context.lock_seconds
        if self._sketch is self._action:
            return locks.take(cards, seconds)
        try:
            return locks.take(cards, 0.0)
        except CardBusy:
            self._begins(LOOK)
            self._plan_of_what_is_known(self._action)
            self._begins(None)
            return locks.take(cards, seconds)

    def _do(self, plan: Plan, locked: Locked) -> Outcome:
        if not plan.steps:
            snapshot = self._context.view.snapshot()
            self._context.records.forget_gone(snapshot, (), plan.forgotten)
            self._keep_from_undo(plan, locked)
        else:
            self._begins(None)
            entry = self._opened(plan)
            snapshot = Change(self._context, entry, locked, self._begins).carry_out()
        return outcome(plan, snapshot, dry_run=False)

    def _keep_from_undo(self, plan: Plan, locked: Locked) -> None:
        """End what older changes have left of what is as it is to be. Raises StepFailed."""
        try:
            end_left(self._context, locked, plan)
        except OSError as error:
            raise self._not_kept(error) from error

    def _opened(self, plan: Plan) -> Entry:
        """Return the new entry of the journal. Raises StepFailed: without it nothing is changed."""
        try:
            before = [self._context.records.of(one.subject) for one in plan.records]
            replaced = tuple(record for record in before if record is not None)
            return self._context.journal.open(plan, self._asked, replaced)
        except OSError as error:
            raise self._not_kept(error) from error

    def _not_kept(self, error: OSError) -> StepFailed:
        number = errno_name(error.errno) if error.errno else ""
        words = f"{error.strerror} ({number})" if number else str(error)
        detail = f"{self._context.directory}: {words}; nothing was changed"
        return StepFailed("write the journal", number, detail)


def _in_time(step: str, seconds: float) -> NodedevError:
    """Return the answer to whoever has waited for something so long."""
    if step is not LOOK:
        return StillWriting(step, seconds)
    detail = (
        f"timed out after {seconds:.0f} s waiting for what it has; nothing was changed;"
        " `nodedevctl doctor` shows which devices do not answer"
    )
    return NotPossible("the host", "unanswered", detail)


def outcome(plan: Plan, snapshot: Snapshot, *, dry_run: bool) -> Outcome:
    """Return the answer: the plan, and what a tree shows of its devices."""
    found = [expected.device(snapshot) for expected in plan.expected]
    return Outcome(
        generation=snapshot.generation if plan.generation is None else plan.generation,
        devices=tuple(dict.fromkeys(one for one in found if one is not None)),
        steps=tuple(map(str, plan.steps)),
        plan=plan.steps,
        dry_run=dry_run,
        notes=plan.notes,
    )
