"""facts: what hostdev needs to know of a host, besides its devices."""

from __future__ import annotations

import msgspec

from nodedevd.host.assignment import AssignmentFacts
from nodedevd.host.nvme_multipath import is_multipath
from nodedevd.kinds.pci import Pci
from nodedevd.model.device import Device
from nodedevd.questions.in_use import Use, VfioUsage


def needs_host(device: Device) -> bool:
    """Return whether the facts of the host matter: it loses nothing with an mdev.

    The functions behind an NVMe disk with several paths are not found by its path.
    """
    return device.capability(Pci) is not None or is_multipath(device.path)


class HostDevFacts(msgspec.Struct, frozen=True):
    """Facts about this host and its processes."""

    machine: str
    """the architecture of this host, as uname(2) names it"""
    host: AssignmentFacts = AssignmentFacts()
    usage: VfioUsage | None = None
    """which processes have devices open; None is unknown"""
    show_holders: bool = True
    """whether the answer may name processes"""

    def use(self, name: str, path: str | None) -> Use | None:
        """Return whether a device is open; None is unknown."""
        return None if self.usage is None else self.usage.use(name, path)
