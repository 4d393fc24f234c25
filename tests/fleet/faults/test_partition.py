"""A partition: neither side is told what is not so, and both have the true state afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.namespace import Namespace
from tests.support.running import REPOSITORY

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.slow,
    pytest.mark.needs("nats-server", "namespaces"),
]


@pytest.mark.parametrize("how", ["link", pytest.param("filter", marks=pytest.mark.needs("nft"))])
def test_leader_is_cut_off(how: str, tmp_path: Path) -> None:
    """By a link that is down, and by a packet filter that drops everything."""
    with Namespace() as hub:
        done = subprocess.run(
            [*hub.enter, sys.executable, "-m", "tests.fleet.faults.partitioned", how, tmp_path],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            timeout=400,
            capture_output=True,
            text=True,
        )
    print(done.stdout)
    assert done.returncode == 0, done.stderr
