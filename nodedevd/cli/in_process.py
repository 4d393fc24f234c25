"""InProcess: changes of a host without the control service, by the same code and locks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from nodedevd.errors import NotAllowed

if TYPE_CHECKING:
    from nodedevd.actions.answers import ControlStatus, MadeList, Outcome
    from nodedevd.actions.requests import Request


class InProcess:
    """Makes changes of this host, or plans those of any host.

    Attributes:
        path: the socket of the service; there is none.
    """

    path = None

    def __init__(self, root: str) -> None:
        """Take the host at a sysroot, / for this one."""
        self._root = root

    def act(self, request: Request) -> Outcome:
        """Make a change, or plan it. Raises NodedevError, UsageError."""
        if request.dry_run:
            return self._plan(request)
        if os.path.realpath(self._root) != "/":
            raise click.UsageError(
                f"the host at {self._root} cannot be changed, only planned for; give --dry-run"
            )
        if os.geteuid() != 0:
            raise NotAllowed(
                request.action,
                "without the control service, only root changes this host; omit --sysroot",
            )
        raise NotImplementedError

    def _plan(self, request: Request) -> Outcome:
        import importlib

        from nodedevd.actions.answers import Outcome
        from nodedevd.cli.embedded import Embedded
        from nodedevd.control.facts import read_facts

        tree = Embedded(self._root).tree
        facts = read_facts(self._root, tree, request, {}, os.geteuid())
        planner = importlib.import_module(f"nodedevd.actions.{request.action.replace('-', '_')}")
        plan = planner.plan(tree, facts, request)
        devices = [one.device(tree) for one in plan.expected]
        return Outcome(
            generation=tree.generation,
            devices=tuple([device for device in devices if device is not None]),
            steps=tuple(map(str, plan.steps)),
            plan=plan.steps,
            dry_run=True,
            notes=plan.notes,
        )

    def get_status(self) -> ControlStatus:
        raise NotImplementedError

    def list(self) -> MadeList:
        raise NotImplementedError
