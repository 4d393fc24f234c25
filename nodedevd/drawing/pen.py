"""pen: writes the shapes and texts of a picture, and knows where it is on the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from nodedevd.drawing.measure import Style, cut, width, wrapped
from nodedevd.drawing.model import SlotState
from nodedevd.drawing.style import GLYPHS, HATCH
from nodedevd.xml_writer import Out

SIZES: Final = {"nd-s": 11.0, "nd-h": 15.0, "nd-t": 18.0}
LINE: Final = 17
"""Distance of lines of text."""
_RADIUS = 3
_GAP = 3
"""Between two runs, besides a blank."""


class Run(NamedTuple):
    """A piece of a line of text, and its classes."""

    text: str
    css: str = ""

    @property
    def size(self) -> float:
        """Its font size in pixels."""
        return next((SIZES[one] for one in self.css.split(" ") if one in SIZES), 12.0)

    @property
    def style(self) -> Style:
        """Its style, as far as it changes the width."""
        classes = self.css.split(" ")
        if "nd-m" in classes:
            return "mono"
        return "bold" if not {"nd-b", "nd-h", "nd-t"}.isdisjoint(classes) else "plain"

    @property
    def width(self) -> float:
        """Its width in pixels, by the table of `measure`."""
        return width(self.text, self.size, self.style)

    def cut(self, room: float) -> Run:
        """Return it no wider than `room`."""
        return Run(cut(self.text, room, self.size, self.style), self.css)


class Pen:
    """Writes a picture downwards.

    Attributes:
        y: where the next thing begins.
        left, right: the margins.
        narrow: whether the picture is narrow, so that headings take several lines.
        compact: whether there are many cards, which are drawn smaller.
    """

    def __init__(self, width: float, margin: float, *, compact: bool) -> None:
        self.out = Out()
        self.y = margin
        self.left = margin
        self.right = width - margin
        self.narrow = width < 640
        self.compact = compact

    @property
    def width(self) -> float:
        """Width between the margins."""
        return self.right - self.left

    @contextmanager
    def inside(self, padding: float) -> Iterator[None]:
        """Write with more margin, and leave the same space above and below."""
        self.left += padding
        self.right -= padding
        self.y += padding
        yield
        self.left -= padding
        self.right += padding
        self.y += padding

    def group(self, role: str, label: str, device: str | None) -> Out:
        """Begin a group that is one thing to a screen reader; use it in a `with` statement."""
        attributes = {"role": role}
        if role == "group":
            attributes["aria-label"] = label
        if device is not None:
            attributes["data-device"] = device
        group = self.out.begin("g", **attributes)
        if role != "group":
            self.out.text("title", label)
        return group

    def rectangle(
        self, x: float, y: float, wide: float, high: float, css: str, radius: float = _RADIUS
    ) -> None:
        """Write a rectangle."""
        rounded = {} if not radius else {"rx": number(radius)}
        size = {"width": number(max(0.0, wide)), "height": number(high)}
        place = {"class": css, "x": number(x), "y": number(y)}
        self.out.empty("rect", **place, **size, **rounded)

    def box(self, state: SlotState, x: float, y: float, wide: float, high: float) -> None:
        """Write the rectangle of a state."""
        self.rectangle(x + 0.5, y + 0.5, wide - 1, high - 1, f"nd-{state}")

    def text(self, x: float, y: float, *runs: Run) -> None:
        """Write a line of text, its baseline at `y`."""
        place = {"x": number(x), "y": number(y)}
        runs = tuple(run for run in runs if run.text)
        if not runs:
            return
        if len(runs) == 1:
            css = {"class": runs[0].css} if runs[0].css else {}
            self.out.text("text", runs[0].text, **css, **place)
            return
        with self.out.begin("text", **place):
            for count, run in enumerate(runs):
                css = {"class": run.css} if run.css else {}
                gap = {"dx": str(_GAP)} if count else {}
                self.out.text("tspan", run.text, **css, **gap)

    def lines(self, first: Run | None, text: str, css: str = "", indent: float = 0) -> None:
        """Write a sentence in as many lines as it needs, behind a run in the first one."""
        run = Run("", css)
        before = 0.0 if first is None else first.width + _GAP + width(" ", run.size)
        room = self.width - indent
        for count, line in enumerate(wrapped(text, room, run.size, max(0.0, room - before))):
            self.y += LINE
            runs = [Run(line, css)] if first is None or count else [first, Run(line, css)]
            self.text(self.left + indent, self.y - 4, *runs)

    def label(self, run: Run, x: float, y: float, room: float) -> None:
        """Write a run in the middle of `room` pixels, cut if it is too long."""
        run = run.cut(room)
        self.text(x + room / 2, y, Run(run.text, f"{run.css} nd-c".strip()))


def hatch(out: Out) -> None:
    """Write the pattern of what is only defined."""
    size = {"width": "7", "height": "7"}
    with (
        out.begin("defs"),
        out.begin("pattern", id=HATCH, patternUnits="userSpaceOnUse", **size),
    ):
        out.empty("rect", **{"class": "nd-base"}, **size)
        out.empty("path", **{"class": "nd-hatch"}, d="M-1 1l2-2M0 7l7-7M6 8l2-2")


def number(value: float) -> str:
    """Return a coordinate, as short as it can be."""
    return f"{round(value, 1):g}"


def glyph(state: SlotState, text: str) -> str:
    """Return a text behind the glyph of a state."""
    return f"{GLYPHS[state]} {text}".rstrip()
