"""cards: the cards of a host, with their vGPUs and virtual functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeGuard

from nodedevd.drawing.bars import (
    SLOTS_AT_MOST,
    VGPUS_AT_ONCE,
    VgpuSlot,
    bar_of,
    rooms_of,
    vgpu_slot,
)
from nodedevd.drawing.model import Card, Count, Grid, Slot
from nodedevd.drawing.seen import STATES, Host, Seen, counted, strongest, worst
from nodedevd.drawing.words import function_end, place_of, product, shown
from nodedevd.kinds.ap_matrix import ApMatrix
from nodedevd.kinds.base import Capability
from nodedevd.kinds.css import Css
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.fits import CardType, types_in_steps
from nodedevd.questions.vgpus import card_of, vgpu_related_in_steps
from nodedevd.questions.why_not import why_not
from nodedevd.steps import Steps, collected, groups

_OF_CARDS = (MdevParent, Vgpu, Pci)
_FULL = ("full", "other-profile-active", "not-listed", "none-available", "no-gpu-instance")
_HELD_SHOWN = 2


class Vgpus:
    """What a host has of vGPUs, by card.

    Attributes:
        types: the room of each card for each of its types.
        holding: mdevs, defined or active, and functions with a profile.
        physical: physical functions with SR-IOV.
        open_places: names of the functions that can take a vGPU.
    """

    def __init__(self) -> None:
        self.types: dict[str, list[CardType]] = {}
        self.holding: dict[str, list[Device]] = {}
        self.physical: dict[str, Device] = {}
        self.open_places: set[str] = set()

    @property
    def names(self) -> set[str]:
        """The names of all cards."""
        return {*self.types, *self.holding, *self.physical}


def vgpus_in_steps(snapshot: Snapshot) -> Steps[Vgpus]:
    """Return the vGPUs of a host, and where there is room, in steps."""
    found = Vgpus()
    for row in (yield from types_in_steps(snapshot)).types:
        found.types.setdefault(row.card, []).append(row)
        found.open_places.update([place.name for place in row.functions if place.available])
    for number, device in enumerate((yield from vgpu_related_in_steps(snapshot))):
        if number % VGPUS_AT_ONCE == 0:
            yield
        mdev, vgpu, pci = (device.capability(one) for one in (MdevChild, Vgpu, Pci))
        if isinstance(mdev, MdevChild):
            card = _card_of_mdev(snapshot, device, mdev)
            if card is not None:
                found.holding.setdefault(card, []).append(device)
        elif isinstance(vgpu, Vgpu) and vgpu.current is not None:
            found.holding.setdefault(card_of(device), []).append(device)
        if isinstance(pci, Pci) and pci.virtual_functions is not None:
            found.physical[device.name] = device
    return found


def _card_of_mdev(snapshot: Snapshot, device: Device, mdev: MdevChild) -> str | None:
    """Return the card of an mdev's parent; None if the parent is missing."""
    parents: Iterable[Device] = snapshot.by_sysname(mdev.parent_addr)
    if mdev.parent is not None:
        parent = snapshot.get(mdev.parent)
        parents = [] if parent is None else [parent]
    for parent in parents:
        if _has(parent, _OF_CARDS):
            return card_of(parent)
    return None


def is_card(device: Device | None) -> TypeGuard[Device]:
    """Return whether a device is drawn as a card: not in a matrix, among subchannels, or at all."""
    return device is not None and _has(device, _OF_CARDS) and not _has(device, (ApMatrix, Css))


def _has(device: Device, kinds: tuple[type[Capability], ...]) -> bool:
    return any(isinstance(one, kinds) for one in device.capabilities)


def in_order(snapshot: Snapshot, vgpus: Vgpus, names: Iterable[str]) -> Steps[list[Device]]:
    """Return cards, in steps: those with vGPUs first, then by NUMA node and address."""
    cards: list[Device] = []
    for some in groups(list(names)):
        cards += [device for name in some if is_card(device := snapshot.get(name))]
        yield

    def order(device: Device) -> tuple[bool, int, str]:
        pci = device.capability(Pci)
        numa = -1 if pci is None or pci.numa_node is None else pci.numa_node
        return device.name not in vgpus.types, numa, device.sysname or device.name

    return sorted(cards, key=order)


def cards_in_steps(
    host: Host, seen: Seen, vgpus: Vgpus, devices: Sequence[Device]
) -> Steps[list[Card]]:
    """Return cards, in steps."""
    cards = []
    for device in devices:
        yield
        cards.append((yield from _card(host, seen, vgpus, device)))
    return cards


def _card(host: Host, seen: Seen, vgpus: Vgpus, device: Device) -> Steps[Card]:
    types = vgpus.types.get(device.name, [])
    holding = vgpus.holding.get(device.name, ())
    slots = (vgpu_slot(device, one, types, seen) for one in holding)
    held = yield from collected(slots, VGPUS_AT_ONCE)
    held.sort(key=lambda one: one.order)
    rooms = rooms_of(types)
    bar, left_out = (yield from bar_of(types, held, rooms)) if types or held else (None, ())
    problem, is_full = _problem(types, bool(rooms))
    if bar is not None and not bar.slots and not bar.counts:
        bar = None
    grid = yield from _grid(host.snapshot, seen, vgpus, device, held)
    pci = device.capability(Pci)
    address = shown(pci.address) if pci is not None and pci.address else ""
    if not types and grid is None and not held:
        problem = "it offers no vGPUs, and has no virtual functions"
    return Card(
        device=device.name,
        title=product(device, [row.type_name for row in types if row.type_name]),
        address=address,
        place=place_of(device),
        mark=worst((seen.mark(device.name), seen.mark_of_card(device.name))),
        bar=bar,
        left_out=left_out,
        rooms=rooms,
        problem=problem,
        is_full=is_full,
        grid=grid,
    )


def _problem(types: Sequence[CardType], has_room: bool) -> tuple[str | None, bool]:
    """Return why a card has no room, and whether it is only full."""
    reasons = [row for row in types if row.reason is not None]
    if has_room or not reasons:
        return None, False
    if any(row.active for row in types):
        return "no type has room", all(row.reason in _FULL for row in reasons)
    return shown(why_not(reasons[0]).replace("`", ""), 300), False


# -- virtual functions --------------------------------------------------------------------------


def _grid(
    snapshot: Snapshot, seen: Seen, vgpus: Vgpus, device: Device, held: Sequence[VgpuSlot]
) -> Steps[Grid | None]:
    pci = device.capability(Pci)
    functions = None if pci is None else pci.virtual_functions
    if functions is None:
        return None
    on: dict[str, list[Slot]] = {}
    for some in groups(held):
        yield
        for one in some:
            on.setdefault(one.function, []).append(one.slot)
    slots = []
    for number, address in enumerate(functions.addresses):
        if number % VGPUS_AT_ONCE == 0:
            yield
        function = next(
            (one for one in snapshot.by_sysname(address) if one.capability(Pci) is not None), None
        )
        slots.append(_function(seen, vgpus, address, function, on.get(address, ())))
    counts = tuple([Count(state, count) for state, count in counted(slots).items()])
    return Grid(
        slots=tuple(slots) if len(slots) <= SLOTS_AT_MOST else (),
        counts=counts,
        enabled=len(slots),
        maximum=functions.maximum,
        first=function_end(functions.addresses[0]) if slots else "",
        last=function_end(functions.addresses[-1]) if slots else "",
    )


def _function(
    seen: Seen, vgpus: Vgpus, address: str, function: Device | None, held: Sequence[Slot]
) -> Slot:
    """Return the cell of a virtual function: that of its vGPU, or whether it can take one."""
    name = None if function is None else function.name
    state, holder = strongest(slot.state for slot in held), ""
    words = [shown(address)]
    if state is not None:
        words += [slot.label.partition(", on ")[0] for slot in held[:_HELD_SHOWN]]
    elif name in vgpus.open_places:
        state = "room"
    elif function is not None and _has(function, (MdevParent, Vgpu)):
        state = "none"
    else:
        state, holder = seen.function(function)
        driver = "absent" if function is None else function.driver
        words.append("no driver" if driver is None else shown(driver, 24))
    words.append({"none": "takes no vGPU", "room": "can take a vGPU"}.get(state, STATES[state]))
    if holder:
        words.append(f"by {holder}")
    marks = [*(slot.mark for slot in held), None if name is None else seen.mark(name)]
    return Slot(
        state=state,
        title=function_end(address),
        detail="",
        label=", ".join(words),
        device=name,
        mark=worst(marks),
        holder=holder,
    )
