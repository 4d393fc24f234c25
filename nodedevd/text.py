"""Text for terminals: tables, and strings without control characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

_WIDEST = 64
"""A wider cell overflows its column, so that one long text does not widen every line."""

_NAMES_SHOWN = 3


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table with a heading. Cells are made printable; the last column is not padded."""
    lines = [heading, *([printable(cell) for cell in row] for row in rows)]
    widths = [
        max(width for line in lines if (width := _width(line[column])) <= _WIDEST)
        for column in range(len(heading) - 1)
    ]
    return "".join(
        "  ".join(
            [
                *(
                    cell + " " * (width - _width(cell))
                    for cell, width in zip(line, widths, strict=False)
                ),
                line[-1],
            ]
        ).rstrip()
        + "\n"
        for line in lines
    )


def abbreviated(names: Sequence[str]) -> str:
    """Return the first names of a list, separated by commas, and the number of the others."""
    others = len(names) - _NAMES_SHOWN
    more = f" and {others} more" if others > 0 else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def printable(text: str) -> str:
    """Return text with its control characters escaped; a line feed becomes `, `."""
    text = text.replace("\r\n", "\n").removesuffix("\n").replace("\n", ", ")
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def _width(text: str) -> int:
    """Return how many columns a text takes on a terminal."""
    wide = sum(unicodedata.east_asian_width(one) in "WF" for one in text)
    return len(text) + wide - sum(unicodedata.combining(one) != 0 for one in text)


def printable_path(text: str) -> str:
    r"""Return a file name or path that can be encoded in UTF-8: other bytes become `\xNN`."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
