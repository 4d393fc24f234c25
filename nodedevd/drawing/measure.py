"""measure: how wide a text is, without a font, and where its lines end.

The widths are those of DejaVu Sans, which is wider than what a browser takes if it has it; so
texts fit in others, too.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

Style: TypeAlias = Literal["plain", "bold", "mono"]

_FIRST: Final = 32
_PLAIN: Final = (
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636,
    636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632,
    575, 775, 752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685,
    611, 685, 390, 337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579,
    278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
)  # fmt: skip
"""Advance widths of the characters from space to tilde, in thousandths of the size."""
_BOLD: Final = (
    348, 456, 521, 838, 696, 1002, 872, 306, 457, 457, 523, 838, 380, 415, 380, 365, 696, 696, 696,
    696, 696, 696, 696, 696, 696, 696, 400, 400, 838, 838, 838, 580, 1000, 774, 762, 734, 830, 683,
    683, 821, 837, 372, 372, 775, 637, 995, 837, 850, 733, 850, 770, 720, 682, 812, 774, 1103, 771,
    724, 725, 457, 365, 457, 838, 500, 500, 675, 716, 593, 716, 678, 435, 716, 712, 343, 343, 665,
    343, 1042, 712, 687, 716, 716, 493, 595, 478, 712, 652, 924, 645, 652, 582, 712, 365, 712, 838,
)  # fmt: skip
_MONO: Final = 602
_OTHER: Final = 1000
"""Any other character: as wide as high, as those of East Asia are."""
_NARROW: Final = {"·": 380, "–": 500, "‖": 500, "×": 838, "◇": 769, "▶": 769, "▲": 769, "●": 873}


def width(text: str, size: float, style: Style = "plain") -> float:
    """Return the width of a text in pixels; the text is never wider in the fonts that we name."""
    if style == "mono" and text.isascii():
        return len(text) * _MONO * size / 1000
    table = _BOLD if style == "bold" else _PLAIN
    total = 0
    for character in text:
        place = ord(character) - _FIRST
        if 0 <= place < len(table):
            total += _MONO if style == "mono" else table[place]
        else:
            total += _NARROW.get(character, _OTHER)
    return total * size / 1000


def cut(text: str, room: float, size: float, style: Style = "plain") -> str:
    """Return a text that is not wider than `room`, with an ellipsis for what was cut."""
    if width(text, size, style) <= room:
        return text
    room -= width("…", size, style)
    end = 0
    while end < len(text) and (step := width(text[end], size, style)) <= room:
        room -= step
        end += 1
    return text[:end].rstrip(" …") + "…"


def wrapped(text: str, room: float, size: float, first: float | None = None) -> list[str]:
    """Return a text in lines that are not wider than `room`, broken between words.

    The first line has `first` pixels, by default the same. A longer word is divided.
    """
    lines = [""]
    left = room if first is None else first
    blank = width(" ", size)
    for word in text.split(" "):
        needed = width(word, size)
        if (lines[-1] and needed + blank > left) or (not lines[-1] and needed > left < room):
            lines.append("")
            left = room
        while needed > left and not lines[-1]:
            end = max(1, len(cut(word, left, size)) - 1)
            lines[-1] = word[:end]
            word = word[end:]
            needed = width(word, size)
            lines.append("")
            left = room
        left -= needed + (blank if lines[-1] else 0)
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines
