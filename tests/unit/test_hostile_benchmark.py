"""bench-hostile: its rows are found, and its table fits a terminal."""

from __future__ import annotations

import importlib

from benchmarks.hostile import rows
from benchmarks.hostile.__main__ import row_names
from benchmarks.hostile.figure import Figure, table


def test_every_row_measures() -> None:
    """A row is a module with a function, found by its file alone."""
    assert "places" in row_names()
    for name in row_names():
        assert callable(importlib.import_module(f"{rows.__name__}.{name}").measure)


def test_table_has_limits_ratios_and_80_columns() -> None:
    """A figure that exceeds its limit says so."""
    figures = [
        Figure("memory: watches of 37,000 names", 1234.5, "lines", 64.0),
        Figure("polite", 2.5, "ms", 2.5),
        Figure("served", 0.5, "%", 1.0, at_least=True),
        Figure("no limit", 3.0, "MiB"),
    ]
    lines = table(figures, {"memory: watches of 37,000 names": 4938.0}).splitlines()
    assert [one.rsplit(" ", 1)[1] for one in lines[1:4]] == ["MISS", "ok", "MISS"]
    assert lines[1].split()[-5:] == ["1,234", "lines", "x0.25", "<=64", "MISS"]
    assert all(len(line) <= 80 for line in lines)
    assert [one.met for one in figures] == [False, True, False, True]
