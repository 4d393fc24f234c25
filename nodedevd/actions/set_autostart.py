"""set_autostart: set whether the mdev of a definition is started along with its parent."""

from __future__ import annotations

from msgspec.structs import replace

from nodedevd.actions import modify
from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.plan import Plan
from nodedevd.actions.requests import Modify, SetAutostart
from nodedevd.model.snapshot import Snapshot


def plan(snapshot: Snapshot, facts: ActionFacts, request: SetAutostart) -> Plan:
    """Plan to change `start` in the one definition that is meant. Raises as `modify.plan`."""
    change = Modify(name=request.name, parent=request.parent, autostart=request.autostart)
    return replace(modify.plan(snapshot, facts, change), action="set-autostart")
