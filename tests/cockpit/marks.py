"""What the tests of this folder are marked with."""

from __future__ import annotations

import pytest

MARKS = [
    pytest.mark.needs("cockpit", "chromium", "selenium"),
    pytest.mark.exhaustive,
    pytest.mark.slow,
]
