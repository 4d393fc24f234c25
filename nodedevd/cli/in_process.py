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
        raise NotImplementedError

    def get_status(self) -> ControlStatus:
        raise NotImplementedError

    def list(self) -> MadeList:
        raise NotImplementedError
