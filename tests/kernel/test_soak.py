"""The soak, in short: its clients agree with the daemon in the end."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.running import REPOSITORY

COMMAND = (sys.executable, "-W", "error", "-m", "benchmarks.soak")
FEW = ("--uevents", "600", "--watchers", "6", "--idle", "1", "--libvirt", "2", "--hostile", "10")


@pytest.mark.needs("root", "namespaces")
def test_short_soak_loses_nothing() -> None:
    """Every watcher that reads has one tree, clients of libvirt the right names."""
    done = subprocess.run(
        [*COMMAND, *FEW, "--json"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["problems"] == []
    assert outcome["uevents"] >= 600
    assert list(outcome["readers"]["digests"].values()) == [5]
    assert outcome["readers"]["libvirt_events"] > 0
    assert outcome["hostile"]["connections"] >= 10
