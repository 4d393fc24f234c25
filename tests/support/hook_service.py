"""The control service as the hook for libvirt asks it, for a host of a played kernel."""

from __future__ import annotations

import os
from pathlib import Path

from nodedevd.actions.answers import Made, MadeList, Outcome
from nodedevd.actions.requests import Request
from nodedevd.control.carry_out import outcome
from nodedevd.errors import NodedevError
from nodedevd.model.device import Device
from tests.support.acting_host import ActingHost
from tests.support.carried import tree_of


class Service:
    """Answers as the control service does, for a played host.

    Attributes:
        host: the host.
        asked: the requests, in order.
        errors: what the next requests are answered with; None for those that are carried out.
    """

    def __init__(self, directory: Path) -> None:
        self.host = ActingHost(directory)
        self.asked: list[Request] = []
        self.errors: list[NodedevError | None] = []

    def act(self, request: Request) -> Outcome:
        self.asked.append(request)
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        if not request.dry_run:
            return self.host.act(request)
        snapshot = tree_of(self.host.kernel)
        return outcome(self.host.plan(request, snapshot), snapshot, dry_run=True)

    def list(self) -> MadeList:
        snapshot = tree_of(self.host.kernel)
        records = self.host.context.records.living(snapshot)
        found = []
        for device in snapshot:
            record = records.get(_subject(device))
            if record is not None:
                made = Made(
                    name=device.name,
                    origin=record.origin,
                    owner=record.owner,
                    generation=record.generation,
                )
                found.append(made)
        return MadeList(generation=0, devices=tuple(found))

    @property
    def mdevs(self) -> set[str]:
        """The UUIDs of the mdevs that there are."""
        return {os.path.basename(path) for path in self.host.kernel.mdev.types}


def _subject(device: Device) -> str:
    """Return what a record of the device would have as its subject."""
    mdev = device.subsystem == "mdev"
    return (device.sysname if mdev else device.path) or ""
