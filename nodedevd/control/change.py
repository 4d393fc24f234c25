"""change: one plan that is carried out: do its steps, have the tree confirm them, else undo them.

The cards are locked by whoever has the change. The journal is written before each step, so that a
change whose process is killed can be taken up where it was (`recovery`).

Points, for tests that stop a process there: `journal:N` (before the entry of step N is written),
`doing:N` and `done:N` (before and after the step), `confirming`, `confirmed`, `undoing:N`,
`undone:N`, `left`, `records` (after they are written), `ended` (after the entry is removed).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace as replaced
from typing import NoReturn

from msgspec.structs import replace

from nodedevd.actions.changed import (
    Changed,
    changed_by,
    changed_or_found,
    leaves_no_trace,
    needs_owner,
)
from nodedevd.actions.plan import Expected, Plan, RemoveMdev, Step, Write
from nodedevd.control.context import Context, Result
from nodedevd.control.journal import Entry, Phase
from nodedevd.control.keeping import keep_again, keep_left, keep_made
from nodedevd.control.left import ended, left_in, not_undone
from nodedevd.control.locks import Locked
from nodedevd.control.steps import HANDLERS
from nodedevd.control.steps.base import (
    AlreadySo,
    InUseNow,
    Overtaken,
    StepHost,
    StepRefused,
    describe,
)
from nodedevd.control.writers import WriterEnded
from nodedevd.errors import DeviceInUse, NodedevError, NotConfirmed, StepFailed
from nodedevd.host.faults import errno_name
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.snapshot import Snapshot

_log = logging.getLogger(__name__)

_TAKES_AWAY = frozenset({"remove", "stop"})
"""Actions that are not undone because the tree is late: a device that is gone stays gone."""


_FORESEEN = (StepRefused, InUseNow, WriterEnded, NodedevError, OSError)
"""What a step may fail with; anything else is a defect, and goes on as it is."""


class PlanAgain(Exception):
    """Another writer was faster, and everything is undone."""

    def __init__(self, error: NodedevError) -> None:
        self.error = error
        """what to answer if planning again does not help"""
        super().__init__(error)


class Change:
    """A plan that is being carried out.

    Attributes:
        entry: what the journal has of it.
    """

    def __init__(
        self,
        context: Context,
        entry: Entry,
        locked: Locked,
        begins: Callable[[str | None], None] = lambda step: None,
    ) -> None:
        """Prepare it.

        Args:
            context: The host.
            entry: What the journal has of it.
            locked: Its cards.
            begins: Called with each step as it begins; None for what has a limit of its own.
        """
        self.entry = entry
        self._begins = begins
        self._context = context
        self._locked = locked
        card = next(iter(locked.cards), "")
        self._host = StepHost(
            sysroot=Sysroot(context.sysroot.root),  # one belongs to one thread
            write_file=lambda path, value: context.write(card, path, value, locked.descriptors),
            run_program=lambda argv, *, stdin, timeout: context.run(
                argv, stdin=stdin, timeout=timeout, locks=locked.descriptors
            ),
            pause=context.pause,
            forced=entry.plan.forced,
            kept_closed=context.kept_closed,
        )

    @property
    def _plan(self) -> Plan:
        return self.entry.plan

    # -- forwards ------------------------------------------------------------------------------

    def carry_out(self) -> Snapshot:
        """Do all steps and have them confirmed; return the tree that shows it.

        Raises PlanAgain, NodedevError; with what was undone and what could not be.
        """
        for index, step in enumerate(self._plan.steps):
            self._do(index, step)
        return self.confirm()

    def confirm(self) -> Snapshot:
        """Wait for the tree to show what is done; return that tree. Raises NotConfirmed."""
        try:
            self._write("confirming", len(self._plan.steps))
            self._context.at("confirming")
            self._begin(None)
            snapshot = self._context.view.wait(self._plan.expected, self._context.confirm_seconds)
            detail = "" if snapshot is not None else self._missing()
        except (NodedevError, OSError) as error:
            snapshot, detail = None, str(error)
        if snapshot is not None:
            self._context.at("confirmed")
            try:
                keep_made(self._context.records, self.entry, snapshot)
                end_left(self._context, self._locked, self._plan)
            except OSError as error:
                # Without a record it would be somebody else's, and its maker could not remove it.
                if not self.takes_away:
                    failed = _answer("keep whose the devices are", error)
                    self._fail(len(self._plan.steps), failed, error)
                _log.warning("change %d: %s", self.entry.number, error)
            self.end()
            return snapshot
        missed = NotConfirmed(self._plan.action, detail)
        if self.takes_away:
            self.end()
            raise missed
        return self._fail(len(self._plan.steps), missed)

    def _do(self, index: int, step: Step) -> None:
        self._host.touched = False
        try:
            if index:  # the entry of the first was written when it was opened
                self._context.at(f"journal:{index}")
                self._write("doing", index)
            self._context.at(f"doing:{index}")
            self._begin(str(step))
            if index in self.entry.over:  # it writes to what somebody else has made first
                raise AlreadySo
            done = HANDLERS[type(step)].do(step, self._host)
            if done is not None:  # an undo has to know more than the plan did
                steps = (*self._plan.steps[:index], done, *self._plan.steps[index + 1 :])
                self.entry = replace(self.entry, plan=replace(self._plan, steps=steps))
        except AlreadySo:
            self.entry = ended(self.entry, index)
            self._told(step, "already", "somebody else did it first")
        except WriterEnded as error:
            self._told(step, "unknown", str(error))
            self._fail(index + 1, StepFailed(str(step), "", str(error)), error)
        except Exception as error:
            self._told(step, "refused", _why(error))
            refused = isinstance(error, StepRefused | InUseNow | NodedevError)
            begun = self._host.touched and not refused
            self._fail(index + begun, _answer(step, error), error)
        else:
            self._told(step, "done", "")
        self._context.at(f"done:{index}")

    # -- backwards -----------------------------------------------------------------------------

    def undo(
        self, start: int, left: Sequence[str] = (), count: int | None = None
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Undo the steps before `start`, the last one first.

        Args:
            start: Index of the first step that is left alone.
            left: What steps from there on have left, in words.
            count: How many steps this change has done, if more than it undoes here; by default
                also the step at `start` if that has left something.

        Returns what was undone, and what could not be, with why, in words. What is left stays in
        the journal, with the records of the devices that are.
        """
        undone = []
        # What other writers have done in place of a later step is theirs.
        count = start + bool(left) if count is None else count
        self.entry = replace(self.entry, count=count, left=tuple(left))
        # Before a step that is left, the host cannot be as it was.
        stuck = {changed for changed, found in left_in(self.entry).items() if found[-1] >= start}
        host = replaced(self._host, forced=False)
        for index in reversed(range(start)):
            step = self._plan.steps[index]
            if index in self.entry.over or not HANDLERS[type(step)].can_undo(step):
                continue
            with suppress(OSError):  # what is in the way of the journal must not be in that of this
                self._write("undoing", index)
            self._context.at(f"undoing:{index}")
            self._begin(f"undo: {step}")
            try:
                if HANDLERS[type(step)].done(step, host) is False:
                    continue
                if changed_by(step) in stuck:
                    raise StepRefused(0, "what came after it is left")
                self._undo(step, host)
            except Exception as error:
                self._is_left(step, _why(error))
                stuck.add(changed_by(step))
            else:
                self.entry = ended(self.entry, index)
                if leaves_no_trace(step):
                    self._told(step, "undone", "")
                elif self._done(step) is False:
                    undone.append(str(step))
                    self._told(step, "undone", "")
                elif not isinstance(step, Write):  # it goes with its device
                    self._told(step, "left", "somebody else has changed it since")
            self._context.at(f"undone:{index}")
        self._end_what_has_gone()
        for step in self._cannot_be_undone(count):
            self._is_left(step, "this cannot be undone")
        try:
            keep_again(self._context.records, self.entry, self._as_before())
            self._leave()
        except OSError as error:
            # The entry is as it was, and the next to take it up finds out what is left.
            _log.warning("change %d: its entry cannot be written: %s", self.entry.number, error)
        return tuple(undone), self.entry.left

    def is_all_done(self) -> bool:
        """Return whether the host shows every step as done.

        Of a step before the index the journal knows it, and the host must not show the contrary.
        """
        return all(
            index in self.entry.over
            or leaves_no_trace(step)
            or (self._done(step) is not False if index < self.entry.index else self._done(step))
            for index, step in enumerate(self._plan.steps)
        )

    @property
    def takes_away(self) -> bool:
        """Whether it takes a device away, which is not undone because the tree is late."""
        return self._plan.action in _TAKES_AWAY

    def still_left(self) -> bool:
        """Return whether anything is left of a change that could not be undone.

        What has gone is over, and what is nobody's: who makes the same later makes another one.
        Raises OSError.
        """
        before, owned = self.entry, self._context.records.all()
        self._end_what_has_gone()
        for index in set(self.entry.over) - set(before.over):
            step = self._plan.steps[index]
            if isinstance(step, RemoveMdev):  # whoever has made it anew, that is another one
                self._context.records.forget(step.uuid)
        for changed, indices in left_in(self.entry).items():
            needs = any(needs_owner(self._plan.steps[index]) for index in indices)
            if needs and changed.subject not in owned:
                self.entry = ended(self.entry, *indices)
        if not left_in(self.entry):
            return False
        if self.entry != before:
            with suppress(OSError):  # whoever looks next finds the same
                self._write("left", self.entry.count)
        return True

    def give_up(self, changed: Collection[Changed]) -> None:
        """Leave to a later change what it is about. Raises OSError."""
        found = left_in(self.entry)
        over = [index for one in changed for index in found.get(one, ())]
        if not over:
            return
        self.entry = ended(self.entry, *over)
        if left_in(self.entry):
            self._write("left", self.entry.count)
        else:
            self.drop()

    def _undo(self, step: Step, host: StepHost) -> None:
        if not isinstance(step, RemoveMdev):
            HANDLERS[type(step)].undo(step, host)
            return
        try:
            # Created again, it is another one for the kernel: the record must not be the old one's.
            self._context.records.renew(step.uuid)
        except OSError as error:
            raise StepRefused(0, f"whose it is cannot be kept: {error.strerror}") from None
        HANDLERS[type(step)].undo(step, host)
        with suppress(OSError):
            self._context.records.renew(step.uuid)

    def _end_what_has_gone(self) -> None:
        """Note of which devices the host shows nothing of this change any more."""
        for indices in left_in(self.entry).values():
            done = [self._done(self._plan.steps[index]) for index in indices]
            # A later step of a device hides an earlier one.
            if done[0] is False and True not in done:
                self.entry = ended(self.entry, *indices)

    def _is_left(self, step: Step, why: str) -> None:
        """Note that a step could not be undone."""
        self.entry = not_undone(self.entry, step, why)
        self._told(step, "left", why)

    def drop(self) -> None:
        """Remove the entry: nothing is left of the change."""
        self._context.journal.remove(self.entry.number)
        self._context.at("ended")

    def _fail(self, start: int, error: NodedevError, cause: Exception | None = None) -> NoReturn:
        """Undo the steps before `start`, and raise."""
        own = cause.left if isinstance(cause, StepRefused) else None
        undone, left = self.undo(start, () if own is None else (own,))
        if cause is not None and not isinstance(cause, _FORESEEN):
            raise cause
        if {"undone", "left"} <= set(error.fields):
            values = {name: getattr(error, name) for name in error.fields}
            error = type(error)(**{**values, "undone": undone, "left": left})
        elif left:
            error = StepFailed("undo what was done", "", str(error), undone, left)
        if isinstance(cause, Overtaken) and not left:
            raise PlanAgain(error) from cause
        raise error from cause

    def _cannot_be_undone(self, count: int) -> Iterator[Step]:
        """Yield the steps that have no undo, unless what they changed has gone meanwhile."""
        for index, step in enumerate(self._plan.steps[:count]):
            handler = HANDLERS[type(step)]
            if index in self.entry.over or leaves_no_trace(step) or handler.can_undo(step):
                continue
            if self._done(step) is not False:
                yield step

    def _as_before(self) -> list[str]:
        """Return the subjects of what the host shows as it was before this change."""
        first: dict[Changed, Step] = {}
        for step in self._plan.steps[: self.entry.count]:
            if not leaves_no_trace(step):
                first.setdefault(changed_by(step), step)
        return [changed.subject for changed, step in first.items() if self._done(step) is False]

    def _leave(self) -> None:
        """End the change, or keep what is left of it."""
        if not self.entry.left:
            self.drop()
            return
        keep_left(self._context.records, self.entry, self._shows)
        self._write("left", self.entry.count)
        self._context.at("left")

    # -- what both need ------------------------------------------------------------------------

    def end(self) -> None:
        """End the change that has worked; what of that fails is done when its entry is taken up."""
        try:
            for subject in self._plan.forgotten:
                self._context.records.forget(subject)
            self._context.at("records")
            self.drop()
        except OSError as error:
            _log.warning("change %d has worked, and its entry stays: %s", self.entry.number, error)

    def _shows(self, step: Step) -> bool:
        """Return whether the host shows what a step does, or cannot be read."""
        try:
            return HANDLERS[type(step)].done(step, self._host) is True
        except OSError:
            return True

    def _done(self, step: Step) -> bool | None:
        try:
            return HANDLERS[type(step)].done(step, self._host)
        except OSError:
            return None

    def _missing(self) -> str:
        """Return what the tree does not show, in words."""
        snapshot = self._context.view.snapshot()
        missing = [one for one in self._plan.expected if not one.met(snapshot)]
        words = "; ".join(map(_words, missing or self._plan.expected))
        return f"timed out after {self._context.confirm_seconds:.0f} s waiting for {words}"

    def _begin(self, step: str | None) -> None:
        self._begins(step)
        with suppress(OSError):  # it is for people
            self._locked.note(step or "waiting for the tree to show it")

    def _write(self, phase: Phase, index: int) -> None:
        self.entry = replace(self.entry, phase=phase, index=index)
        self._context.journal.write(self.entry)

    def _told(self, step: Step, result: Result, detail: str) -> None:
        self._context.told(self.entry, step, result, detail)


def end_left(context: Context, locked: Locked, plan: Plan) -> None:
    """End what older changes have left of what a plan has changed, or found as it is to be.

    Else the next start would undo what its client was told is done. Raises OSError.
    """
    for entry in context.journal.entries():
        if (
            isinstance(entry, Entry)
            and entry.phase == "left"
            and set(entry.locks) <= set(locked.cards)
        ):
            Change(context, entry, locked).give_up(changed_or_found(plan))


def _why(error: Exception) -> str:
    if isinstance(error, StepRefused | InUseNow):
        return error.detail
    return describe(error) if isinstance(error, OSError) else str(error)


def _answer(step: Step | str, error: Exception) -> NodedevError:
    """Return what a client is answered when a step fails."""
    if isinstance(error, NodedevError):
        return error
    if isinstance(error, InUseNow):
        return DeviceInUse(error.path, True, error.detail)
    number = error.number if isinstance(error, StepRefused) else getattr(error, "errno", 0)
    return StepFailed(str(step), errno_name(number) if number else "", _why(error))


def _words(expected: Expected) -> str:
    wanted = {
        name: value
        for name in expected.__struct_fields__[3:]
        if (value := getattr(expected, name)) is not None
    }
    subject = expected.path or f"the mdev {expected.uuid}"
    return f"{subject} to have " + ", ".join(f"{name} {value}" for name, value in wanted.items())
