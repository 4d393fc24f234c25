"""text: columns of tables, and text that could harm a terminal."""

from __future__ import annotations

import pytest

from nodedevd.text import printable, table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    """The cells of a column are aligned; the last column is not padded."""
    assert table(("A", "BEE", "C"), [("one", "2", "three"), ("x", "four", "y")]) == (
        "A    BEE   C\n"
        "one  2     three\n"
        "x    four  y\n"
    )  # fmt: skip


def test_table_without_rows_is_its_heading() -> None:
    """An empty table has only its heading."""
    assert table(("A", "B"), []) == "A  B\n"


def test_empty_last_cell_leaves_no_blanks_behind() -> None:
    """No line ends in blanks."""
    assert table(("A", "B"), [("one", "")]) == "A    B\none\n"


def test_wide_and_combining_characters_count_with_their_width() -> None:
    """A CJK character takes two columns, a combining accent none."""
    rows = [("日本", "x"), ("e\u0301", "x"), ("four", "x")]
    assert table(("A", "B"), rows) == "A     B\n日本  x\ne\u0301     x\nfour  x\n"


def test_overlong_cell_overflows_its_column() -> None:
    """One long text does not widen every line."""
    lines = table(("A", "B"), [("x" * 65, "y"), ("z" * 64, "y"), ("short", "y")]).splitlines()
    assert lines[1] == "x" * 65 + "  y"
    assert lines[2] == "z" * 64 + "  y"
    assert lines[3] == "short" + " " * 61 + "y"


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
    assert all(line.isprintable() for line in table(("A",), [(text,)]).split("\n"))
