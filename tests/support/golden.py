"""Golden files: output that a person has read and approved, and that must stay the same."""

from __future__ import annotations

from pathlib import Path

DIRECTORY = Path(__file__).parents[1] / "golden"


class Golden:
    """Compares text with the files below tests/golden, or with `update` writes them."""

    def __init__(self, *, update: bool) -> None:
        self.update = update

    def check(self, name: str, text: str) -> None:
        """Compare with the golden file of this name; one that is missing fails the test."""
        path = DIRECTORY / name
        if self.update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
            return
        assert path.exists(), f"no golden file {name}: run pytest --update-golden, and read it"
        with path.open(encoding="utf-8", newline="") as file:
            golden = file.read()
        assert text == golden, f"not as in {name}; if it is right, run pytest --update-golden"
