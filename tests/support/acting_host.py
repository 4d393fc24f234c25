"""A played host whose changes are carried out by `control`, without processes and sockets."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from nodedevd.actions.answers import LayoutOutcome, Outcome
from nodedevd.actions.ownership import Origin
from nodedevd.actions.plan import Expected, Plan, Step
from nodedevd.actions.requests import ApplyLayout, Request
from nodedevd.control.acting import PLANS
from nodedevd.control.apply_card import LayoutHost
from nodedevd.control.apply_layout import apply_layout
from nodedevd.control.carry_out import carry_out
from nodedevd.control.context import Context
from nodedevd.control.facts import read_facts, read_layout_facts
from nodedevd.control.journal import Asked, Entry
from nodedevd.control.recovery import recover
from nodedevd.control.steps.base import InUseNow, Ran
from nodedevd.control.type_names import TypeNames
from nodedevd.host.sysroot import Sysroot
from nodedevd.layout.facts import LayoutFacts
from nodedevd.model.snapshot import Snapshot
from tests.support.carried import tree_of, uuids
from tests.support.pci_host import PciHost
from tests.support.played_kernel import PlayedKernel
from tests.support.trees import Tree

ASKED: Final = Asked(uid=0, pid=4242, command="pytest")
MOMENT_SECONDS: Final = 0.001


class Killed(BaseException):
    """The process is killed here: nothing in it runs any more."""


class ScannedView:
    """The tree, scanned whenever somebody looks; each has a generation of its own.

    Attributes:
        blind: shows nothing of what is waited for, as a reader that is late.
        when_waited_for: called when somebody waits for any change.
    """

    def __init__(self, kernel: PlayedKernel) -> None:
        self._kernel = kernel
        self._generations = count(1)
        self._known: Snapshot | None = None
        self.blind = False
        self.when_waited_for: Callable[[ScannedView], None] = _never

    def snapshot(self) -> Snapshot:
        """Scan."""
        self._known = tree_of(self._kernel).numbered(next(self._generations))
        return self._known

    def wait_for_change(self, generation: int, seconds: float) -> None:
        """Have the test change something, or fail."""
        self.when_waited_for(self)

    def known(self) -> Snapshot:
        """Return the tree that was seen last, which is late."""
        return self._known or self.snapshot()

    def wait(self, expected: tuple[Expected, ...], seconds: float) -> Snapshot | None:
        """Look once: the kernel has done everything when a write returns."""
        found = self.snapshot()
        return found if not self.blind and all(one.met(found) for one in expected) else None


class ActingHost:
    """A played host.

    Attributes:
        pci: its hardware.
        kernel: its kernel.
        context: as the service has it; a crash makes a new one.
        points: those that were passed, in order.
        refusals: the errnos of the next writes; None for one that is done.
        told: what was told of each step.
        late: what came of changes whose client had been answered before.
        ended_late: set when there is one.
    """

    def __init__(self, directory: Path) -> None:
        self.pci = PciHost(Tree(directory / "host"))
        self.kernel = self.pci.kernel
        self._uuids = count(1000, 100)
        self.view = ScannedView(self.kernel)
        self.points: list[str] = []
        self.refusals: list[int | None] = []
        self.told: list[tuple[str, str]] = []
        self.late: list[object] = []
        self.ended_late = threading.Event()
        self._hooks: dict[str, Callable[[], None]] = {}
        self._directory = directory / "control"
        self.context = self.started()

    def started(self, **given: Any) -> Context:
        """Return what a service has that has just started."""
        return Context(
            **{
                "sysroot": Sysroot(self.kernel.tree.root),
                "view": self.view,
                "directory": str(self._directory),
                "write": self._write,
                "run": _no_programs,
                "kept_closed": self._kept_closed,
                "lock_seconds": 0.0,
                "at": self._at,
                "told": self._tell,
                "ended_late": self._end_late,
                "pause": _give_way,
                **given,
            }
        )

    def restart(self, **given: Any) -> None:
        """Start a service after a crash: it takes up what the last one has left."""
        self._hooks.clear()
        self.context = self.started(**given)
        recover(self.context)

    def recover(self) -> None:
        """Take up what the journal has."""
        recover(self.context)

    def apply_layout(self, text: str | None = None, **given: Any) -> LayoutOutcome:
        """Write a file of the layout, and apply it. Raises NodedevError."""
        if text is not None:
            self.kernel.tree.file("/etc/nodedevd/layout.d/10-test.toml", text)
        return apply_layout(self.layout_host(), self.view, ApplyLayout(**given))

    def layout_host(self) -> LayoutHost:
        """Return the host as what applies its layout changes it."""
        return LayoutHost(
            context=self.context,
            facts=self.layout_facts,
            plan=lambda snapshot, request: self.plan(request, snapshot, origin="layout"),
            asked=ASKED,
        )

    def layout_facts(self, snapshot: Snapshot) -> LayoutFacts:
        """Return what a comparison with the layout needs besides the tree."""
        root = self.kernel.tree.root
        facts = read_layout_facts(root, self.context.records.all(), 0)
        names = TypeNames(self.context.directory).learnt(snapshot)
        return replace(facts, usage=self.kernel.usage(), type_names=names)

    def act(self, request: Request) -> Outcome:
        """Make a change. Raises NodedevError."""
        return carry_out(partial(self.plan, request), self.context, ASKED)

    def plan(
        self, request: Request, snapshot: Snapshot | None = None, origin: Origin = "client"
    ) -> Plan:
        """Plan it on a tree, by default on that of this moment."""
        root, snapshot = self.kernel.tree.root, snapshot or self.view.snapshot()
        found = read_facts(root, snapshot, request, self.context.records.all(), 0, origin)
        new = uuids(len(found.new_uuids), next(self._uuids))
        facts = replace(found, usage=self.kernel.usage(), new_uuids=new)
        return PLANS[type(request)](snapshot, facts, request)

    def carry_out(self, plan: Plan) -> Outcome:
        """Carry out a plan as it is. Raises NodedevError."""
        return carry_out(lambda snapshot: plan, self.context, ASKED)

    def on(self, point: str, act: Callable[[], None]) -> None:
        """Do something once when a change is at a point."""
        self._hooks[point] = act

    def clear(self) -> None:
        """Forget what was to happen at points."""
        self._hooks.clear()

    def kill_at(self, point: str, after: int = 0) -> None:
        """Have the next change killed when it is at a point; or a later one, after so many."""

        def kill() -> None:
            if after:
                self.kill_at(point, after - 1)
            else:
                raise Killed(point)

        self.on(point, kill)

    def entries(self) -> list[Entry]:
        """Return what the journal has."""
        found = list(self.context.journal.entries())
        assert all(isinstance(one, Entry) for one in found)
        return [one for one in found if isinstance(one, Entry)]

    @property
    def owners(self) -> dict[str, str | None]:
        """The owner of each device that was made here, by subject."""
        return {one.subject: one.owner for one in self.context.records.all().values()}

    def _write(self, card: str, path: str, value: str, locks: Sequence[int]) -> None:
        number = self.refusals.pop(0) if self.refusals else None
        if number is not None:
            raise OSError(number, os.strerror(number), path)
        self.kernel.write(path, value)

    def _at(self, point: str) -> None:
        self.points.append(point)
        hook = self._hooks.pop(point, None)
        if hook is not None:
            hook()

    def _end_late(self, asked: Asked, result: object) -> None:
        self.late.append(result)
        self.ended_late.set()

    def _tell(self, entry: Entry, step: Step, result: str, detail: str) -> None:
        self.told.append((result, str(step)))

    @contextmanager
    def _kept_closed(self, path: str) -> Iterator[None]:
        if self.kernel.is_open(path):
            raise InUseNow(path, "a process has opened it meanwhile")
        yield


def _never(view: ScannedView) -> None:
    raise AssertionError("nothing is waited for")


def _give_way(seconds: float) -> None:
    """Pause for a moment only: threads that wait without one would keep others from running."""
    time.sleep(min(seconds, MOMENT_SECONDS))


def _no_programs(
    argv: Sequence[str], *, stdin: bytes, timeout: float | None, locks: Sequence[int]
) -> Ran:
    raise AssertionError(f"a plan of vGPUs runs {argv}")
