"""How far property tests search."""

from __future__ import annotations

from hypothesis import settings


def examples(times: float) -> int:
    """Return a number of examples: so many times that of the profile in use."""
    assert settings.default is not None
    return round(settings.default.max_examples * times)
