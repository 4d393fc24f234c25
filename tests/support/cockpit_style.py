"""The style sheet of the picture, as a file of the Cockpit page, which allows no <style> elements.

python -m tests.support.cockpit_style writes it.
"""

from __future__ import annotations

from nodedevd.drawing.style import stylesheet
from tests.support.cockpit_texts import PAGE

FILE = PAGE / "style/picture.css"
_HEAD = "/* The rules of nodedevd/drawing/style.py, written by tests/support/cockpit_style.py. */\n"


def content() -> str:
    """Return what the file should have."""
    return f"{_HEAD}{stylesheet('auto')}\n"


if __name__ == "__main__":
    FILE.write_text(content(), encoding="utf-8")
