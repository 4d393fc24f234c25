"""concerned: which entries of a layout changes of the tree can give another answer.

A host with many cards compares only those to which something happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci
from nodedevd.layout.card import devices_meant
from nodedevd.layout.difference import Difference
from nodedevd.layout.wanted import WantedCard
from nodedevd.model.changes import Change, Changed
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot


def concerned(
    changes: Iterable[Change], snapshot: Snapshot
) -> Callable[[WantedCard, Iterable[Difference]], bool]:
    """Return what answers whether an entry has to be compared again, given its last answers.

    Args:
        changes: What happened since those answers.
        snapshot: The tree after that.
    """
    cards: set[str | None] = set()
    uuids = set()
    candidates = {}
    for device in _devices(changes):
        for one in _above(device, snapshot):
            cards.add(one.name)
        if device.capability(MdevChild) is not None:
            uuids.add(device.sysname)
        if device.capability(Pci) is not None or device.capability(MdevParent) is not None:
            candidates[device.name] = device
    alone = Snapshot(candidates.values())

    def is_concerned(entry: WantedCard, answers: Iterable[Difference]) -> bool:
        return (
            any(one.card in cards for one in answers)
            or any(one.uuid in uuids for one in entry.mdevs)
            or bool(candidates and devices_meant(entry.match, alone))
        )

    return is_concerned


def _devices(changes: Iterable[Change]) -> Iterator[Device]:
    for change in changes:
        if isinstance(change, Changed):
            yield change.before
        yield change.device


def _above(device: Device, snapshot: Snapshot) -> Iterator[Device]:
    """Yield the devices on which a device can be a vGPU or function, and itself."""
    yield device
    mdev = device.capability(MdevChild)
    parent = None if mdev is None else snapshot.get(mdev.parent or "")
    if parent is not None:
        yield from _above(parent, snapshot)
    pci = device.capability(Pci)
    if pci is not None and pci.physical_function is not None:
        card = snapshot.find(pci.physical_function)
        if card is not None:
            yield card
