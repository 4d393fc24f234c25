"""concerned: which entries of a layout changes of the tree can give another answer.

A host with many cards compares only those to which something happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci
from nodedevd.layout.card import devices_meant
from nodedevd.layout.difference import Difference
from nodedevd.layout.wanted import WantedCard
from nodedevd.model.changes import Change, Changed
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot


class Concerned:
    """Knows which cards have to be compared again after changes of the tree."""

    def __init__(self, changes: Iterable[Change], snapshot: Snapshot) -> None:
        """Look through changes, given the tree after them."""
        self._cards: set[str] = set()
        self._uuids: set[str | None] = set()
        candidates = {}
        for device in _devices(changes):
            self._cards.update(one.name for one in _above(device, snapshot))
            if device.capability(MdevChild) is not None:
                self._uuids.add(device.sysname)
            if device.capability(Pci) is not None or device.capability(MdevParent) is not None:
                candidates[device.name] = device
        self._candidates = Snapshot(candidates.values())

    def entry(self, entry: WantedCard, answers: Iterable[Difference]) -> bool:
        """Return whether an entry can have other answers than its last ones."""
        return (
            any(one.card is not None and self.card(entry, one.card) for one in answers)
            or any(one.uuid in self._uuids for one in entry.mdevs)
            or bool(len(self._candidates) and devices_meant(entry.match, self._candidates))
        )

    def card(self, entry: WantedCard, name: str) -> bool:
        """Return whether the answer about a card of an entry can be another one."""
        return name in self._cards or any(one.uuid in self._uuids for one in entry.mdevs)


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
