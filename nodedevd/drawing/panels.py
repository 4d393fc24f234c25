"""panels: draws the AP matrix, and groups of devices: subchannels, interfaces, disks."""

from __future__ import annotations

from nodedevd.drawing.card import draw_cell
from nodedevd.drawing.model import Group, Item, Matrix
from nodedevd.drawing.pen import LINE, Pen, Run, glyph
from nodedevd.drawing.style import MARKS
from nodedevd.steps import Steps

_CELL = 64
_ROW = 24
_ITEM = 176
_NARROW_ITEM = 150
_HIGH = 40


def draw_matrix(pen: Pen, matrix: Matrix) -> Steps[None]:
    """Draw adapters as rows and domains as columns, in several blocks if there are many."""
    pen.y += 4
    names = [Run(f"{row.title} {row.card_type}".rstrip(), "nd-b") for row in matrix.rows]
    label = min(max((run.width for run in names), default=0) + 16, pen.width / 3)
    columns = max(1, int((pen.width - label) // (_CELL * (0.75 if pen.narrow else 1))))
    wide = min((pen.width - label) / columns, _CELL * 1.5)
    for start in range(0, len(matrix.domains), columns):
        pen.y += LINE
        pen.text(pen.left, pen.y - 4, Run("domain", "nd-s nd-dim"))
        for place, domain in enumerate(matrix.domains[start : start + columns]):
            css = "nd-s nd-m nd-dim"
            pen.label(Run(domain, css), pen.left + label + place * wide, pen.y - 4, wide)
        for row, name in zip(matrix.rows, names, strict=True):
            yield
            pen.text(pen.left, pen.y + 16, name.cut(label - 6))
            for place, slot in enumerate(row.slots[start : start + columns]):
                if slot is not None:
                    draw_cell(pen, slot, pen.left + label + place * wide, pen.y, wide, _ROW)
            pen.y += _ROW + 2
        pen.y += 4
    for mdev in matrix.mdevs:
        yield
        with pen.group("img", mdev.label, mdev.device):
            mark = "" if mdev.mark is None else f" {MARKS[mdev.mark]}"
            pen.lines(Run(mdev.title, "nd-b"), glyph(mdev.state, mdev.detail) + mark)
    if matrix.left_out:
        pen.lines(None, f"and {matrix.left_out} more mdevs", "nd-dim")


def draw_group(pen: Pen, group: Group) -> Steps[None]:
    """Draw the devices of a group, by their place."""
    pen.y += 4
    for place in group.places:
        if place.title:
            pen.y += 2
            pen.lines(None, place.title, "nd-dim")
            pen.y += 3
        columns = max(1, int(pen.width // (_NARROW_ITEM if pen.narrow else _ITEM)))
        wide = pen.width / columns
        for start in range(0, len(place.items), columns):
            yield
            for number, item in enumerate(place.items[start : start + columns]):
                _draw_item(pen, item, pen.left + number * wide, wide)
            pen.y += _HIGH + 4
        if place.left_out:
            pen.lines(None, f"and {place.left_out:,} more", "nd-dim")


def _draw_item(pen: Pen, item: Item, x: float, wide: float) -> None:
    room = wide - 18 - (14 if item.mark else 0)
    title, ink = item.title, ""
    with pen.group("img", item.label, item.device):
        if item.state is None:
            pen.rectangle(x + 1, pen.y + 0.5, wide - 4, _HIGH - 1, "nd-frame")
        else:
            title, ink = glyph(item.state, title), f"nd-{item.state}-ink"
            pen.box(item.state, x + 1, pen.y, wide - 4, _HIGH)
        pen.text(x + 9, pen.y + 17, Run(title, f"nd-b {ink}".strip()).cut(room))
        pen.text(x + 9, pen.y + 32, Run(item.detail, f"nd-s {ink or 'nd-dim'}").cut(wide - 18))
        if item.mark is not None:
            mark = ink or f"nd-{item.mark}"
            pen.text(x + wide - 20, pen.y + 17, Run(MARKS[item.mark], f"nd-s {mark}"))
