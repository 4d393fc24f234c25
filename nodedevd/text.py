"""Text for terminals: tables, folded lines, and strings without control characters.

Lines fit the terminal, or 80 columns without one; see `columns`. They are folded between words,
so that no name or number is ever cut: a longer word makes a longer line.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

_COLUMNS = 80
_GAP = "  "
_WIDEST = 64
"""A longer word overflows its column, so that one long name does not widen every line."""
_INDENT = "    "
_NARROWEST = 20
"""A terminal is not narrower, so that folding leaves lines that can be read."""

_NAMES_SHOWN = 3
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters and marks that str.isprintable accepts, and a terminal shows nothing of."""


def columns() -> int:
    """Return the width to fold at: $COLUMNS, that of the terminal of standard output, or 80."""
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and int(given):
        return max(int(given), _NARROWEST)
    try:
        return max(os.get_terminal_size(sys.stdout.fileno()).columns or _COLUMNS, _NARROWEST)
    except (OSError, ValueError, AttributeError):
        return _COLUMNS


def table(
    heading: Sequence[str], rows: Iterable[Sequence[str]], *, width: int | None = None
) -> str:
    """Return a table with a bold heading; its cells are made printable.

    If a line of `width`, by default `columns()`, is too short, the words of the last column are
    folded within it; columns without room continue on the next line, indented, for the heading
    as for every row. `click.echo` prints in bold on a
    terminal only.
    """
    limit = columns() if width is None else width
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [_column_width(column, limit) for column in zip(heading, *cells, strict=True)]
    last = [heading[-1], *(row[-1] for row in cells)]
    room = limit - sum(width + len(_GAP) for width in widths[:-1])
    if _usual_width(word for cell in last for word in cell.split(" ")) > room:
        room = limit - len(_INDENT)  # on a line of its own
    widths[-1] = min(widths[-1], room)
    for row in cells:
        row[-1] = _chopped(row[-1], room)
    groups = _groups(widths, limit)
    lines = [_bold(line) for line in _lines(heading, widths, groups)]
    lines += [line for row in cells for line in _lines(row, widths, groups)]
    return "".join(f"{line}\n" for line in lines)


def fold(text: str, *, indent: str = "", width: int | None = None) -> str:
    """Return a text in lines of at most `width` columns, by default `columns()`.

    Lines after the first begin with `indent`. The text is made printable before.
    """
    limit = columns() if width is None else width
    lines = _fold(printable(text), limit, limit - len(indent))
    return f"\n{indent}".join(lines)


def abbreviated(names: Sequence[str]) -> str:
    """Return the first names of a list, separated by commas, and the number of the others."""
    others = len(names) - _NAMES_SHOWN
    more = f" and {others} more" if others > 0 else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def shortened(text: str, length: int = 80) -> str:
    """Return a text, or its beginning if it is longer."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def printable(text: str) -> str:
    """Return text with escapes for what a terminal acts on or does not show.

    These are control characters, such as those that set the direction of text, and characters
    without a width. A line feed becomes `, `.
    """
    text = text.replace("\r\n", "\n").removesuffix("\n").replace("\n", ", ")
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable() and not _UNSEEN.fullmatch(character):
        return character
    return character.encode("unicode_escape").decode()


def printable_path(text: str) -> str:
    r"""Return a file name or path that can be encoded in UTF-8: other bytes become `\xNN`."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _column_width(cells: Iterable[str], limit: int) -> int:
    usual = [cell for cell in cells if max(map(_width, cell.split(" "))) <= _WIDEST]
    return min(max(map(_width, usual)), limit - len(_INDENT))


def _usual_width(texts: Iterable[str]) -> int:
    return max((width for text in texts if (width := _width(text)) <= _WIDEST), default=0)


def _chopped(text: str, width: int) -> str:
    """Return a text whose overlong words are divided."""
    if max(map(_width, text.split(" "))) <= _WIDEST:
        return text
    words = [re.findall(f".{{1,{width}}}", word) or [""] for word in text.split(" ")]
    return " ".join(part for parts in words for part in parts)


def _groups(widths: Sequence[int], limit: int) -> list[range]:
    """Return the columns of each line of a row."""
    groups = []
    first, used = 0, widths[0]
    for column, width in enumerate(widths[1:], 1):
        used += len(_GAP) + width
        if used > limit:
            groups.append(range(first, column))
            first, used = column, len(_INDENT) + width
    return [*groups, range(first, len(widths))]


def _lines(
    row: Sequence[str], widths: Sequence[int], groups: Iterable[Iterable[int]]
) -> Iterator[str]:
    """Yield the lines of a row."""
    indent = ""
    for group in groups:
        folded = [
            (_fold(row[column], widths[column], widths[column]), widths[column]) for column in group
        ]
        for number in range(max(len(lines) for lines, _ in folded)):
            parts = [
                (lines[number] if number < len(lines) else "", width) for lines, width in folded
            ]
            line = _GAP.join(part + " " * (width - _width(part)) for part, width in parts)
            yield (indent + line).rstrip()
        indent = _INDENT


def _fold(text: str, first: int, others: int) -> list[str]:
    """Return the lines of a text, broken between words; blanks inside a line stay."""
    lines: list[str] = []
    line, *words = text.split(" ")
    for word in words:
        if _width(line) + 1 + _width(word) <= (others if lines else first):
            line += f" {word}"
        else:
            lines.append(line)
            line = word
    return [*lines, line]


def _width(text: str) -> int:
    """Return how many columns a text takes on a terminal."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(one) in "WF" for one in text)
    return len(text) + wide - sum(unicodedata.combining(one) != 0 for one in text)


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if text else text
