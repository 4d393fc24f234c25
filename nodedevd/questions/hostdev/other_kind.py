"""other_kind: why a device that is neither a PCI function nor an mdev cannot be assigned."""

from __future__ import annotations

from shlex import quote

from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot


def why_not(snapshot: Snapshot, device: Device) -> str:
    """Return why it cannot be assigned, and which device can."""
    text = "it is neither a PCI function nor an mdev"
    parent = device.capability(MdevParent)
    if parent is not None:
        offers = parent.types[0].id if parent.types else "TYPE"
        return (
            f"{text}, but an mdev parent; create an mdev, and assign that:"
            f" mdevctl start -u $(uuidgen) -p {quote(device.sysname or '')} -t {quote(offers)}"
        )
    above = device
    while above.parent is not None:
        above = snapshot.lookup(above.parent)
        if above.capability(Pci) is not None:
            return f"{text}; the PCI device behind it is {above.name}"
    return text
