"""card: the devices of a host that an entry of a layout means, and what is on them."""

from __future__ import annotations

from collections.abc import Iterator

from nodedevd.errors import NoSuchType
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci, VirtualFunctions
from nodedevd.kinds.shared.mdevctl import definitions_directory
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.layout.slots import slots_of
from nodedevd.layout.wanted import Match
from nodedevd.lazy import lazy
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.fits import CardType, fits
from nodedevd.questions.vgpus import VgpuFunction, vgpu_functions, vgpu_related


def devices_meant(match: Match, snapshot: Snapshot) -> list[Device]:
    """Return the cards that an entry means: physical functions, or other mdev parents."""
    if match.address is not None:
        found = snapshot.find(match.address)
        return [] if found is None or found.capability(Pci) is None else [found]
    if match.parent is not None:
        named = snapshot.by_sysname(match.parent)
        return [one for one in named if one.capability(MdevParent) is not None][:1]
    return [one for one in snapshot.select(("pci",)) if _is_meant(match, one)]


def _is_meant(match: Match, device: Device) -> bool:
    pci = device.capability(Pci)
    if pci is None:
        return False
    if match.slots is not None:
        return slots_of(device.path) == match.slots
    return (
        pci.physical_function is None
        and pci.vendor is not None
        and pci.product is not None
        and (pci.vendor.id, pci.product.id) == (match.vendor, match.product)
    )


class Card:
    """One card of a host: its functions, what they can hold, and what they hold."""

    def __init__(self, device: Device, snapshot: Snapshot) -> None:
        self.device = device
        self.snapshot = snapshot
        self._rows: dict[str, CardType | None] = {}

    @property
    def name(self) -> str:
        """Name of the card."""
        return self.device.name

    @property
    def sriov(self) -> VirtualFunctions | None:
        """What is known of its virtual functions; None without SR-IOV."""
        pci = self.device.capability(Pci)
        return None if pci is None else pci.virtual_functions

    @lazy
    def functions(self) -> tuple[Device | None, ...]:
        """Its virtual functions by number; None for one that the tree does not have."""
        return tuple(
            [
                None if one is None or one.capability(Pci) is None else one
                for one in map(self.snapshot.find, self.sriov.addresses if self.sriov else ())
            ]
        )

    def spare_names(self, spare: int) -> set[str]:
        """Return the names of so many of the last virtual functions, of all if there are fewer."""
        found = self.functions[max(0, len(self.functions) - spare) :]
        return {one.name for one in found if one is not None}

    @lazy
    def devices(self) -> tuple[Device, ...]:
        """The card, its virtual functions, and the mdevs of these, active or defined."""
        found: dict[str, Device] = {}
        for one in (self.device, *self.functions):
            if one is not None:
                found[one.name] = one
                found.update((mdev.name, mdev) for mdev in self._mdevs_of(one))
        return tuple(found.values())

    def _mdevs_of(self, device: Device) -> Iterator[Device]:
        if device.path is None or device.capability(MdevParent) is None:
            return
        directory = definitions_directory(device.path)
        for path in (*self.snapshot.below(device.path), *self.snapshot.below(directory)):
            one = self.snapshot.at(path)
            mdev = None if one is None else one.capability(MdevChild)
            if one is not None and mdev is not None and mdev.parent == device.name:
                yield one

    @lazy
    def alone(self) -> Snapshot:
        """The tree of this card alone, for questions about it."""
        return Snapshot(self.devices, generation=self.snapshot.generation)

    @lazy
    def holders(self) -> dict[str, VgpuFunction]:
        """The functions of the card that can hold vGPUs, by name; the card first."""
        related = vgpu_related(self.devices)
        found = {one.device: one for one in vgpu_functions(related)}
        order = [self.name, *(one.name for one in self.functions if one is not None)]
        return {name: found[name] for name in order if name in found}

    @lazy
    def held(self) -> tuple[Device, ...]:
        """The vGPUs: active mdevs, and functions with a profile."""
        return tuple([one for one in self.devices if one.active and is_vgpu(one)])

    def types(self) -> tuple[CardType, ...]:
        """Return the room of the card for each of its types, and why it has none."""
        return fits(self.alone).cards

    def row(self, wanted: str) -> CardType | None:
        """Return the room of the card for a type, None if it offers no such type."""
        if wanted not in self._rows:
            try:
                rows = fits(self.alone, wanted).cards
            except NoSuchType:
                rows = ()
            self._rows[wanted] = next((one for one in rows if one.card == self.name), None)
        return self._rows[wanted]


def is_vgpu(device: Device) -> bool:
    """Return whether a device is an mdev, or a function with a profile."""
    vgpu = device.capability(Vgpu)
    return device.capability(MdevChild) is not None or (
        vgpu is not None and vgpu.current is not None
    )


def holder_of(device: Device) -> str | None:
    """Return the name of the function that a vGPU is on."""
    mdev = device.capability(MdevChild)
    return device.name if mdev is None else mdev.parent
