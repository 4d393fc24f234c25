"""The corpus: inputs that between them reach what fuzzing has reached, one text file a target.

A line is one input, as Python writes bytes; `#` begins a comment. Behind an input that a defect was
found by stands what it was.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

DIRECTORY = Path(__file__).with_name("corpus")


def corpus_file(target: str) -> Path:
    """Return the file with the corpus of a target."""
    return DIRECTORY / f"{target}.txt"


def read_corpus(target: str) -> list[bytes]:
    """Return the inputs, none if there is no file."""
    path = corpus_file(target)
    lines = path.read_text("ascii").splitlines() if path.exists() else []
    return [_input(line) for line in lines if line and not line.startswith("#")]


def _input(line: str) -> bytes:
    found = ast.literal_eval(line)
    assert isinstance(found, bytes)
    return found


def write_corpus(target: str, inputs: Iterable[bytes]) -> None:
    """Replace the inputs, but for those behind a comment, which stay in front."""
    path = corpus_file(target)
    lines = path.read_text("ascii").splitlines() if path.exists() else []
    kept = [
        line
        for number, line in enumerate(lines)
        if line.startswith("#") or (number and lines[number - 1].startswith("#"))
    ]
    new = [repr(one) for one in sorted(inputs, key=lambda one: (len(one), one))]
    lines = [*kept, *(line for line in new if line not in kept)]
    path.write_text("".join(f"{line}\n" for line in lines), "ascii")
