"""What a machine has once, for one of these tests at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.alone import alone_with
from tests.support.holder import STAND_IN_IN_SYSFS


@pytest.fixture
def stand_in_alone() -> Iterator[None]:
    """Keep the device that stands in for VFIO's to this test."""
    with alone_with(STAND_IN_IN_SYSFS):
        yield
