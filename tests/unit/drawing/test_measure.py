"""measure: widths, cuts and lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodedevd.drawing.measure import cut, width, wrapped

TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=" "), max_size=30)


@given(st.lists(TEXTS, max_size=8), st.integers(20, 300), st.integers(0, 300))
def test_lines_have_all_of_a_text_and_no_more_width(
    words: list[str], room: int, first: int
) -> None:
    """Long words are divided, and nothing is lost."""
    text = " ".join(words)
    lines = wrapped(text, room, 12, min(first, room))
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    for number, line in enumerate(lines):
        assert len(line) <= 1 or width(line, 12) <= (min(first, room) if not number else room)


@given(TEXTS, st.integers(0, 300))
def test_cut_text_fits_and_says_so(text: str, room: int) -> None:
    """The whole text if it fits, else its beginning and an ellipsis."""
    found = cut(text, room, 12)
    if width(text, 12) <= room:
        assert found == text
    else:
        assert found.endswith("…")
        assert text.startswith(found.removesuffix("…"))
        assert found == "…" or width(found, 12) <= room


def test_bold_is_wider_and_mono_is_even() -> None:
    """As in the fonts that the style sheet names."""
    assert width("Memory", 12, "bold") > width("Memory", 12)
    assert width("iii", 12, "mono") == width("MMM", 12, "mono")
    assert width("汉", 10) == 10
