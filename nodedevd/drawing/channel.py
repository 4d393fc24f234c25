"""channel: AP queues and subchannels of IBM Z, and the mdevs that hand them to guests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from nodedevd.drawing.bars import VGPUS_AT_ONCE
from nodedevd.drawing.cards import Vgpus
from nodedevd.drawing.model import Count, Group, Item, Matrix, MatrixRow, Place, Slot, SlotState
from nodedevd.drawing.seen import STATES, Host, Seen, strongest, worst
from nodedevd.drawing.words import plural, short_uuid, shown
from nodedevd.kinds.ap_card import ApCard
from nodedevd.kinds.ap_matrix import ApMatrix
from nodedevd.kinds.ap_queue import ApQueue
from nodedevd.kinds.css import Css
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.model.device import Device
from nodedevd.steps import Steps, groups

SUBCHANNELS = "Subchannels for guests"
ITEMS_AT_MOST = 96
"""Devices of a group that are drawn."""
_MDEVS_AT_MOST = 24
_QUEUES_SHOWN = 6
_CELLS_AT_MOST = 1024
_VFIO_AP = "vfio_ap"


def matrix_of(
    host: Host, seen: Seen, vgpus: Vgpus, devices: Sequence[Device]
) -> Steps[Matrix | None]:
    """Return the AP matrix of a host; None without AP queues and mdevs of them.

    `devices` are those with an AP capability.
    """
    cards: dict[int, ApCard] = {}
    queues: dict[tuple[int, int], Device] = {}
    parent = None
    for some in groups(devices):
        yield
        for device in some:
            card, queue = device.capability(ApCard), device.capability(ApQueue)
            if card is not None:
                cards[card.adapter] = card
            if queue is not None:
                queues[queue.adapter, queue.domain] = device
            if device.capability(ApMatrix) is not None:
                parent = device
    held = [] if parent is None else vgpus.holding.get(parent.name, [])
    if not queues and not held:
        return None
    mdevs, owners = yield from _mdevs(held, seen)
    domains = sorted({domain for _, domain in queues})
    rows = []
    numbers: Counter[SlotState] = Counter()
    for adapter in sorted({adapter for adapter, _ in queues}):
        found = cards.get(adapter)
        slots: list[Slot | None] = []
        for part in groups(domains, VGPUS_AT_ONCE):
            yield
            cells = [
                _queue(queues.get((adapter, domain)), (adapter, domain), owners, seen)
                for domain in part
            ]
            numbers.update(slot.state for slot in cells if slot is not None)
            slots += cells
        kind = shown(found.card_type, 16) if found is not None and found.card_type else ""
        rows.append(MatrixRow(f"card {adapter:02x}", kind, tuple(slots)))
    for_guests = numbers.total() - numbers["host"] - numbers["none"]
    summary = " · ".join(
        [
            plural(len(rows), "adapter"),
            f"{plural(len(queues), 'AP queue')}, {for_guests} for guests",
            plural(len(held), "mdev"),
        ]
    )
    many = len(rows) * len(domains) > _CELLS_AT_MOST
    counts = [Count(state, numbers[state]) for state in STATES if numbers[state]]
    return Matrix(
        summary=summary,
        domains=() if many else tuple([f"{domain:04x}" for domain in domains]),
        rows=() if many else tuple(rows),
        counts=tuple(counts) if many else (),
        mdevs=tuple(mdevs[:_MDEVS_AT_MOST]),
        left_out=max(0, len(mdevs) - _MDEVS_AT_MOST),
    )


def _mdevs(
    held: Iterable[Device], seen: Seen
) -> Steps[tuple[list[Slot], dict[tuple[int, int], list[Slot]]]]:
    """Return the mdevs of the matrix, M1, M2, …, and those that have each queue."""
    mdevs: list[Slot] = []
    owners: dict[tuple[int, int], list[Slot]] = {}
    for number, device in enumerate(sorted(held, key=lambda one: one.name), 1):
        if number % VGPUS_AT_ONCE == 0:
            yield
        mdev = device.capability(MdevChild)
        if mdev is None:
            continue
        state, holder = seen.vgpu(device)
        names = " ".join(mdev.queues[:_QUEUES_SHOWN]) or "no queues"
        if len(mdev.queues) > _QUEUES_SHOWN:
            names += f" and {len(mdev.queues) - _QUEUES_SHOWN} more"
        by = f" by {holder}" if holder else ""
        detail = f"{short_uuid(mdev.uuid)} · {names} · {STATES[state]}{by}"
        label = f"M{number}: mdev {short_uuid(mdev.uuid)}, {names}, {STATES[state]}{by}"
        slot = Slot(
            state, f"M{number}", detail, label, device.name, None, seen.mark(device.name), holder
        )
        mdevs.append(slot)
        for some in groups(mdev.queues):
            for queue in some:
                adapter, _, domain = queue.partition(".")
                owners.setdefault((int(adapter, 16), int(domain, 16)), []).append(slot)
            yield
    return mdevs, owners


def _queue(
    device: Device | None,
    queue: tuple[int, int],
    owners: Mapping[tuple[int, int], list[Slot]],
    seen: Seen,
) -> Slot | None:
    if device is None:
        return None
    name = f"queue {queue[0]:02x}.{queue[1]:04x}"
    having = owners.get(queue, ())
    state = strongest(slot.state for slot in having)
    title = " ".join([slot.title for slot in having])
    if state is not None:
        label = f"{name}, of {title}, {STATES[state]}"
    elif device.driver == _VFIO_AP:
        state, label = "room", f"{name}, free for guests"
    elif device.driver is None:
        state, label = "none", f"{name}, no driver"
    else:
        state, label = "host", f"{name}, of the host, {shown(device.driver, 24)}"
    return Slot(state, title, "", label, device.name, mark=seen.mark(device.name))


def subchannels_of(seen: Seen, vgpus: Vgpus, devices: Iterable[Device]) -> Steps[Group | None]:
    """Return the subchannels that mdevs can be made of; None without any.

    `devices` are those with the capability of a subchannel.
    """
    items = []
    for number, device in enumerate(devices):
        if number % VGPUS_AT_ONCE == 0:
            yield
        css = device.capability(Css)
        held = vgpus.holding.get(device.name, [])
        if css is None or (device.capability(MdevParent) is None and not held):
            continue
        states = [seen.vgpu(one) for one in held]
        state = strongest(one for one, _ in states)
        state = state or ("room" if device.name in vgpus.open_places else "none")
        holder = next((one for _, one in states if one), "")
        behind = f"device {shown(css.channel_dev_addr, 16)}" if css.channel_dev_addr else ""
        words = [f"subchannel {shown(css.address or device.name)}", behind, STATES[state]]
        words += [f"by {holder}"] if holder else []
        mark = worst([seen.mark(device.name), *(seen.mark(one.name) for one in held)])
        title = shown(css.address or device.name, 24)
        label = ", ".join([word for word in words if word])
        items.append(Item(device.name, title, holder or behind, label, state, mark))
    if not items:
        return None
    place = Place("", tuple(items[:ITEMS_AT_MOST]), max(0, len(items) - ITEMS_AT_MOST))
    taken = sum(item.state in ("open", "idle", "unknown", "broken") for item in items)
    summary = f"{plural(len(items), 'subchannel')}, {taken} taken"
    return Group(SUBCHANNELS, summary, (place,))
