"""Carries plans out on a played kernel, with the real handlers of steps, and without a service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.ownership import Record
from nodedevd.actions.plan import Plan, RunCallouts
from nodedevd.control.steps import HANDLERS
from nodedevd.control.steps.base import AlreadySo, Ran, StepHost
from nodedevd.host.assignment import AssignmentFacts
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.read import scan
from tests.support.played_kernel import PlayedKernel


def tree_of(kernel: PlayedKernel) -> Snapshot:
    """Scan the tree of a kernel."""
    return scan(Sysroot(kernel.tree.root))


def facts_of(
    kernel: PlayedKernel, records: Mapping[str, Record] | None = None, **given: Any
) -> ActionFacts:
    """Return what is known of a kernel's host: who has its devices open, and what a test gives."""
    taken = {path.rpartition("/")[2] for path in kernel.mdev.types}
    defaults: dict[str, Any] = {
        "usage": kernel.usage(),
        "assignment": AssignmentFacts(),
        "records": records or {},
        "uid": 0,
        "now": "2026-11-28T12:00:00Z",
        "new_uuids": tuple(one for one in uuids(256) if one not in taken)[:64],
        "callouts": False,
    }
    return ActionFacts(**{**defaults, **given})


def uuids(count: int, first: int = 0) -> tuple[str, ...]:
    """Return different UUIDs."""
    return tuple(f"5d4d1f0c-6d5b-45d5-9a64-{number:012x}" for number in range(first, first + count))


class Carried:
    """A host whose plans are carried out at once: its kernel, and the records of its devices."""

    def __init__(self, kernel: PlayedKernel) -> None:
        self.kernel = kernel
        self.records: dict[str, Record] = {}
        self._host = StepHost(Sysroot(kernel.tree.root), kernel.write, _no_programs, _no_pause)

    def do(self, plan: Plan) -> None:
        """Take all steps of a plan, and keep its records; undo all if one is refused.

        Raises what the step raises.
        """
        done, theirs = [], set()
        try:
            for step in plan.steps:
                if isinstance(step, RunCallouts):
                    continue
                try:
                    HANDLERS[type(step)].do(step, self._host)
                except AlreadySo:
                    theirs.add(getattr(step, "uuid", None))
                    continue
                done.append(step)
        except Exception:
            for step in reversed(done):
                HANDLERS[type(step)].undo(step, self._host)
            raise
        made = [one for one in plan.records if one.subject not in theirs]
        self.records.update({one.subject: one for one in made})
        for subject in plan.forgotten:
            self.records.pop(subject, None)

    def unmet(self, plan: Plan) -> list[str]:
        """Return what the plan expects and the tree does not show."""
        snapshot = tree_of(self.kernel)
        return [str(one) for one in plan.expected if not one.met(snapshot)]


def _no_programs(argv: Sequence[str], *, stdin: bytes, timeout: float | None) -> Ran:
    raise AssertionError(f"a plan of vGPUs runs {argv}")


def _no_pause(seconds: float) -> None:
    pass
