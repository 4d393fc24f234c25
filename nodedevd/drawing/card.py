"""card: draws one card: its heading, its bar, what fits, and its virtual functions."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from nodedevd.drawing.bars import VGPUS_AT_ONCE
from nodedevd.drawing.model import Bar, Card, Count, Grid, Room, Slot
from nodedevd.drawing.pen import LINE, Pen, Run, glyph, number
from nodedevd.drawing.picture import functions_summary
from nodedevd.drawing.seen import STATES
from nodedevd.drawing.style import GLYPHS, MARKS
from nodedevd.drawing.words import plural, size
from nodedevd.steps import Steps

PADDING = 14
_BAR = 44
_CHIP = 104
_WIDEST_CHIP = 220
_CHIPS, _COMPACT_CHIPS = 32, 12
_SENTENCES = 6
_TYPES = 8
"""Names of types in a tooltip."""
_ABOVE = 4
"""Space above the heading of a part of a card."""
_STRIP = 24
_EQUAL_WIDTH = 160


def draw_card(pen: Pen, card: Card) -> Steps[None]:
    """Draw a card."""
    if card.bar is not None:
        yield from _draw_bar(pen, card.bar)
    for sentence in card.left_out[:_SENTENCES]:
        pen.lines(None, glyph("defined", sentence), "nd-warning")
    if len(card.left_out) > _SENTENCES:
        pen.lines(None, f"and {len(card.left_out) - _SENTENCES} more defined", "nd-dim")
    if card.problem is not None:
        _draw_problem(pen, card)
    if card.rooms:
        yield
        most = _COMPACT_CHIPS if pen.compact else _CHIPS
        _draw_rooms(pen, card.rooms[:most])
        if len(card.rooms) > most:
            more = f"and {len(card.rooms) - most} more: nodedevctl fits {card.device}"
            pen.lines(None, more, "nd-dim")
    if card.grid is not None:
        yield
        yield from _draw_grid(pen, card, card.grid)


def draw_heading(pen: Pen, title: str, address: str, place: str) -> None:
    """Draw the heading of a panel: title and address, and beside or below them the place."""
    first = Run(title, "nd-h").cut(pen.width)
    second, third = Run(address, "nd-m nd-dim"), Run(place, "nd-dim")
    pen.y += 14
    one_line = not pen.narrow and first.width + second.width + third.width + 30 <= pen.width
    beside = one_line or (first.width + second.width + 12 <= pen.width and not pen.narrow)
    if beside:
        pen.text(pen.left, pen.y, first, second)
    else:
        pen.text(pen.left, pen.y, first)
        if address:
            pen.y += LINE
            pen.text(pen.left, pen.y, second.cut(pen.width))
    if one_line:
        pen.text(pen.right, pen.y, Run(place, "nd-dim nd-e"))
    elif place:
        pen.y += 4
        pen.lines(None, place, "nd-dim")
        pen.y -= 4
    pen.y += 6


def describe(card: Card) -> str:
    """Return a card as a sentence, for screen readers."""
    words = [f"{card.title} {card.address}".rstrip(), card.place]
    if card.bar is not None:
        words.append(_bar_text(card.bar) or plural(len(card.bar.slots), "slot"))
    if card.problem is not None:
        words.append(card.problem)
    if card.grid is not None:
        words.append(f"virtual functions: {functions_summary(card)}")
    return "; ".join(words)


def _draw_problem(pen: Pen, card: Card) -> None:
    if card.is_full:
        pen.lines(Run("Full", "nd-b nd-warning"), card.problem or "", "nd-dim")
    elif card.bar is None and card.grid is None:
        pen.lines(None, card.problem or "", "nd-dim")
    else:
        heading = Run(f"{MARKS['warning']} No vGPU possible", "nd-b nd-warning")
        pen.lines(heading, card.problem or "", "nd-dim")


# -- the bar --------------------------------------------------------------------------------------


def _bar_text(bar: Bar) -> str:
    if not bar.sized:
        return ""
    taken = size(bar.taken_bytes)
    if bar.total_bytes is not None:
        least = "" if bar.all_known else "at least "
        return f"{least}{taken} of {size(bar.total_bytes)} taken"
    least = "nothing" if not bar.taken_bytes and bar.all_known else f"at least {taken}"
    return f"{least} taken; the card does not report how much it has"


def _draw_bar(pen: Pen, bar: Bar) -> Steps[None]:
    pen.y += 2
    pen.lines(Run("Memory" if bar.sized else "vGPUs", "nd-b"), _bar_text(bar), "nd-dim")
    pen.y += 3
    if bar.counts:
        _draw_strip(pen, bar.counts)
        return
    widths = _widths(pen.width, bar)
    torn = bar.sized and bar.total_bytes is None
    if bar.sized:
        _draw_frame(pen, sum(widths), torn)
    x = pen.left
    for number_, (slot, wide) in enumerate(zip(bar.slots, widths, strict=True)):
        if number_ % VGPUS_AT_ONCE == 0:
            yield
        _draw_slice(pen, slot, x, wide)
        x += wide
    pen.y += _BAR + 4


def _draw_frame(pen: Pen, wide: float, torn: bool) -> None:
    if not torn:
        pen.rectangle(pen.left, pen.y, wide, _BAR, "nd-frame")
        return
    right, teeth = pen.left + wide + 5, _BAR / 4
    edge = f"l-5 {number(teeth / 2)}l5 {number(teeth / 2)}" * 4
    path = f"M{number(right)} {number(pen.y)}{edge}H{number(pen.left)}v-{_BAR}z"
    pen.out.empty("path", **{"class": "nd-frame"}, d=path)


def _widths(room: float, bar: Bar) -> list[float]:
    """Return the width of each slot; those of unknown size are as wide as the median."""
    if not bar.sized:
        return [min(_EQUAL_WIDTH, room / len(bar.slots))] * len(bar.slots)
    known = [slot.size_bytes for slot in bar.slots if slot.size_bytes]
    usual = median(known) if known else 1
    sizes = [float(slot.size_bytes or usual) for slot in bar.slots]
    if bar.total_bytes is None:
        room -= 5  # for the torn edge
    whole = max(sum(sizes), float(bar.total_bytes or 0))
    return [one * room / whole for one in sizes]


def _draw_slice(pen: Pen, slot: Slot, x: float, wide: float) -> None:
    ink = f"nd-{slot.state}-ink"
    top = pen.y
    with pen.group("img", slot.label, slot.device):
        pen.box(slot.state, x + 1, top + 1.5, max(1.5, wide - 2), _BAR - 3)
        title = Run(glyph(slot.state, slot.title), f"nd-b {ink}")
        if slot.state in ("room", "none") and slot.device is None:
            title = Run(glyph(slot.state, slot.title), ink)
            if title.width <= wide - 8:
                pen.label(title, x, top + 26, wide)
            elif wide >= 14:
                pen.label(Run(GLYPHS[slot.state], ink), x, top + 26, wide)
        elif wide >= 64:
            room = wide - 14 - (14 if slot.mark else 0)
            pen.text(x + 8, top + 18, title.cut(room))
            pen.text(x + 8, top + 34, _detail(slot, f"nd-s {ink}", wide - 14))
        elif wide >= 30 and Run(slot.title, f"nd-s nd-b {ink}").width <= wide - 6:
            pen.label(Run(slot.title, f"nd-s nd-b {ink}"), x, top + 18, wide)
            pen.label(Run(GLYPHS[slot.state], f"nd-s {ink}"), x, top + 34, wide)
        elif wide >= 14:
            pen.label(Run(GLYPHS[slot.state], f"nd-s {ink}"), x, top + 26, wide)
        if slot.mark is not None and wide >= 64:
            pen.text(x + wide - 18, top + 17, Run(MARKS[slot.mark], f"nd-s {ink}"))


def _detail(slot: Slot, css: str, room: float) -> Run:
    """Return where a vGPU is and who has it open, or only the latter if that takes all room."""
    both = Run(f"{slot.detail} {slot.holder}".rstrip(), css)
    return both if both.width <= room else Run(slot.holder or slot.detail, css).cut(room)


def _draw_strip(pen: Pen, counts: Sequence[Count]) -> None:
    """Draw numbers of slots instead of the slots: a segment for each state."""
    total = sum(one.count for one in counts)
    if not total:
        return
    least = min(48.0, pen.width / max(1, len(counts)))
    spare = pen.width - least * len(counts)
    x = pen.left
    for one in counts:
        wide = least + spare * one.count / total
        text = f"{one.count:,} {STATES[one.state]}"
        with pen.group("img", text, None):
            pen.box(one.state, x + 1, pen.y, wide - 2, _STRIP)
            run = Run(glyph(one.state, text), f"nd-s nd-{one.state}-ink")
            if run.width > wide - 8:
                run = Run(glyph(one.state, f"{one.count:,}"), run.css)
            pen.label(run, x, pen.y + 16, wide)
        x += wide
    pen.y += _STRIP + 4


# -- what fits ------------------------------------------------------------------------------------


def _draw_rooms(pen: Pen, rooms: Sequence[Room]) -> None:
    pen.y += _ABOVE
    pen.lines(Run("Room", "nd-b"), "for one of these" if len(rooms) > 1 else "", "nd-dim")
    pen.y += 3
    texts = [(_room_text(room), "" if pen.compact else _room_types(room)) for room in rooms]
    runs = [
        (Run(title, "nd-b nd-room-ink"), Run(types, "nd-s nd-room-ink")) for title, types in texts
    ]
    needed = max(max(title.width, types.width) for title, types in runs) + 18
    columns = max(1, int(pen.width // min(max(_CHIP, needed), _WIDEST_CHIP)))
    wide = min(pen.width / columns, max(_CHIP, min(needed, _WIDEST_CHIP)))
    high = 38 if any(types.text for _, types in runs) else 22
    for start in range(0, len(rooms), columns):
        for place, room in enumerate(rooms[start : start + columns]):
            x = pen.left + place * wide
            with pen.group("img", _room_label(room), None):
                pen.rectangle(x + 1, pen.y, wide - 4, high, "nd-room")
                title, types = runs[start + place]
                pen.text(x + 7, pen.y + 15, title.cut(wide - 17))
                pen.text(x + 7, pen.y + 31, types.cut(wide - 17))
        pen.y += high + 4


def _room_count(room: Room) -> str:
    if room.available is None:
        return f"{room.sure}–?" if room.sure else "?"
    low = str(room.sure)
    return low if room.sure == room.available else f"{low}–{room.available}"


def _room_text(room: Room) -> str:
    return f"{_room_count(room)} × {size(room.size_bytes) if room.size_bytes else room.types[0]}"


def _room_types(room: Room) -> str:
    return " ".join(room.types) if room.size_bytes else ""


def _room_label(room: Room) -> str:
    sizes = f" of {size(room.size_bytes)}" if room.size_bytes else ""
    most = "an unknown number" if room.available is None else f"at most {room.available}"
    return f"room for {most}{sizes}, {room.sure} for sure: {', '.join(room.types[:_TYPES])}"


# -- virtual functions ----------------------------------------------------------------------------


def _draw_grid(pen: Pen, card: Card, grid: Grid) -> Steps[None]:
    pen.y += _ABOVE
    ends = f" ({grid.first} to {grid.last})" if pen.compact and grid.enabled > 1 else ""
    text = functions_summary(card).replace(" enabled", f" enabled{ends}", 1)
    pen.lines(Run("Virtual functions", "nd-b"), text, "nd-dim")
    pen.y += 3
    if not grid.enabled:
        return
    if not grid.slots:
        _draw_strip(pen, grid.counts)
        return
    columns = (16 if pen.narrow else 32) if pen.compact else (6 if pen.narrow else 16)
    wide, high = pen.width / columns, 16 if pen.compact else 24
    for number_, slot in enumerate(grid.slots):
        if number_ % VGPUS_AT_ONCE == 0:
            yield
        row, column = divmod(number_, columns)
        draw_cell(pen, slot, pen.left + column * wide, pen.y + row * (high + 2), wide, high)
    pen.y += (len(grid.slots) - 1) // columns * (high + 2) + high + 4


def draw_cell(pen: Pen, slot: Slot, x: float, y: float, wide: float, high: float) -> None:
    """Draw a cell: its glyph and, where there is room, its title."""
    ink = f"nd-{slot.state}-ink"
    with pen.group("img", slot.label, slot.device):
        pen.box(slot.state, x + 1, y, wide - 2, high)
        run = Run(glyph(slot.state, slot.title), f"nd-s nd-m {ink}")
        if slot.mark is not None and run.width + 22 > wide:
            run = Run(GLYPHS[slot.state] + slot.title, f"nd-s nd-m {ink}")
        if run.width > wide - 4 or high < 20:
            run = Run(GLYPHS[slot.state], f"nd-s {ink}")
        room = wide
        if slot.mark is not None and run.width + 14 <= wide and high >= 20:
            room -= 10
            pen.text(x + wide - 14, y + 12, Run(MARKS[slot.mark], f"nd-s {ink}"))
        pen.label(run, x, y + high / 2 + 4, room)
