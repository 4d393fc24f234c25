"""callouts: the scripts that mdevctl runs before and after it changes an mdev or its definition.

Form   mdevctl(8), "Callouts" and "Notifiers"; `control/callouts.py` runs them
"""

from __future__ import annotations

from collections.abc import Iterable

from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.plan import CalloutAction, CalloutEvent, RunCallouts, Step
from nodedevd.kinds.shared.mdevctl import Definition, definition_line


def with_callouts(
    facts: ActionFacts,
    action: CalloutAction,
    parent: str,
    uuid: str,
    definition: Definition,
    steps: Iterable[Step],
) -> tuple[Step, ...]:
    """Return the steps between the callouts that may veto them and those that are told of them.

    Args:
        facts: They say whether there are scripts.
        action: What mdevctl calls it.
        parent: Kernel name of the parent.
        uuid: UUID of the mdev.
        definition: What the mdev is, or is going to be.
        steps: What the action changes.
    """
    if not facts.callouts:
        return tuple(steps)
    return (
        callout("pre", action, parent, uuid, definition),
        *steps,
        callout("post", action, parent, uuid, definition),
        callout("notify", action, parent, uuid, definition),
    )


def callout(
    event: CalloutEvent, action: CalloutAction, parent: str, uuid: str, definition: Definition
) -> RunCallouts:
    """Return the step that runs the callouts of one event."""
    return RunCallouts(
        event=event,
        action=action,
        parent=parent,
        uuid=uuid,
        type=definition.mdev_type,
        definition=definition_line(definition),
    )
