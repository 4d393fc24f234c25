"""picture: a tree, its uses and findings as the small model of what is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set

from msgspec.structs import replace

from nodedevd.drawing.bars import vgpu_counts
from nodedevd.drawing.cards import (
    Vgpus,
    cards_in_steps,
    in_order,
    vgpus_in_steps,
)
from nodedevd.drawing.channel import SUBCHANNELS, matrix_of, subchannels_of
from nodedevd.drawing.elsewhere import groups_in_steps, is_elsewhere
from nodedevd.drawing.model import (
    Alike,
    Bar,
    Card,
    Group,
    Matrix,
    Note,
    Picture,
    Slot,
    SlotState,
)
from nodedevd.drawing.seen import STATES, Host, Seen, counted
from nodedevd.drawing.words import name_of, plural, shown
from nodedevd.kinds.ap_card import ApCard
from nodedevd.kinds.ap_matrix import ApMatrix
from nodedevd.kinds.ap_queue import ApQueue
from nodedevd.kinds.base import Capability
from nodedevd.kinds.css import Css
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.pci import Pci
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import ROOT
from nodedevd.questions.doctor.finding import Finding
from nodedevd.questions.vgpus import card_of
from nodedevd.steps import STEP_ITEMS, Steps, collected
from nodedevd.steps import groups as in_groups
from nodedevd.text import abbreviated

NOTES = 5
"""Findings that are drawn."""
_NOTE_LENGTH = 300
_WHOLE_CARDS = 16
"""With more cards, those that are alike are drawn as one line."""
_CARDS_AT_MOST = 40
_CELLS_AT_MOST = 1000
"""With more slices and cells, every grid is drawn by its numbers."""
_DEPTH = 16
_AP = (ApCard, ApQueue, ApMatrix)


def picture_in_steps(host: Host, card: str | None = None) -> Steps[Picture]:
    """Return what is drawn of a host, or of the card that a device belongs to, in steps.

    Raises NoSuchDevice.
    """
    snapshot = host.snapshot
    only = None if card is None else _card_with(snapshot, card)
    if only is not None:
        found = tuple([one for one in host.findings if only in (one.card, one.device)])
        host = replace(host, findings=found)
    seen = Seen(host)
    vgpus = yield from vgpus_in_steps(snapshot)
    names = vgpus.names if only is None else {only}
    sorted_cards = yield from in_order(snapshot, vgpus, names)
    cards = yield from cards_in_steps(host, seen, vgpus, sorted_cards)
    ap, css, others = yield from _sorted_out(snapshot, only)
    matrix = yield from matrix_of(host, seen, vgpus, ap)
    subchannels = yield from subchannels_of(seen, vgpus, css)
    groups = () if subchannels is None else (subchannels,)
    drawn = yield from _drawn(snapshot, vgpus, sorted_cards, ap, css, groups)
    if only is None and not vgpus.types and not vgpus.holding:
        groups = (*groups, *(yield from groups_in_steps(snapshot, seen, others, drawn)))
        drawn.update(_items(groups))
    rest = "" if only is not None else (yield from _rest(snapshot, drawn))
    whole, alike, more = _folded(cards)
    yield
    alike_findings = yield from _alike_findings(host.findings)
    notes = []
    for some in alike_findings[:NOTES]:
        notes.append((yield from _note(snapshot, some)))
    sums = _sums(host, vgpus, cards, matrix, groups) if only is None else ""
    if only is not None and not (cards or matrix or groups):
        sums = f"{_called(snapshot, only)} belongs to no card"
    yield
    return Picture(
        title=shown(host.title, 60) or "host",
        sums=sums,
        notes=tuple(notes),
        more_notes=sum(map(len, alike_findings[NOTES:])),
        states=tuple(_states(cards, matrix, groups)),
        cards=tuple(_within_cells(whole)),
        alike=tuple(alike),
        more_cards=more,
        matrix=matrix,
        groups=groups,
        rest=rest,
    )


def _card_with(snapshot: Snapshot, name: str) -> str:
    """Return the name of the card that a device belongs to. Raises NoSuchDevice."""
    device: Device | None = snapshot.lookup(name)
    assert device is not None
    mdev = device.capability(MdevChild)
    if mdev is not None:
        above = snapshot.get(mdev.parent) if mdev.parent is not None else None
        parents = [above] if above is not None else list(snapshot.by_sysname(mdev.parent_addr))
        return card_of(parents[0]) if parents else device.name
    found = device
    for _ in range(_DEPTH):
        if device is None or device.name == ROOT:
            break
        if device.capability(Pci) is not None:
            return card_of(device)
        device = None if device.parent is None else snapshot.get(device.parent)
    return found.name


def _sorted_out(
    snapshot: Snapshot, only: str | None
) -> Steps[tuple[list[Device], list[Device], list[Device]]]:
    """Return the AP devices, the subchannels, and the devices of elsewhere.

    AP devices belong together: of `only` one of them, all are returned.
    """
    ap: list[Device] = []
    css: list[Device] = []
    others: list[Device] = []
    whole = only is None or _is(snapshot.get(only), _AP)
    for group in snapshot.in_groups(STEP_ITEMS):
        for device in group:
            if _is(device, _AP):
                if whole:
                    ap.append(device)
            elif _is(device, (Css,)):
                if only in (None, device.name):
                    css.append(device)
            elif only is None and is_elsewhere(device):
                others.append(device)
        yield
    return ap, css, others


def _is(device: Device | None, kinds: tuple[type[Capability], ...]) -> bool:
    return device is not None and any(isinstance(one, kinds) for one in device.capabilities)


def _drawn(
    snapshot: Snapshot,
    vgpus: Vgpus,
    cards: Iterable[Device],
    ap: Sequence[Device],
    css: Sequence[Device],
    groups: Iterable[Group],
) -> Steps[set[str]]:
    """Return the names of the devices that the picture shows in some way."""
    drawn = {ROOT, *_items(groups)}
    drawn.update((yield from collected(device.name for device in ap)))
    holders = yield from collected(device.name for device in (*ap, *css))
    for card in cards:
        yield
        drawn.add(card.name)
        holders.append(card.name)
        pci = card.capability(Pci)
        functions = None if pci is None else pci.virtual_functions
        for address in () if functions is None else functions.addresses:
            drawn.update(one.name for one in snapshot.by_sysname(address))
        drawn.update(
            place.name for row in vgpus.types.get(card.name, ()) for place in row.functions
        )
    held = (device.name for name in holders for device in vgpus.holding.get(name, ()))
    drawn.update((yield from collected(held)))
    return drawn


def _items(groups: Iterable[Group]) -> Iterator[str]:
    return (item.device for group in groups for place in group.places for item in place.items)


# -- sums, notes, legend, rest --------------------------------------------------------------------


def _sums(
    host: Host,
    vgpus: Vgpus,
    cards: Sequence[Card],
    matrix: Matrix | None,
    groups: Sequence[Group],
) -> str:
    """Return the numbers of a host in one line."""
    parts = []
    with_vgpus = [card for card in cards if card.device in vgpus.types]
    if with_vgpus:
        parts.append(plural(len(with_vgpus), "card") + " for vGPUs")
    numbers: Counter[SlotState] = Counter()
    for card in cards:
        if card.bar is not None:
            numbers.update(counted(card.bar.slots))
            numbers.update({one.state: one.count for one in card.bar.counts})
            numbers["defined"] += len(card.left_out)
    there = sum(numbers[state] for state in ("open", "idle", "unknown", "broken"))
    if with_vgpus or there:
        known = numbers["open"] + numbers["idle"]
        used = f", {numbers['open']} open" if known else ", use unknown" if there else ""
        parts.append(plural(there, "vGPU") + used)
    if numbers["defined"]:
        parts.append(f"{numbers['defined']:,} defined only")
    functions = sum(card.grid.enabled for card in cards if card.grid is not None)
    if functions:
        parts.append(plural(functions, "virtual function"))
    if matrix is not None:
        parts.append(matrix.summary)
    for group in groups:
        total = sum(len(place.items) + place.left_out for place in group.places)
        if group.title in _COUNTED:
            parts.append(plural(total, *_COUNTED[group.title]))
    parts.append(plural(len(host.snapshot), "device"))
    return " · ".join(parts)


_COUNTED = {
    SUBCHANNELS: ("subchannel for guests", "subchannels for guests"),
    "Network interfaces": ("network interface",),
    "Disks": ("disk",),
}


def _alike_findings(findings: Sequence[Finding]) -> Steps[list[list[Finding]]]:
    """Return findings that say the same of several devices together."""
    found: dict[tuple[str, str], list[Finding]] = {}
    for some in in_groups(findings):
        for one in some:
            found.setdefault((one.severity, one.text), []).append(one)
        yield
    return list(found.values())


def _called(snapshot: Snapshot, name: str) -> str:
    """Return how a picture calls a device that may have gone."""
    device = snapshot.get(name)
    return shown(name) if device is None else name_of(device)


def _note(snapshot: Snapshot, some: Sequence[Finding]) -> Steps[Note]:
    called = (_called(snapshot, one.device) for one in some if one.device is not None)
    names = dict.fromkeys((yield from collected(called)))
    where = f"{abbreviated(list(names))}: " if names else ""
    return Note(some[0].severity, where + shown(some[0].text, _NOTE_LENGTH))


def _states(
    cards: Iterable[Card], matrix: Matrix | None, groups: Iterable[Group]
) -> Iterator[SlotState]:
    """Yield the states that occur, in the order of STATES."""
    found: set[SlotState] = set()
    for card in cards:
        found.update(slot.state for slot in _slots(card.bar))
        found.update(one.state for one in (() if card.bar is None else card.bar.counts))
        found.update(one.state for one in (() if card.grid is None else card.grid.counts))
    if matrix is not None:
        found.update(slot.state for row in matrix.rows for slot in row.slots if slot is not None)
        found.update(slot.state for slot in matrix.mdevs)
        found.update(one.state for one in matrix.counts)
    for group in groups:
        for place in group.places:
            found.update(item.state for item in place.items if item.state is not None)
    return (state for state in STATES if state in found)


def _slots(bar: Bar | None) -> Sequence[Slot]:
    return () if bar is None else bar.slots


def _rest(snapshot: Snapshot, drawn: Set[str]) -> Steps[str]:
    """Return how many devices of which kinds are not drawn."""
    left: Counter[str] = Counter()
    for group in snapshot.in_groups(STEP_ITEMS):
        left.update((*one.types, "other")[0] for one in group if one.name not in drawn)
        yield
    return ", ".join([f"{count:,} {kind}" for kind, count in left.most_common()])


# -- less of the same -----------------------------------------------------------------------------


def _folded(cards: Sequence[Card]) -> tuple[list[Card], list[Alike], int]:
    """Return the cards that are drawn, lines for those that are alike, and how many are left."""
    if len(cards) <= _WHOLE_CARDS:
        return list(cards), [], 0
    whole: list[Card] = []
    dull: dict[tuple[str, str], list[Card]] = {}
    for card in cards:
        if _is_dull(card):
            dull.setdefault((card.title, _summary(card)), []).append(card)
        else:
            whole.append(card)
    alike = []
    for (title, summary), some in dull.items():
        whole.append(some[0])  # one of them is drawn, to show what the others look like
        if len(some) > 1:
            first, last = some[1].address or some[1].device, some[-1].address or some[-1].device
            alike.append(Alike(title, len(some) - 1, first, last, summary))
    order = {card.device: number for number, card in enumerate(cards)}
    whole.sort(key=lambda card: order[card.device])
    more = max(0, len(whole) - _CARDS_AT_MOST) + sum(one.count for one in alike[_CARDS_AT_MOST:])
    return whole[:_CARDS_AT_MOST], alike[:_CARDS_AT_MOST], more


def _is_dull(card: Card) -> bool:
    taken = {"open", "idle", "unknown", "defined", "broken"}
    slots = [slot.state for slot in _slots(card.bar)]
    counts = [] if card.bar is None else [one.state for one in card.bar.counts]
    return card.mark is None and not card.left_out and taken.isdisjoint([*slots, *counts])


def _summary(card: Card) -> str:
    if card.problem is not None:
        return card.problem
    if card.grid is None:
        return "no vGPU"
    return functions_summary(card)


def functions_summary(card: Card) -> str:
    """Return the numbers of a card's virtual functions, in words."""
    grid = card.grid
    if grid is None:
        return ""
    of = (
        f"{grid.enabled} enabled"
        if grid.maximum is None
        else f"{grid.enabled} of {grid.maximum} enabled"
    )
    takes = card.bar is not None or bool(card.rooms)
    words = {
        "room": "can take one",
        "none": "cannot" if takes else "without driver",
        "host": "with a host driver",
        "unknown": "with unknown use",
        "idle": "not open",
        "defined": "defined only",
    }
    numbers = [f"{one.count} {words.get(one.state, STATES[one.state])}" for one in grid.counts]
    return of + (f": {', '.join(numbers)}" if numbers else "")


def _within_cells(cards: Sequence[Card]) -> Iterator[Card]:
    """Leave out the cells of every grid, then of every bar, if there are too many in all."""
    grids = sum(len(card.grid.slots) for card in cards if card.grid is not None)
    bars = sum(len(_slots(card.bar)) for card in cards)
    for card in cards:
        if grids + bars > _CELLS_AT_MOST and card.grid is not None:
            card = replace(card, grid=replace(card.grid, slots=()))
        if bars > _CELLS_AT_MOST and card.bar is not None and card.bar.slots:
            card = replace(
                card, bar=replace(card.bar, slots=(), counts=vgpu_counts(card.bar.slots))
            )
        yield card
