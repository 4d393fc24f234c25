"""other_kind: why a device that is neither a PCI function nor an mdev cannot be assigned."""

from __future__ import annotations

from shlex import quote

from nodedevd.host.assignment import AssignmentFacts
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot


def why_not(snapshot: Snapshot, device: Device, facts: AssignmentFacts) -> str:
    """Return why it cannot be assigned, and which device can."""
    text = "it is neither a PCI function nor an mdev"
    parent = device.capability(MdevParent)
    if parent is not None:
        offers = parent.types[0].id if parent.types else "TYPE"
        return (
            f"{text}, but an mdev parent; create an mdev, and assign that:"
            f" nodedevctl create {quote(offers)} {device.name}"
        )
    block = facts.blocks.get(device.path or "")
    starts = [device.path, *(block.below if block is not None else ())]
    found = [name for path in starts if (name := _function_above(snapshot, path)) is not None]
    if not found:
        return text
    names = ", ".join(dict.fromkeys(found))
    return f"{text}; the PCI device behind it is {names}"


def _function_above(snapshot: Snapshot, path: str | None) -> str | None:
    """Return the name of the PCI function that a device lies below."""
    while path:
        path = path.rpartition("/")[0]
        device = snapshot.at(path)
        if device is not None and device.capability(Pci) is not None:
            return device.name
    return None
