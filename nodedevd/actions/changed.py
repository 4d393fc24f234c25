"""changed: what a step changes, and a plan: an mdev, a profile, functions, a driver, a definition.

A path is not enough: a function has a driver, a profile and functions of its own.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

from nodedevd.actions.plan import (
    Action,
    BindDriver,
    CreateMdev,
    Expected,
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

What: TypeAlias = Literal[
    "mdev", "profile", "functions", "driver", "definition", "running mdev", "attribute"
]


class Changed(NamedTuple):
    """What is changed, as one thing, by any number of steps."""

    what: What
    subject: str
    """that of a record, if there can be one; of a definition its parent, too; else a path"""


_OF_ACTIONS: Final[dict[Action, What]] = {
    "bind": "driver",
    "unbind": "driver",
    "set-virtual-functions": "functions",
    "define": "definition",
    "undefine": "definition",
    "modify": "definition",
    "set-autostart": "definition",
}
"""What an action finds as it is to be; the others an mdev, or a profile."""


def changed_by(step: Step) -> Changed:
    """Return what a step changes."""
    if isinstance(step, CreateMdev | RemoveMdev):
        return Changed("mdev", step.uuid)
    if isinstance(step, SetProfile):
        return Changed("profile", step.function)
    if isinstance(step, SetVfs | SriovManage):
        return Changed("functions", step.card)
    if isinstance(step, WriteDefinition):
        return _definition(step.parent, step.uuid)
    if isinstance(step, RunCallouts):
        return Changed("running mdev", step.uuid)
    if isinstance(step, Write):
        return Changed("attribute", step.path)
    return Changed("driver", step.device)


def changed_or_found(plan: Plan) -> frozenset[Changed]:
    """Return what a plan changes, or finds as it is to be."""
    changed = [changed_by(step) for step in plan.steps if not leaves_no_trace(step)]
    return frozenset([*changed, *(_found(plan.action, one) for one in plan.expected)])


def leaves_no_trace(step: Step) -> bool:
    """Return whether the host cannot show whether a step was done, and need not."""
    return isinstance(step, RunCallouts) and step.event != "live"


def needs_owner(step: Step) -> bool:
    """Return whether what a step has left is not touched any more if there is no record of it.

    A UUID, or a function, can have another vGPU by then.
    """
    return isinstance(step, CreateMdev | RemoveMdev | SetProfile)


def makes(step: Step) -> bool:
    """Return whether a step makes what a record is of, rather than takes it away."""
    if isinstance(step, SetProfile):
        return step.profile is not None
    if isinstance(step, SetVfs):
        return step.number > 0
    if isinstance(step, SriovManage):
        return step.enable
    return isinstance(step, CreateMdev) or (isinstance(step, BindDriver) and bool(step.driver))


def made_by(step: Step) -> str | None:
    """Return the sysfs path of the vGPU that a step makes, None if it makes none."""
    if isinstance(step, CreateMdev):
        return f"{step.parent}/{step.uuid}"
    return step.function if isinstance(step, SetProfile) and makes(step) else None


def is_written_to(step: Step, maker: Step) -> bool:
    """Return whether a step writes to what another one makes."""
    made = made_by(maker)
    return isinstance(step, Write) and made is not None and step.path.startswith(f"{made}/")


def _found(action: Action, expected: Expected) -> Changed:
    what = _OF_ACTIONS.get(action)
    if what == "definition":
        return _definition(expected.parent or "", expected.uuid or "")
    if what is not None:
        return Changed(what, expected.path or "")
    if expected.uuid is not None:
        return Changed("mdev", expected.uuid)
    return Changed("profile", expected.path or "")


def _definition(parent: str, uuid: str) -> Changed:
    return Changed("definition", f"{parent}/{uuid}")
