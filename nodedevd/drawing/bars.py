"""bars: the memory of a card, with its vGPUs, and what still fits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nodedevd.drawing.model import Bar, Count, Room, Slot
from nodedevd.drawing.seen import STATES, Seen, counted
from nodedevd.drawing.words import function_end, short_uuid, shown, size, type_end
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.shared.vgpu_types import TypeFacts
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.device import Device
from nodedevd.questions.fits import CardType
from nodedevd.steps import Steps, groups

VGPUS_AT_ONCE = 32
"""vGPUs, functions or cells that are looked at, or drawn, in a step."""
SLOTS_AT_MOST = 64
"""With more slots, a bar or grid has only their numbers."""
_EQUAL_SLOTS = 32


class VgpuSlot(NamedTuple):
    """A vGPU, or a definition of one, and where it is."""

    slot: Slot
    function: str
    """kernel name of the function, or of the mdev parent"""
    order: tuple[int, str, str]
    obstacle: str | None
    """why it cannot be started, if it is only defined and cannot"""


_OBSTACLES = {
    "parent": "its parent is missing",
    "registration": "its parent offers no types",
    "type": "its parent does not offer the type",
    "capacity": "no room",
}


def vgpu_slot(card: Device, device: Device, types: Sequence[CardType], seen: Seen) -> VgpuSlot:
    """Return the slot of an mdev of a card, or of a function of it with a profile."""
    mdev, vgpu = device.capability(MdevChild), device.capability(Vgpu)
    state, holder = seen.vgpu(device)
    facts: TypeFacts | None
    if mdev is not None:
        type_id = None if mdev.mdev_type is None else mdev.mdev_type.id
        row = next((one for one in types if one.type == type_id and type_id is not None), None)
        name = mdev.mdev_type.name if mdev.mdev_type is not None else None
        name = name or (None if row is None else row.type_name) or type_id
        facts = None if row is None else row.facts
        function, order = mdev.parent_addr, (0, mdev.parent_addr, mdev.uuid)
        what = f"mdev {short_uuid(mdev.uuid)}"
        obstacle = None if mdev.waits_for is None else _OBSTACLES[mdev.waits_for]
    else:
        current = None if vgpu is None else vgpu.current
        name = None
        if current is not None:
            name = current.name or f"profile {current.id}"
        facts = None if current is None else current.facts
        function = device.sysname or device.name
        order = (_placement(vgpu), function, "")
        what, obstacle = "", None
    taken = size_of(facts)
    end = "?" if name is None else type_end(name)
    # A card without virtual functions has many mdevs, which only their uuids tell apart.
    alone = mdev is not None and function == card.sysname
    place = short_uuid(mdev.uuid) if mdev is not None and alone else function_end(function)
    words = [shown(name or "unknown type", 60), what, f"on {shown(function)}", STATES[state]]
    if holder:
        words.append(f"by {holder}")
    if taken is not None:
        words.append(size(taken))
    slot = Slot(
        state=state,
        title=end,
        detail=place,
        label=", ".join([word for word in words if word]),
        device=device.name,
        size_bytes=taken,
        mark=seen.mark(device.name),
        holder=holder,
    )
    return VgpuSlot(slot, function, order, obstacle)


def _placement(vgpu: Vgpu | None) -> int:
    text = None if vgpu is None else vgpu.placement_id
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0


def size_of(facts: TypeFacts | None) -> int | None:
    """Return the memory that a vGPU of a type takes, in bytes; None for a type without size."""
    return None if facts is None else facts.nominal_bytes or facts.framebuffer_bytes


def rooms_of(types: Sequence[CardType]) -> tuple[Room, ...]:
    """Return what fits on a card, as `fits` counts it: types of one size and number together."""
    found: dict[tuple[int | None, int, int | None, str], list[str]] = {}
    for row in types:
        if row.type is None or row.available == 0:
            continue
        taken, name = size_of(row.facts), type_end(row.type_name or row.type)
        key = (taken, row.sure, row.available, "" if taken else name)
        found.setdefault(key, []).append(name)
    rooms = [
        Room(sure, available, taken, tuple(names))
        for (taken, sure, available, _), names in found.items()
    ]
    return tuple(sorted(rooms, key=lambda one: -(one.size_bytes or 0)))


def bar_of(
    types: Sequence[CardType], vgpus: Sequence[VgpuSlot], rooms: Sequence[Room]
) -> Steps[tuple[Bar, tuple[str, ...]]]:
    """Return the bar of a card, and a sentence for each definition that has no place in it.

    `vgpus` are in their order.
    """
    slots: list[Slot] = []
    defined: list[VgpuSlot] = []
    sized = any(size_of(row.facts) for row in types)
    taken, all_known = 0, True
    for some in groups(vgpus, VGPUS_AT_ONCE):
        yield
        defined += [one for one in some if one.slot.state == "defined"]
        active = [one.slot for one in some if one.slot.state != "defined"]
        slots += active
        taken += sum(slot.size_bytes or 0 for slot in active)
        sized = sized or any(slot.size_bytes for slot in active)
        all_known = all_known and all(slot.size_bytes for slot in active)
    total = max(
        [(size_of(row.facts) or 0) * (row.ceiling or 0) for row in types if row.facts is not None],
        default=0,
    )
    free = total - taken
    left_out = []
    for some in groups(defined, VGPUS_AT_ONCE):
        yield
        for waiting in some:
            needed = waiting.slot.size_bytes or 0
            if waiting.obstacle is None and (not total or needed <= free):
                slots.append(waiting.slot)
                free -= needed
            else:
                left_out.append(_without_place(waiting))
    slots += _room_slots(total, free, rooms) if sized else _equal_slots(len(slots), rooms)
    many = len(slots) > SLOTS_AT_MOST
    bar = Bar(
        slots=() if many else tuple(slots),
        counts=vgpu_counts(slots) if many else (),
        total_bytes=total or None,
        taken_bytes=taken,
        sized=sized,
        all_known=all_known,
    )
    return bar, tuple(left_out)


def vgpu_counts(slots: Iterable[Slot]) -> tuple[Count, ...]:
    """Return how many vGPUs are in each state, without slots of room."""
    numbers = counted(slot for slot in slots if slot.device is not None)
    return tuple([Count(state, count) for state, count in numbers.items()])


def _without_place(one: VgpuSlot) -> str:
    why = one.obstacle or "no room"
    if why == "no room" and one.slot.size_bytes:
        why = f"no room for {size(one.slot.size_bytes)}"
    return f"{one.slot.title} on {one.slot.detail}: defined, {why}"


def _room_slots(total: int, free: int, rooms: Sequence[Room]) -> list[Slot]:
    """Return the slots of what is free; they are equal if all that fits has one size."""
    largest = max((room.size_bytes or 0 for room in rooms), default=0)
    if not total:
        free = largest
    if free <= 0:
        return []
    if not largest:
        text = size(free)
        return [Slot("none", text, "", f"{text} free, and no type has room", None, free)]
    sizes = {room.size_bytes for room in rooms}
    number = free // largest
    fit = {room.available for room in rooms}
    if len(sizes) == 1 and number * largest == free and fit == {number} and number <= _EQUAL_SLOTS:
        label = f"room for {size(largest)}"
        return [Slot("room", size(largest), "", label, None, largest)] * number
    return [Slot("room", size(free), "", f"{size(free)} free", None, free)]


def _equal_slots(taken: int, rooms: Sequence[Room]) -> list[Slot]:
    """Return a slot for each vGPU that fits, where they have no sizes."""
    if not rooms:
        return []
    one = rooms[0]
    many = one.available or 0
    if len(rooms) == 1 and 0 < many <= _EQUAL_SLOTS - taken:
        return [Slot("room", one.types[0], "", f"room for {one.types[0]}")] * many
    return [Slot("room", "room", "", "room for more vGPUs")]
