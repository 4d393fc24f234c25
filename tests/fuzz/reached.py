"""The lines of a target's modules that inputs reach, without atheris."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeAlias

from tests.fuzz.target import Target

REPOSITORY = Path(__file__).parents[2]
Arc: TypeAlias = tuple[str, int, int]
"""A module, a line, and the line that was run before it in the same call."""


def arcs_of(target: Target, data: bytes) -> set[Arc]:
    """Return what one input reaches. Raises as `check`."""
    arcs: set[Arc] = set()
    files = {str(REPOSITORY / path): path for path in target.reads}

    def begin(frame: FrameType, event: str, argument: Any) -> Any:
        name = files.get(frame.f_code.co_filename)
        if name is None:
            return None
        before = 0

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal before
            if event == "line":
                arcs.add((name, before, frame.f_lineno))
                before = frame.f_lineno
            return trace

        return trace

    sys.settrace(begin)
    try:
        target.check(data)
    finally:
        sys.settrace(None)
    return arcs


def smallest_cover(target: Target, inputs: Iterable[bytes]) -> list[bytes]:
    """Return inputs, small ones first, that between them reach what all of them reach."""
    reached: set[Arc] = set()
    chosen = []
    for data in sorted(set(inputs), key=len):
        arcs = arcs_of(target, data)
        if not arcs <= reached:
            reached |= arcs
            chosen.append(data)
    # What a later one reaches as well may make an earlier one superfluous.
    reached.clear()
    needed = []
    for data in reversed(chosen):
        arcs = arcs_of(target, data)
        if not arcs <= reached:
            reached |= arcs
            needed.append(data)
    return needed


def coverage(target: Target, inputs: Iterable[bytes]) -> tuple[int, int]:
    """Return how many lines of functions these inputs reach, and how many there are."""
    reached = {(name, line) for data in inputs for name, _, line in arcs_of(target, data)}
    every = {(name, line) for name in target.reads for line in _lines(REPOSITORY / name)}
    return len(reached & every), len(every)


def _lines(path: Path) -> set[int]:
    module = compile(path.read_text("utf-8"), str(path), "exec")
    return {line for code in _functions(module) for line in _lines_of(code)}


def _functions(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_flags & 2:  # CO_NEWLOCALS: a function, and no body of a class
                yield constant
            yield from _functions(constant)


def _lines_of(code: CodeType) -> Iterator[int]:
    for _, _, line in code.co_lines():
        if line is not None and line != code.co_firstlineno:
            yield line
