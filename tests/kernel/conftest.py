"""Locks on what a machine has only once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.alone import alone_with
from tests.support.holder import DEV_FULL_IN_SYSFS


@pytest.fixture
def dev_full_alone() -> Iterator[None]:
    """Let no other test open /dev/full, which these tests use as a VFIO device."""
    with alone_with(DEV_FULL_IN_SYSFS):
        yield
