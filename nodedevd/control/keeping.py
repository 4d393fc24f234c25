"""keeping: keeps whose the devices of a change are: of one that worked, and of what is left."""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from nodedevd.actions.changed import changed_by, made_by, makes
from nodedevd.actions.ownership import Record
from nodedevd.actions.plan import Plan
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


def keep_left(records: Records, entry: Entry) -> Entry:
    """Keep whose those devices are that are left; return the entry with the records of before.

    Raises OSError.
    """
    left = [entry.plan.steps[each] for found in left_in(entry).values() for each in found]
    made = [changed_by(step).subject for step in left if makes(step)]
    new = [record for record in entry.plan.records if record.subject in made]
    if not entry.replaced:
        before = records.all()
        pairs = [(before.get(one.subject), one) for one in new]
        replaced = [old for old, one in pairs if old and replace(old, generation=0) != one]
        entry = replace(entry, replaced=tuple(replaced))
    for record in new:
        records.put(record, _card(entry))
    return entry


def keep_again(records: Records, entry: Entry, subjects: Collection[str]) -> None:
    """Keep again whose those of some devices are of which nothing is left. Raises OSError."""
    left = [changed.subject for changed in left_in(entry)]
    for record in entry.replaced:
        if record.subject in subjects and record.subject not in left:
            records.put(record, _card(entry))


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
