"""change: one plan that is carried out: do its steps, have the tree confirm them, else undo them.

The cards are locked by whoever has the change. The journal is written before each step, so that a
change whose process is killed can be taken up where it was (`recovery`).

Points, for tests that stop a process there: `journal:N` (before the entry of step N is written),
`doing:N` and `done:N` (before and after the step), `confirming`, `confirmed`, `undoing:N`,
`undone:N`, `left`, `records` (after they are written), `ended` (after the entry is removed).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace as replaced
from typing import NoReturn

from msgspec.structs import replace

from nodedevd.actions.ownership import Record
from nodedevd.actions.plan import (
    CreateMdev,
    Expected,
    RemoveMdev,
    RunCallouts,
    SetProfile,
    Step,
    Write,
)
from nodedevd.control.context import Context, Result
from nodedevd.control.journal import Entry, Phase
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
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.vgpus import card_of

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
        self._plan = entry.plan
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
                self._keep(snapshot)
            except OSError as error:
                # Without a record it would be somebody else's, and its maker could not remove it.
                self._fail(
                    len(self._plan.steps), _answer("keep whose the devices are", error), error
                )
            self._end()
            return snapshot
        missed = NotConfirmed(self._plan.action, detail)
        if self._plan.action in _TAKES_AWAY:
            self._end()
            raise missed
        return self._fail(len(self._plan.steps), missed)

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
                was_done = HANDLERS[type(step)].done(step, host) is not False
                if was_done:
                    HANDLERS[type(step)].undo(step, host)
                if isinstance(step, RemoveMdev):  # created again, it is another one for the kernel
                    self._context.records.renew(step.uuid)
            except Exception as error:
                self._is_left(step, _why(error))
            else:
                if was_done or self._has_gone(index):
                    self._is_over(index)
                if not was_done:
                    continue
                if not _leaves_no_trace(step):
                    undone.append(str(step))
                self._told(step, "undone", "")
            self._context.at(f"undone:{index}")
        for step in self._cannot_be_undone(count):
            self._is_left(step, "this cannot be undone")
        try:
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
            or _leaves_no_trace(step)
            or (self._done(step) is not False if index < self.entry.index else self._done(step))
            for index, step in enumerate(self._plan.steps)
        )

    def still_left(self) -> bool:
        """Return whether anything is left of a change that could not be undone.

        What has gone is over: who makes the same later makes another one. Raises OSError.
        """
        subjects = self._context.records.all()
        before, left = self.entry, False
        for index in reversed(range(self.entry.count)):
            step = self._plan.steps[index]
            if index in self.entry.over or _leaves_no_trace(step):
                continue
            if _subject(step) not in (None, *subjects) or self._has_gone(index):
                self._is_over(index)
            else:
                left |= self._done(step) is not False
        if left and self.entry != before:
            self._write("left", self.entry.count)
        return left

    def _do(self, index: int, step: Step) -> None:
        try:
            if index:  # the entry of the first was written when it was opened
                self._context.at(f"journal:{index}")
                self._write("doing", index)
            self._context.at(f"doing:{index}")
            self._begin(str(step))
            if index in self.entry.over:  # it writes to what somebody else has made first
                raise AlreadySo
            HANDLERS[type(step)].do(step, self._host)
        except AlreadySo:
            self._is_over(index)
            self._told(step, "already", "somebody else did it first")
        except WriterEnded as error:
            self._told(step, "unknown", str(error))
            self._fail(index + 1, StepFailed(str(step), "", str(error)), error)
        except Exception as error:
            self._told(step, "refused", _why(error))
            self._fail(index, _answer(step, error), error)
        else:
            self._told(step, "done", "")
        self._context.at(f"done:{index}")

    def _has_gone(self, index: int) -> bool:
        """Return whether nothing is left of a step, rather than hidden by a later one."""
        steps = self._plan.steps
        return self._done(steps[index]) is False and (
            _subject(steps[index]) is not None
            or all(
                later in self.entry.over or _leaves_no_trace(steps[later])
                for later in range(index + 1, self.entry.count)
            )
        )

    def _is_over(self, index: int) -> None:
        """Note that a step is not for this change to undo, nor what is written to what it makes."""
        steps = self._plan.steps
        also = {each for each, step in enumerate(steps) if _is_written_to(step, steps[index])}
        words = tuple(f"{steps[each]}: " for each in (index, *also))
        self.entry = replace(
            self.entry,
            over=tuple(sorted({*self.entry.over, index, *also})),
            left=tuple(one for one in self.entry.left if not one.startswith(words)),
        )

    def _is_left(self, step: Step, why: str) -> None:
        """Note that a step could not be undone."""
        self.entry = replace(self.entry, left=(*self.entry.left, f"{step}: {why}"))
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
            if index in self.entry.over or _leaves_no_trace(step) or handler.can_undo(step):
                continue
            if self._done(step) is not False:
                yield step

    def _leave(self) -> None:
        """End the change, or keep what is left of it."""
        if not self.entry.left:
            self.drop()
            return
        steps = self._plan.steps[: self.entry.count]
        done = [_subject(step) for step in steps if self._done(step) is not False]
        for record in self._own_records():
            if record.subject in done:
                self._context.records.put(record, self._card(record, None))
        self._write("left", self.entry.count)
        self._context.at("left")

    # -- what both need ------------------------------------------------------------------------

    def _keep(self, snapshot: Snapshot) -> None:
        """Keep whose the devices are. Raises OSError."""
        for record in self._own_records():
            card = self._card(record, snapshot)
            self._context.records.put(replace(record, generation=snapshot.generation), card)

    def _end(self) -> None:
        """End the change; what of that fails is done when its entry is taken up."""
        try:
            for subject in self._plan.forgotten:
                self._context.records.forget(subject)
            self._context.at("records")
            self.drop()
        except OSError as error:
            _log.warning("change %d has worked, and its entry stays: %s", self.entry.number, error)

    def _own_records(self) -> list[Record]:
        """Return the records of what this change made, and nobody else."""
        others = [_subject(self._plan.steps[index]) for index in self.entry.over]
        return [one for one in self._plan.records if one.subject not in others]

    def _card(self, record: Record, snapshot: Snapshot | None) -> str:
        """Return the name of the card of a device."""
        devices = [] if snapshot is None else self._expected_devices(record, snapshot)
        return next(map(card_of, devices), next(iter(self._plan.cards), ""))

    def _expected_devices(self, record: Record, snapshot: Snapshot) -> list[Device]:
        """Return the device of a record, of an mdev its parent."""
        found = []
        for expected in self._plan.expected:
            device = expected.device(snapshot)
            if device is not None and record.subject in (expected.path, expected.uuid):
                mdev = device.capability(MdevChild)
                found.append(device if mdev is None else snapshot.at(mdev.parent_path) or device)
        return found

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


def _leaves_no_trace(step: Step) -> bool:
    """Return whether the host cannot show whether a step was done, and need not."""
    return isinstance(step, RunCallouts) and step.event != "live"


def _is_written_to(step: Step, maker: Step) -> bool:
    """Return whether a step writes to the device that another one makes."""
    made = f"{maker.parent}/{maker.uuid}" if isinstance(maker, CreateMdev) else _subject(maker)
    return isinstance(step, Write) and made is not None and step.path.startswith(f"{made}/")


def _subject(step: Step) -> str | None:
    """Return the subject of the record of what a step makes, None if it makes nothing."""
    if isinstance(step, CreateMdev):
        return step.uuid
    if isinstance(step, SetProfile) and step.profile is not None:
        return step.function
    return None


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
