"""text: columns of tables, and text that could harm a terminal."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import termios
from collections.abc import Sequence

import pytest
from click import unstyle
from hypothesis import given
from hypothesis.strategies import integers, lists, text, tuples

from nodedevd.text import columns, fold, printable, table


def plain(heading: Sequence[str], rows: Sequence[Sequence[str]], width: int = 80) -> str:
    """Return a table without colours."""
    return unstyle(table(heading, rows, width=width))


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    """The cells of a column are aligned; the last column is not padded."""
    assert plain(("A", "BEE", "C"), [("one", "2", "three"), ("x", "four", "y")]) == (
        "A    BEE   C\n"
        "one  2     three\n"
        "x    four  y\n"
    )  # fmt: skip


def test_heading_is_bold() -> None:
    """click.echo removes that where there is no terminal."""
    assert table(("A", "B"), [("one", "two")]) == "\x1b[1mA    B\x1b[0m\none  two\n"


def test_table_without_rows_is_its_heading() -> None:
    """An empty table has only its heading."""
    assert plain(("A", "B"), []) == "A  B\n"


def test_empty_last_cell_leaves_no_blanks_behind() -> None:
    """No line ends in blanks."""
    assert plain(("A", "B"), [("one", "")]) == "A    B\none\n"


def test_wide_and_combining_characters_count_with_their_width() -> None:
    """A CJK character takes two columns, a combining accent none."""
    rows = [("日本", "x"), ("e\u0301", "x"), ("four", "x")]
    assert plain(("A", "B"), rows) == "A     B\n日本  x\ne\u0301     x\nfour  x\n"


def test_row_that_is_too_wide_continues_on_the_next_line() -> None:
    """So does the heading; a name is never cut, so that it can be copied."""
    rows = [("pci_0000_3b_00_4", "A2-4Q", "-", "x"), ("mdev_5d4d1f0c", "", "a b", "four")]
    assert plain(("DEVICE", "TYPE", "NUMBER", "D"), rows, width=24) == (
        "DEVICE            TYPE\n"
        "    NUMBER  D\n"
        "pci_0000_3b_00_4  A2-4Q\n"
        "    -       x\n"
        "mdev_5d4d1f0c\n"
        "    a b     four\n"
    )


def test_cell_that_is_wider_than_a_line_is_folded() -> None:
    """Between words, within its column."""
    rows = [("one", "the quick brown fox jumps over the dog"), ("two", "jumps")]
    assert plain(("A", "B"), rows, width=24) == (
        "A    B\n"
        "one  the quick brown fox\n"
        "     jumps over the dog\n"
        "two  jumps\n"
    )  # fmt: skip


def test_overlong_word_overflows_its_column() -> None:
    """One long name does not widen every line."""
    lines = plain(("A", "B"), [("x" * 65, "y"), ("z" * 64, "y"), ("short", "y")]).splitlines()
    assert lines[1] == "x" * 65 + "  y"
    assert lines[2] == "z" * 64 + "  y"
    assert lines[3] == "short" + " " * 61 + "y"


@given(
    rows=lists(tuples(*[text(alphabet="ab -", max_size=30)] * 3), max_size=5),
    width=integers(20, 100),
)
def test_folding_loses_no_word(rows: list[tuple[str, ...]], width: int) -> None:
    """Every word is there, and only one that is too long itself makes a line too long."""
    printed = plain(("A", "BB", "CCC"), rows, width)
    words = sorted(word for row in rows for cell in row for word in cell.split())
    found = sorted(word for word in printed.split() if word not in ("A", "BB", "CCC"))
    assert found == words
    if all(len(word) < 5 for word in words):
        assert max(map(len, printed.splitlines())) <= width


def test_text_is_folded_with_an_indent() -> None:
    """The first line has no indent, and control characters are escaped."""
    assert fold("one two three\x07", indent="  ", width=9) == "one two\n  three\\x07"


@pytest.mark.parametrize(
    ("value", "expected"), [("120", 120), ("5", 20), ("0", 80), ("x", 80), ("", 80), ("-1", 80)]
)
def test_width_is_that_of_columns(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: int
) -> None:
    """Without a terminal, it is 80."""
    monkeypatch.setenv("COLUMNS", value)
    assert columns() == expected


def test_width_is_that_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output is a terminal of 50 columns."""
    monkeypatch.delenv("COLUMNS", raising=False)
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 25, 50, 0, 0))
    with open(master, "rb"), open(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        assert columns() == 50


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcode, 日本", "plain, ünïcode, 日本"),
        ("one\ntwo\r\nthree\n", "one, two, three"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("nul \x00 tab \t cr \r vt \x0b", r"nul \x00 tab \t cr \r vt \x0b"),
        ("\x85 and \x9b31m", r"\x85 and \x9b31m"),
        ("\u202eright to left", r"\u202eright to left"),
        ("\u2028line", r"\u2028line"),
        ("\U000e0001tag", r"\U000e0001tag"),
        ("", ""),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    """Line feeds become commas, other control and format characters are escaped."""
    assert printable(text) == shown
    assert all(line.isprintable() for line in plain(("A",), [(text,)]).split("\n"))
