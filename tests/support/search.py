"""How far tests search: all the way, or less with the profile `quick` of `make test-unit`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import settings

FULL_EXAMPLES = 100
QUICK_EXAMPLES = 20

T = TypeVar("T")


def examples(times: float) -> int:
    """Return a number of random examples: so many times that of the profile in use."""
    return round(_examples() * times)


def cases(every: Sequence[T]) -> Sequence[T]:
    """Return every case of a search that leaves none out; with the profile `quick` each fifth.

    Also for sample hosts, where what a test shows does not depend on what a host has.
    """
    return every[:: FULL_EXAMPLES // _examples()]


def _examples() -> int:
    assert settings.default is not None
    return settings.default.max_examples
