"""keeping: keeps whose the devices of a change are: of one that worked, of what is left, and again.

A path has one record, whatever is set on it; so no record is put in place of one that is neither
of the change nor from before it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from msgspec.structs import replace

from nodedevd.actions.changed import changed_by, made_by, makes
from nodedevd.actions.ownership import Record
from nodedevd.actions.plan import Plan, Step
from nodedevd.control.journal import Entry
from nodedevd.control.left import left_in
from nodedevd.control.records import Records
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.vgpus import card_of


def keep_made(records: Records, entry: Entry, snapshot: Snapshot) -> None:
    """Keep whose those devices are that a tree shows, but those that others made first.

    Raises OSError.
    """
    steps = entry.plan.steps
    others = [changed_by(steps[each]).subject for each in entry.over if made_by(steps[each])]
    for record in entry.plan.records:
        if record.subject not in others:
            card = next(map(card_of, _devices(entry.plan, record, snapshot)), _card(entry))
            records.put(replace(record, generation=snapshot.generation), card)


def keep_left(records: Records, entry: Entry, shows: Callable[[Step], bool]) -> None:
    """Keep whose those devices are that are left.

    Args:
        records: Those of the host.
        entry: The change.
        shows: Returns whether the host shows what a step makes, or cannot be read.

    Raises OSError.
    """
    left = [entry.plan.steps[each] for found in left_in(entry).values() for each in found]
    made = [changed_by(step).subject for step in left if makes(step) and shows(step)]
    for own in entry.plan.records:
        now = records.of(own.subject)
        if own.subject in made and (now is None or now in entry.replaced or _is(now, own)):
            records.put(own, _card(entry))


def keep_again(records: Records, entry: Entry, subjects: Collection[str]) -> None:
    """Keep whose some devices were before the change, which are as they were. Raises OSError."""
    left = [changed.subject for changed in left_in(entry)]
    before = {record.subject: record for record in entry.replaced}
    for own in entry.plan.records:
        now = records.of(own.subject)
        if own.subject in subjects and own.subject not in left and now and _is(now, own):
            if own.subject in before:
                records.put(before[own.subject], _card(entry))
            else:
                records.forget(own.subject)


def _is(record: Record, own: Record) -> bool:
    """Return whether a record is that of a change, with the generation that showed the device."""
    return replace(record, generation=own.generation) == own


def _devices(plan: Plan, record: Record, snapshot: Snapshot) -> list[Device]:
    """Return the device of a record, of an mdev its parent."""
    found = []
    for expected in plan.expected:
        device = expected.device(snapshot)
        if device is not None and record.subject in (expected.path, expected.uuid):
            mdev = device.capability(MdevChild)
            found.append(device if mdev is None else snapshot.at(mdev.parent_path) or device)
    return found


def _card(entry: Entry) -> str:
    return next(iter(entry.plan.cards), "")
