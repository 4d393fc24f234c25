"""InProcess: changes of this host without the control service, by the same code and locks.

It also plans changes of any host, such as a recorded one.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from nodedevd.cli.embedded import Embedded
from nodedevd.errors import NotAllowed
from nodedevd.host.sysroot import Progress

if TYPE_CHECKING:
    from nodedevd.actions.answers import ControlStatus, LayoutOutcome, MadeList, Outcome
    from nodedevd.actions.plan import Plan
    from nodedevd.actions.requests import ApplyLayout, Request
    from nodedevd.control.acting import Acting
    from nodedevd.model.snapshot import Snapshot

_RECORDS_UNREAD = "who made which device is known to root alone, and was not considered"


class InProcess:
    """Answers as the control service does.

    Attributes:
        path: the socket of the service; there is none.
    """

    path = None

    def __init__(
        self, root: str, *, progress: Callable[[str], Progress | None] = lambda what: None
    ) -> None:
        """Take the host at a sysroot, / for this one.

        Args:
            root: The sysroot.
            progress: As for `Embedded`.
        """
        self._root = root
        self._progress = progress
        self._is_this_host = os.path.realpath(root) == "/"

    def act(self, request: Request) -> Outcome:
        """Make a change, or plan it.

        A change that has begun is not interrupted by signals: it ends, or is undone. Raises
        NodedevError, UsageError.
        """
        if request.dry_run and not self._has_state():
            return self._plan(request)
        acting = self._acting(request.action)
        from nodedevd.control.asker import this_process

        if request.dry_run:
            return acting.act(request, this_process())
        with uninterrupted():
            acting.recover()
            return acting.act(request, this_process())

    def apply(self, request: ApplyLayout) -> LayoutOutcome:
        """Make the host as its layout declares it, or plan that.

        As `act`. Raises NodedevError, UsageError.
        """
        if request.dry_run and not self._has_state():
            return self._plan_layout(request)
        acting = self._acting("apply-layout")
        from nodedevd.control.asker import this_process

        if request.dry_run:
            return acting.apply_layout(request, this_process())
        with uninterrupted() as interruptible:
            acting.recover()
            return acting.apply_layout(request, this_process(), interruptible)

    def get_status(self) -> ControlStatus:
        """Return what is in progress, and left, of changes of this host. Raises NodedevError."""
        return self._acting("status").status()

    def list(self) -> MadeList:
        """Return whose the devices of this host are. Raises NodedevError."""
        return self._acting("list").made()

    def _acting(self, action: str) -> Acting:
        """Return what changes this host. Raises UsageError, NotAllowed, BadConfiguration."""
        from nodedevd.control.acting import Acting
        from nodedevd.control.configuration import read_configuration

        reads = action in ("status", "list")
        if not self._is_this_host:
            raise click.UsageError(
                f"nobody knows who made the devices of the host at {self._root}; omit --sysroot"
                if reads
                else f"the host at {self._root} cannot be changed, only planned for; give --dry-run"
            )
        if os.geteuid() != 0:
            what = "knows who made which device" if reads else "changes this host"
            reason = f"without the control service, only root {what}; omit --sysroot"
            raise NotAllowed(action, reason)
        acting = Acting(configuration=read_configuration())
        click.get_current_context().call_on_close(acting.close)
        return acting

    def _has_state(self) -> bool:
        """Whether this process can know who made which device of the host."""
        from nodedevd.control.acting import STATE

        return self._is_this_host and os.geteuid() == 0 and os.path.isdir(f"/{STATE}")

    def _plan(self, request: Request) -> Outcome:
        """Plan a change without records, and without writing anything."""
        from nodedevd.control.acting import PLANS
        from nodedevd.control.carry_out import outcome
        from nodedevd.control.facts import read_facts

        tree = Embedded(self._root, progress=self._progress).tree
        facts = read_facts(self._root, tree, request, {}, os.geteuid())
        planned = outcome(PLANS[type(request)](tree, facts, request), tree, dry_run=True)
        if self._is_this_host and os.geteuid() != 0:
            planned = replace(planned, notes=(*planned.notes, _RECORDS_UNREAD))
        return planned

    def _plan_layout(self, request: ApplyLayout) -> LayoutOutcome:
        """Plan for the layout of a host without records, and without writing anything."""
        from nodedevd.control.acting import PLANS
        from nodedevd.control.apply_layout import plan_layout
        from nodedevd.control.facts import read_facts, read_layout_facts

        def plan(tree: Snapshot, request: Request) -> Plan:
            facts = read_facts(self._root, tree, request, {}, os.geteuid(), "layout")
            return PLANS[type(request)](tree, facts, request)

        tree = Embedded(self._root, progress=self._progress).tree
        facts = read_layout_facts(self._root, {}, os.geteuid())
        return plan_layout(self._root, tree, facts, plan, request)


@contextmanager
def uninterrupted() -> Iterator[Callable[[], AbstractContextManager[object]]]:
    """Hold back what would end this process, until what has begun is done or undone.

    Yields what is entered while nothing is in progress: there the process ends at once.
    """
    caught: list[int] = []
    is_idle = False

    def hold(number: int, frame: FrameType | None) -> None:
        if is_idle:
            sys.exit(128 + number)
        if not caught:
            click.echo("\nnodedevctl: ending as soon as the change is made or undone", err=True)
        caught.append(number)

    @contextmanager
    def interruptible() -> Iterator[None]:
        nonlocal is_idle
        is_idle = True
        try:
            if caught:
                sys.exit(128 + caught[0])
            yield
        finally:
            is_idle = False

    before = {
        number: signal.signal(number, hold)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield interruptible
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if caught:
        sys.exit(128 + caught[0])
