"""facts: what a comparison needs to know besides the tree: who uses what, and whose it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from nodedevd.host.assignment import AssignmentFacts
from nodedevd.model.device import Device
from nodedevd.questions.hostdev.losses import uses_of
from nodedevd.questions.in_use import REASONS, InUse, Use


class Usage(Protocol):
    """Tells which devices are open; `VfioUsage` does."""

    def use(self, name: str, path: str | None) -> Use:
        """Return whether a device, given by name and sysfs path, is open."""


class LayoutFacts(msgspec.Struct, frozen=True):
    """What is known of a host besides its tree. What was not looked at stands in nobody's way."""

    usage: Usage | None = None
    """which devices are open; None: nobody has looked"""
    assignment: AssignmentFacts | None = None
    """what the host uses of its disks and interfaces; None: nobody has looked"""
    claimed: Mapping[str, str] = {}
    """whose devices are that belong to a client or a domain, in words, by uuid of an mdev or else
    sysfs path"""

    type_names: Mapping[str, str] = {}
    """names of types by id, of profiles with vendor VFIO that no function lists any more"""

    def why_kept(self, devices: Iterable[Device]) -> str | None:
        """Return why devices may not be taken away, as a sentence; None if they may."""
        devices = list(devices)
        for one in devices:
            reason = self._why_kept(one)
            if reason is not None:
                return f"{one.name} {reason}"
        return self._host_use(devices)

    def _why_kept(self, device: Device) -> str | None:
        owner = self.claimed.get(device.sysname or "") or self.claimed.get(device.path or "")
        if owner is not None:
            return f"belongs to {owner}"
        if self.usage is None:
            return None
        use = self.usage.use(device.name, device.path)
        if use.open == "no":
            return None
        if use.open == "unknown":
            why = "" if use.reason is None else f": {REASONS[use.reason]}"
            return f"may be open{why}"
        holders = ", ".join(f"{one.process} (process {one.pid})" for one in use.holders)
        return f"is open in {holders or 'a process'}"

    def _host_use(self, devices: Sequence[Device]) -> str | None:
        paths = [one.path for one in devices if one.path is not None]
        if self.assignment is None or not paths:
            return None
        uses = uses_of(paths, self.assignment)
        found = uses.used or uses.stacked or uses.degraded
        return f"the host uses what it would lose: {'; '.join(found)}" if found else None


class Answered:
    """The answer to `in_use` as `Usage`: what it does not name is not open."""

    def __init__(self, answer: InUse) -> None:
        self._uses = {one.name: one for one in answer.devices}

    def use(self, name: str, path: str | None) -> Use:
        """Return whether a device is open."""
        known = self._uses.get(name)
        return Use(name, path, "no", (), "no-node") if known is None else known
