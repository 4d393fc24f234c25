"""Steps: long work as a generator that yields after each part of a fraction of a millisecond.

A server gives other clients their turns between the steps; everybody else uses `finish`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeAlias, TypeVar

T = TypeVar("T")

STEP_ITEMS: Final = 64
"""Items, usually devices, that are looked through in one step."""

Steps: TypeAlias = Generator[None, None, T]
"""Work in steps; it returns its result."""


def finish(steps: Steps[T]) -> T:
    """Run all steps; return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def groups(items: Sequence[T], size: int = STEP_ITEMS) -> Iterator[Sequence[T]]:
    """Yield items in groups of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))


def collected(items: Iterable[T], size: int = STEP_ITEMS) -> Steps[list[T]]:
    """Return what an iterable yields as a list, `size` items in a step."""
    found: list[T] = []
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        found += some
        yield
    return found
