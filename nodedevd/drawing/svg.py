"""svg: the text of a picture, from the model of what is drawn."""

from __future__ import annotations

from nodedevd.drawing.card import PADDING, describe, draw_card, draw_heading
from nodedevd.drawing.head import draw_head, draw_legend, draw_notes, draw_rest
from nodedevd.drawing.model import Picture
from nodedevd.drawing.panels import draw_group, draw_matrix
from nodedevd.drawing.pen import Pen, hatch, number
from nodedevd.drawing.request import WIDTH, DrawRequest
from nodedevd.drawing.style import stylesheet
from nodedevd.steps import Steps
from nodedevd.xml_writer import Out

_NAMESPACE = "http://www.w3.org/2000/svg"
_MARGIN = 16
_GAP = 12
_COMPACT_FROM = 5
"""Cards from which on they are drawn smaller."""
_TITLE, _DESC = "nd-title", "nd-desc"


def svg_in_steps(picture: Picture, request: DrawRequest) -> Steps[str]:
    """Return the text of an SVG document, in steps: equal for an equal picture and request."""
    width = request.width or WIDTH
    pen = Pen(width, _MARGIN, compact=len(picture.cards) >= _COMPACT_FROM)
    draw_head(pen, picture)
    draw_notes(pen, picture)
    draw_legend(pen, picture)
    yield
    for card in picture.cards:
        yield
        with pen.group("group", describe(card), card.device):
            heading = (card.title, card.address, card.place)
            yield from _panel(pen, heading, draw_card(pen, card))
    if picture.matrix is not None:
        heading = ("AP matrix", "", picture.matrix.summary)
        with pen.group("group", f"AP matrix, {picture.matrix.summary}", None):
            yield from _panel(pen, heading, draw_matrix(pen, picture.matrix))
    for group in picture.groups:
        yield
        with pen.group("group", f"{group.title}, {group.summary}", None):
            heading = (group.title, "", group.summary)
            yield from _panel(pen, heading, draw_group(pen, group))
    draw_rest(pen, picture)
    yield
    return _document(picture, request, width, pen.y + _MARGIN, pen.out)


def _panel(pen: Pen, heading: tuple[str, str, str], drawing: Steps[None]) -> Steps[None]:
    """Draw a panel around what is drawn inside it, once it is known how high that is."""
    out, top = pen.out, pen.y
    pen.out = Out()
    with pen.inside(PADDING):
        draw_heading(pen, *heading)
        yield from drawing
        pen.y -= 4
    inner, pen.out = pen.out, out
    css = "nd-panel"
    pen.rectangle(pen.left + 0.5, top + 0.5, pen.width - 1, pen.y - top - 1, css, 6)
    pen.out.append(inner)
    pen.y += _GAP


def _document(
    picture: Picture, request: DrawRequest, width: float, height: float, body: Out
) -> str:
    out = Out()
    theme = request.theme or "auto"
    size = {"width": number(width), "height": number(height)}
    view = f"0 0 {size['width']} {size['height']}"
    css = "nd" if theme == "auto" else f"nd nd-{theme}"
    names = {"aria-labelledby": _TITLE, "aria-describedby": _DESC}
    with out.begin(
        "svg", xmlns=_NAMESPACE, **{"class": css}, role="group", **names, viewBox=view, **size
    ):
        out.text("title", picture.title, id=_TITLE)
        sentences = [picture.sums, *map(describe, picture.cards)]
        sentences += [f"{one.count} more {one.title}" for one in picture.alike]
        out.text("desc", ". ".join([one for one in sentences if one]), id=_DESC)
        if not request.embedded:
            out.text("style", stylesheet(theme))
        hatch(out)
        out.empty("rect", **{"class": "nd-page"}, **size)
        out.append(body)
    return str(out)
