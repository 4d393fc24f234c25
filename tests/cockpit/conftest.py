"""The Cockpit page in a real Cockpit and a real browser; `make cockpit-test` runs these tests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cockpit.opened import Opener

collect_ignore_glob = [] if os.environ.get("NODEDEVD_COCKPIT") else ["test_*.py"]


@pytest.fixture
def directory() -> Iterator[Path]:
    """Return a directory that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="cockpit-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def opener(directory: Path) -> Iterator[Opener]:
    """Return what opens the page; in the end its console has to be free of complaints."""
    with Opener(directory) as made:
        yield made
        made.check_console()
