"""A played vGPU card: a small model of its driver, which lets vGPUs be created, and its readings.

The model knows what no attribute shows: the mode of the card, where its vGPUs lie, and which GPU
instances exist. So it is an oracle for what an answer about its readings may say.

Source: NVIDIA vGPU software user guide, "Virtual GPU Types for Supported GPUs" and "Putting a GPU
Into Mixed-Size Mode"; NVIDIA Multi-Instance GPU user guide, "Supported MIG Profiles".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from nodedevd.kinds.mdev_child import MdevChild, MdevChildType
from nodedevd.kinds.mdev_parent import MdevParent, MdevType
from nodedevd.kinds.pci import Pci, VirtualFunctions
from nodedevd.kinds.shared.vgpu_types import type_facts
from nodedevd.kinds.vgpu import Vgpu, VgpuType
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot

S = TypeVar("S", bound=msgspec.Struct)
Choose = Callable[[Sequence[int]], int]
"""Chooses one of several places, as the driver may."""


def filled(kind: type[S], **given: Any) -> S:
    """Return a struct of which every field that is not given is None."""
    return kind(**{name: given.get(name) for name in kind.__struct_fields__})


@dataclass(frozen=True)
class PlayedType:
    """A type: `name` is its end, as 4Q or 1-5C, and `most` fit on an empty card."""

    name: str
    size: int
    most: int
    slices: int | None = None
    sharing: int = 1
    """vGPUs that fit in one GPU instance"""

    @property
    def series(self) -> bool:
        """Whether it is of the C series, which shares no GPU with the others."""
        return self.name.rstrip("ME").endswith("C")


@dataclass
class Held:
    """A vGPU: its type, its function, and its place, a slot or a GPU instance."""

    type: PlayedType
    function: int
    place: int
    leaving: bool = False
    """its removal waits for a VM: it takes what it took, and has lost its type"""


@dataclass
class PlayedCard(ABC):
    """A card of NVIDIA with its functions, of which each takes so many vGPUs."""

    types: list[PlayedType]
    functions: int
    each: int = 1
    held: list[Held] = field(default_factory=list)

    @abstractmethod
    def places(self, wanted: PlayedType) -> list[int]:
        """Return the places at which a vGPU could be created now."""

    @abstractmethod
    def room(self, wanted: PlayedType) -> int:
        """Return how many vGPUs could be created now, if functions were no limit."""

    def free(self, function: int) -> int:
        """Return how many vGPUs a function can still take."""
        return self.each - sum(one.function == function for one in self.held)

    def creatable(self, wanted: PlayedType) -> int:
        """Return how many vGPUs of a type can be created, one after the other."""
        return min(self.room(wanted), sum(map(self.free, range(self.functions))))

    def create(self, wanted: PlayedType, function: int, choose: Choose) -> bool:
        """Create a vGPU, where the driver chooses; return whether it could be created."""
        places = self.places(wanted)
        if not places or not self.free(function):
            return False
        self.held.append(Held(wanted, function, choose(places)))
        return True


@dataclass
class TimeSliced(PlayedCard):
    """A card whose memory is divided: into equal sizes, or in mixed-size mode into halves."""

    memory: int = 0
    mixed: bool = False
    most_vgpus: int = 32

    def room(self, wanted: PlayedType) -> int:
        """Return how many could be created now, if functions were no limit."""
        if any(one.type.series != wanted.series for one in self.held):
            return 0
        left = self.most_vgpus - len(self.held)
        if self.mixed:
            return min(left, len(self._slots(wanted)))
        if any(one.type.size != wanted.size for one in self.held):
            return 0
        return min(left, self.memory // wanted.size - len(self.held))

    def places(self, wanted: PlayedType) -> list[int]:
        """Return the free slots of its size; in equal-size mode the place does not matter."""
        if not self.room(wanted):
            return []
        return self._slots(wanted) if self.mixed else [len(self.held)]

    def _slots(self, wanted: PlayedType) -> list[int]:
        """Return the free slots: a size has as many as the largest power of two that fits."""
        count = self._count(wanted)
        taken = [(one.place / self._count(one.type), self._count(one.type)) for one in self.held]
        return [
            slot
            for slot in range(count)
            if all(
                slot / count >= begin + 1 / other or (slot + 1) / count <= begin
                for begin, other in taken
            )
        ]

    def _count(self, wanted: PlayedType) -> int:
        return 1 << ((self.memory // wanted.size).bit_length() - 1)


@dataclass
class GpuInstances(PlayedCard):
    """A card in MIG mode, with instances of so many slices and so much memory each."""

    instances: list[tuple[int, int]] = field(default_factory=list)
    one_type_each: bool = True
    """whether an instance takes vGPUs of one type only"""

    def places(self, wanted: PlayedType) -> list[int]:
        """Return the instances of the profile with room."""
        return [place for place in range(len(self.instances)) if self._room_in(place, wanted)]

    def room(self, wanted: PlayedType) -> int:
        """Return how many could be created now, if functions were no limit."""
        return sum(self._room_in(place, wanted) for place in range(len(self.instances)))

    def _room_in(self, place: int, wanted: PlayedType) -> int:
        if self.instances[place] != (wanted.slices, wanted.size * wanted.sharing):
            return 0
        inside = [one.type for one in self.held if one.place == place]
        if self.one_type_each and any(one != wanted for one in inside):
            return 0
        used = sum(one.size for one in inside)
        return max(0, (wanted.size * wanted.sharing - used) // wanted.size)


# -- readings -------------------------------------------------------------------------------


def address(function: int) -> str:
    """Return the address of a function; that of the card is 0000:08:00.0."""
    return f"0000:08:{function + 4 >> 3:02x}.{function + 4 & 7}"


def name_of(function: int) -> str:
    """Return the name of a function's device."""
    return "pci_" + address(function).translate(str.maketrans(":.", "__"))


def readings(
    card: PlayedCard,
    *,
    vendor_vfio: bool = False,
    descriptions: bool = True,
    unreadable: frozenset[int] = frozenset(),
    leaving_keep_types: bool = False,
) -> Snapshot:
    """Return the devices that a scan of the card finds.

    Args:
        card: The card.
        vendor_vfio: Whether it has vendor VFIO, not mdevs.
        descriptions: Whether its types have descriptions.
        unreadable: The functions whose counts or lists cannot be read.
        leaving_keep_types: Whether an mdev that is being removed still has its type in the tree.
    """
    devices: list[Device] = []
    one_function = card.functions == 1 and not vendor_vfio
    if not one_function:
        addresses = tuple(map(address, range(card.functions)))
        functions = VirtualFunctions(maximum=card.functions, addresses=addresses)
        pci = filled(Pci, address="0000:08:00.0", virtual_functions=functions)
        devices.append(_device("pci_0000_08_00_0", pci))
    for function in range(card.functions):
        pci = filled(
            Pci,
            address=address(function),
            physical_function=None if one_function else "0000:08:00.0",
        )
        known = function not in unreadable
        held = [one for one in card.held if one.function == function]
        if vendor_vfio:
            vgpu = _vendor(card, function, held, known=known)
            devices.append(_device(name_of(function), pci, vgpu))
            continue
        parent = _parent(card, function, held, known=known, descriptions=descriptions)
        devices.append(_device(name_of(function), pci, parent))
        if leaving_keep_types:
            devices += [_leaving(card, one) for one in held if one.leaving]
    return Snapshot(devices)


def _device(name: str, *capabilities: Any) -> Device:
    sysname = name.removeprefix("pci_").replace("_", ":", 2).replace("_", ".")
    return filled(
        Device, name=name, path=f"/sys/devices/{sysname}", parent="computer", subsystem="pci",
        sysname=sysname, driver="nvidia", capabilities=capabilities, errors=(), devlinks=(),
    )  # fmt: skip


def _full_name(one: PlayedType) -> str:
    return f"NVIDIA X1-{one.name}"


def _uuid(card: PlayedCard, held: Held) -> str:
    index = next(index for index, one in enumerate(card.held) if one is held)
    return f"00000000-0000-4000-8000-{index:012}"


def _can_create(card: PlayedCard, function: int, wanted: PlayedType) -> int:
    return min(card.room(wanted), card.free(function))


def _parent(
    card: PlayedCard, function: int, held: Sequence[Held], *, known: bool, descriptions: bool
) -> MdevParent:
    types = []
    for number, one in enumerate(card.types):
        text = f"num_heads=4, frl_config=60, framebuffer={one.size << 10}M, max_instance={one.most}"
        description = text if descriptions else None
        types.append(
            filled(
                MdevType,
                id=f"nvidia-{number}",
                name=_full_name(one),
                description=description,
                facts=type_facts(_full_name(one), description),
                device_api="vfio-pci",
                available_instances=_can_create(card, function, one) if known else None,
                devices=tuple(
                    _uuid(card, vgpu) for vgpu in held if vgpu.type == one and not vgpu.leaving
                ),
            )
        )
    return filled(
        MdevParent, types=tuple(types), children=tuple(_uuid(card, vgpu) for vgpu in held)
    )


def _leaving(card: PlayedCard, held: Held) -> Device:
    uuid, parent = _uuid(card, held), name_of(held.function)
    number = card.types.index(held.type)
    mdev = filled(
        MdevChild, uuid=uuid, parent=parent, parent_addr=address(held.function), state="removing",
        mdev_type=filled(MdevChildType, id=f"nvidia-{number}"), defined=False, attributes=(),
    )  # fmt: skip
    return filled(
        Device, name=f"mdev_{uuid}", path=f"/sys/devices/{address(held.function)}/{uuid}",
        parent=parent, subsystem="mdev", sysname=uuid, capabilities=(mdev,), errors=(), devlinks=(),
    )  # fmt: skip


def _vendor(card: PlayedCard, function: int, held: Sequence[Held], *, known: bool) -> Vgpu:
    def profile(one: PlayedType) -> VgpuType:
        name = _full_name(one)
        return filled(
            VgpuType, id=str(card.types.index(one) + 1), name=name, facts=type_facts(name, None)
        )

    listed = tuple(profile(one) for one in card.types if _can_create(card, function, one))
    return filled(
        Vgpu,
        current=profile(held[0].type) if held else None,
        creatable=listed if known else None,
    )
