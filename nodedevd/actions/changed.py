"""changed: what a step changes, and a plan: devices by the subject of their records, definitions.

A definition is none of its mdev, and has no record: its subject has the parent in front.
"""

from __future__ import annotations

from nodedevd.actions.plan import (
    CreateMdev,
    Plan,
    RemoveMdev,
    RunCallouts,
    SetProfile,
    SetVfs,
    SriovManage,
    Step,
    Write,
    WriteDefinition,
)


def leaves_no_trace(step: Step) -> bool:
    """Return whether the host cannot show whether a step was done, and need not."""
    return isinstance(step, RunCallouts) and step.event != "live"


def has_owner(step: Step) -> bool:
    """Return whether there is a record of what a step changes, as long as it is its maker's."""
    return not isinstance(step, Write | WriteDefinition | RunCallouts)


def subject_of(step: Step) -> str:
    """Return the subject of what a step changes; of an attribute its path."""
    if isinstance(step, CreateMdev | RemoveMdev | RunCallouts):
        return step.uuid
    if isinstance(step, SetProfile):
        return step.function
    if isinstance(step, SetVfs | SriovManage):
        return step.card
    if isinstance(step, WriteDefinition):
        return _definition(step.parent, step.uuid)
    return step.path if isinstance(step, Write) else step.device


def subjects_of(plan: Plan) -> frozenset[str]:
    """Return the subjects of what a plan changes, or finds as it is to be."""
    found = {subject_of(step) for step in plan.steps if not leaves_no_trace(step)}
    for one in plan.expected:
        if one.defined is not None or one.autostart is not None:
            found.add(_definition(one.parent or "", one.uuid or ""))
        else:
            found.add(one.uuid or one.path or "")
    return frozenset(found)


def made_by(step: Step) -> str | None:
    """Return the sysfs path of what a step makes, None if it makes nothing."""
    if isinstance(step, CreateMdev):
        return f"{step.parent}/{step.uuid}"
    if isinstance(step, SetProfile) and step.profile is not None:
        return step.function
    return None


def is_written_to(step: Step, maker: Step) -> bool:
    """Return whether a step writes to what another one makes."""
    made = made_by(maker)
    return isinstance(step, Write) and made is not None and step.path.startswith(f"{made}/")


def _definition(parent: str, uuid: str) -> str:
    return f"{parent}/{uuid}"
