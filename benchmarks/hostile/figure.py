"""Figure: what a row measured, its limit, and the table of all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

_TITLE_COLUMNS = 36


class Figure(msgspec.Struct, frozen=True):
    """One measured value.

    A figure is compared by its title with that of earlier results.
    """

    title: str
    """at most 36 characters, and not the same as another's"""
    value: float
    unit: str
    limit: float | None = None
    at_least: bool = False
    """whether the limit is a lower one"""

    @property
    def met(self) -> bool:
        """Whether the value is within its limit."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def table(figures: Iterable[Figure], before: Mapping[str, float]) -> str:
    """Return a table of 80 columns; `before` has earlier values by title."""
    heading = f"{'before':>9}{'now':>13}{'ratio':>9}{'limit':>8}"
    lines = [" " * _TITLE_COLUMNS + heading]
    for one in figures:
        earlier = before.get(one.title)
        ratio = "" if not earlier else f"x{one.value / earlier:.2g}"
        limit = "" if one.limit is None else f"{'>=' if one.at_least else '<='}{one.limit:g}"
        verdict = "" if one.limit is None else " ok" if one.met else " MISS"
        cells = (
            f"{one.title:{_TITLE_COLUMNS}}",
            f"{'' if earlier is None else _amount(earlier, ''):>9}",
            f"{_amount(one.value, one.unit):>13}",
            f"{ratio:>9}",
            f"{limit:>8}",
        )
        lines.append("".join(cells) + verdict)
    return "".join(f"{line}\n" for line in lines)


def _amount(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{number} {unit}".strip()
