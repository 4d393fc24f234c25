"""head: the title of a picture, findings, the legend; and at its end what is not drawn."""

from __future__ import annotations

from nodedevd.drawing.model import Picture
from nodedevd.drawing.pen import LINE, Pen, Run
from nodedevd.drawing.seen import STATES
from nodedevd.drawing.style import GLYPHS, MARKS
from nodedevd.drawing.words import plural

_SAMPLE = 16


def draw_head(pen: Pen, picture: Picture) -> None:
    """Draw the name of the host, and its numbers beside or below it."""
    title = Run(picture.title, "nd-t").cut(pen.width)
    sums = Run(picture.sums, "nd-dim")
    pen.y += 17
    pen.text(pen.left, pen.y - 1, title)
    if sums.text and not pen.narrow and title.width + sums.width + 24 <= pen.width:
        pen.text(pen.right, pen.y - 1, Run(sums.text, "nd-dim nd-e"))
    elif sums.text:
        pen.y += 4
        pen.lines(None, picture.sums, "nd-dim")
    pen.y += 10


def draw_notes(pen: Pen, picture: Picture) -> None:
    """Draw the findings, each with its mark."""
    if not picture.notes:
        return
    top, out = pen.y, pen.out
    inner = Pen(pen.right - pen.left, 0, compact=pen.compact)  # first, to know how high they are
    _notes(inner, picture)
    worst = picture.notes[0].severity
    with pen.group("group", "findings", None):
        pen.rectangle(pen.left, top, pen.width, inner.y, "nd-notes", 0)
        pen.rectangle(pen.left, top, 4, inner.y, f"nd-{worst}", 0)
        _notes(pen, picture)
    assert pen.out is out
    pen.y += 10


def _notes(pen: Pen, picture: Picture) -> None:
    pen.y += 6
    pen.left += 12
    pen.right -= 10
    for note in picture.notes:
        pen.text(pen.left, pen.y + LINE - 4, Run(MARKS[note.severity], f"nd-{note.severity}"))
        pen.lines(None, note.text, indent=18)
    if picture.more_notes:
        pen.lines(None, f"and {picture.more_notes} more: nodedevctl doctor", "nd-dim", indent=18)
    pen.left -= 12
    pen.right += 10
    pen.y += 6


def draw_legend(pen: Pen, picture: Picture) -> None:
    """Draw the states that occur, with their names."""
    if not picture.states:
        return
    x = pen.left
    pen.y += 2
    for state in picture.states:
        words = Run(STATES[state], "nd-dim")
        if x > pen.left and x + _SAMPLE + 6 + words.width > pen.right:
            x = pen.left
            pen.y += _SAMPLE + 6
        pen.box(state, x, pen.y, _SAMPLE, _SAMPLE)
        pen.label(Run(GLYPHS[state], f"nd-s nd-{state}-ink"), x, pen.y + 12, _SAMPLE)
        pen.text(x + _SAMPLE + 6, pen.y + 12, words)
        x += _SAMPLE + 6 + words.width + 18
    pen.y += _SAMPLE + 10


def draw_rest(pen: Pen, picture: Picture) -> None:
    """Draw what was left out."""
    for one in picture.alike:
        ends = one.first if one.count == 1 else f"{one.first} to {one.last}"
        pen.lines(
            Run(f"{one.count:,} more {one.title}", "nd-b"), f"{ends} · {one.summary}", "nd-dim"
        )
    if picture.more_cards:
        more = plural(picture.more_cards, "more card")
        pen.lines(None, f"{more} not drawn: nodedevctl draw --card DEVICE draws one", "nd-dim")
    if picture.rest:
        pen.lines(None, f"Not drawn: {picture.rest}. nodedevctl tree lists them.", "nd-dim")
