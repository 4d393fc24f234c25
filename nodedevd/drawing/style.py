"""style: the colours of a picture, and its style sheet.

Each state has a glyph, and each declaration of a colour comes twice: programs that know no custom
properties, such as librsvg, take the first one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from nodedevd.drawing.model import SlotState
from nodedevd.drawing.request import Theme
from nodedevd.questions.doctor.finding import Severity

GLYPHS: Final[Mapping[SlotState, str]] = {
    "open": "▶",
    "idle": "‖",
    "unknown": "?",
    "defined": "◇",
    "broken": "!",
    "room": "+",
    "none": "–",
    "host": "h",
}
MARKS: Final[Mapping[Severity, str]] = {"problem": "✖", "warning": "▲", "note": "●"}

HATCH: Final = "nd-hatch"
"""id of the pattern of what is only defined"""


class Paint(NamedTuple):
    """The colours of a state."""

    fill: str
    ink: str
    """of text and glyphs on it"""
    edge: str


PAINTS: Final[Mapping[SlotState, tuple[Paint, Paint]]] = {
    "open": (Paint("#0059b8", "#ffffff", "#0059b8"), Paint("#73bcf7", "#04223f", "#73bcf7")),
    "idle": (Paint("#9ccbf2", "#002f5d", "#004a99"), Paint("#1d5a93", "#ffffff", "#73bcf7")),
    "unknown": (Paint("#c8cbcf", "#2b2d30", "#5b5f64"), Paint("#4d5157", "#ffffff", "#b4b7ba")),
    "defined": (Paint("#fff7e5", "#5c3700", "#8a5300"), Paint("#332a14", "#fbdf9d", "#f4b942")),
    "broken": (Paint("#b1380b", "#ffffff", "#b1380b"), Paint("#ff9a75", "#3a0d00", "#ff9a75")),
    "room": (Paint("#e8f6e9", "#1b4d20", "#2c7a33"), Paint("#163a22", "#c9eec5", "#7cc674")),
    "none": (Paint("#ffffff", "#5b5f64", "#808387"), Paint("#212427", "#b4b7ba", "#8a8d90")),
    "host": (Paint("#f3e3f0", "#3b2a6b", "#3b2a6b"), Paint("#453b6b", "#e4defa", "#d8cff5")),
}
"""For each state the colours on light and on dark."""

PLAIN: Final[Mapping[str, tuple[str, str]]] = {
    "page": ("#ffffff", "#1b1d21"),
    "panel": ("#ffffff", "#212427"),
    "line": ("#c7c9cc", "#4a4e52"),
    "ink": ("#151515", "#f0f0f0"),
    "dim": ("#5b5f64", "#b4b7ba"),
    "problem": ("#b1380b", "#ff9a75"),
    "warning": ("#8a5300", "#f4b942"),
    "note": ("#5b5f64", "#b4b7ba"),
    "notes": ("#fff7e5", "#332a14"),
}
"""The other colours, on light and on dark."""

_FONT = "Red Hat Text, system-ui, Liberation Sans, DejaVu Sans, Arial, sans-serif"
_MONO = "Liberation Mono, DejaVu Sans Mono, monospace"


def stylesheet(theme: Theme) -> str:
    """Return the rules of a picture; they concern only what is in an element `svg.nd`.

    With `auto`, the colours are light or dark as the reader prefers, unless the element also has
    the class `nd-light` or `nd-dark`.
    """
    light, dark = _variables(0), _variables(1)
    own = 1 if theme == "dark" else 0
    lines = [f"svg.nd{{{dark if own else light}}}"]
    if theme == "auto":
        lines.append(f"@media (prefers-color-scheme:dark){{svg.nd:not(.nd-light){{{dark}}}}}")
        lines.append(f"svg.nd.nd-dark{{{dark}}}")
    lines += [
        f".nd text{{font:12px {_FONT};{_fill('ink', own)}}}",
        ".nd .nd-s{font-size:11px}",
        f".nd .nd-m{{font-family:{_MONO}}}",
        ".nd .nd-b{font-weight:bold}",
        ".nd .nd-h{font-weight:bold;font-size:15px}",
        ".nd .nd-t{font-weight:bold;font-size:18px}",
        ".nd .nd-e{text-anchor:end}",
        ".nd .nd-c{text-anchor:middle}",
        f".nd .nd-page{{{_fill('page', own)}}}",
        f".nd .nd-panel{{{_fill('panel', own)};{_stroke('line', own)}}}",
        f".nd .nd-frame{{fill:none;{_stroke('line', own)}}}",
        f".nd .nd-notes{{{_fill('notes', own)}}}",
    ]
    lines += [
        f".nd .nd-{one}{{{_fill(one, own)}}}" for one in ("dim", "problem", "warning", "note")
    ]
    for state in PAINTS:
        fill = _fill(state, own)
        if state == "defined":
            lines.append(f".nd .nd-base{{{fill}}}")
            fill = f"fill:url(#{HATCH})"
        more = {"defined": ";stroke-dasharray:4 2", "broken": ";stroke-width:2"}.get(state, "")
        lines.append(f".nd .nd-{state}{{{fill};{_stroke(f'{state}-edge', own)}{more}}}")
        lines.append(f".nd .nd-{state}-ink{{{_fill(f'{state}-ink', own)}}}")
    lines.append(f".nd .nd-{HATCH[3:]}{{fill:none;{_stroke('defined-edge', own)};opacity:.25}}")
    return "\n".join(lines)


def _colours(theme: int) -> dict[str, str]:
    found = {name: pair[theme] for name, pair in PLAIN.items()}
    for state, paints in PAINTS.items():
        paint = paints[theme]
        found |= {state: paint.fill, f"{state}-ink": paint.ink, f"{state}-edge": paint.edge}
    return found


def _variables(theme: int) -> str:
    return ";".join([f"--nd-{name}:{colour}" for name, colour in _colours(theme).items()])


def _fill(name: str, theme: int) -> str:
    return f"fill:{_colours(theme)[name]};fill:var(--nd-{name})"


def _stroke(name: str, theme: int) -> str:
    return f"stroke:{_colours(theme)[name]};stroke:var(--nd-{name})"
