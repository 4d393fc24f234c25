"""doctor with a daemon: whether the daemon shows what a scan finds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ctl import Ctl
from tests.support.hosts import host_file
from tests.support.mdev_card import CARD, CARD_NAME, MDEV, UUID, mdev_card
from tests.support.real_devices import others_may_change
from tests.support.running import REPOSITORY, running, started
from tests.support.this_host import nodedevctl, on


def test_this_machine_with_a_daemon_is_as_the_daemon_shows_it(tmp_path: Path) -> None:
    """It was just scanned, so there is no difference; it receives no events."""
    path = tmp_path / "nodedevd.sock"
    with running(tmp_path, Path("/"), "--events", "none"):
        report = json.loads(Ctl(["--socket", str(path)]).run("doctor", "--json", status=5).stdout)
    found = {
        one["code"] for one in report["findings"] if not others_may_change(one["device"] or "")
    }
    assert "no-events" in found
    assert found.isdisjoint({"no-daemon", "daemon-differs", "daemon-other-version"})


def test_daemon_of_another_host_is_no_answer_for_this_one(tmp_path: Path) -> None:
    """Its devices are not compared."""
    path = tmp_path / "nodedevd.sock"
    with running(tmp_path, host_file("vgpu-pf")):
        report = json.loads(Ctl(["--socket", str(path)]).run("doctor", "--json", status=5).stdout)
    found = {one["code"] for one in report["findings"]}
    assert "daemon-other-host" in found
    assert "daemon-differs" not in found


@pytest.mark.needs("device nodes")
def test_daemon_that_missed_a_change_is_found(tmp_path: Path) -> None:
    """It received no event, and a new scan has an mdev that it lacks."""
    tree = mdev_card(tmp_path / "host")
    path = str(tmp_path / "socket")
    options = ("--socket", path, "--events", "none", "--reconcile", "0")
    command = [*on(tree), sys.executable, "-m", "nodedevd"]
    with started(tmp_path, *options, command=command) as daemon:
        daemon.wait_notified("READY=1")
        tree.mdev(CARD, UUID, "nvidia-1", driver="nvidia", iommu_group=2)
        report = nodedevctl(tree, "--socket", path, "doctor", "--json", status=5)
    differences = {one["device"] for one in report["findings"] if one["code"] == "daemon-differs"}
    assert differences == {MDEV, CARD_NAME}


@pytest.mark.needs("root")
def test_socket_that_is_not_for_this_user_is_found(tmp_path: Path) -> None:
    """The finding says that there is a daemon, and how to get access."""
    # Modules may lie where nobody else can go: they are imported first.
    code = (
        "import os, sys, nodedevd.cli.main, nodedevd.cli.doctor_report, nodedevd.cli.doctor_text\n"
        "import nodedevd.cli.doctor, nodedevd.cli.source, nodedevd.cli.refusals\n"
        "import nodedevd.host.events.udev\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "nodedevd.cli.main.main(sys.argv[1:])"
    )
    with running(tmp_path, Path("/"), "--events", "none"):
        done = subprocess.run(
            [
                *(sys.executable, "-c", code),
                *("--socket", str(tmp_path / "nodedevd.sock"), "doctor", "--json"),
            ],
            cwd=REPOSITORY,
            capture_output=True,
        )
    assert done.returncode == 5, done.stderr
    found = {one["code"] for one in json.loads(done.stdout)["findings"]}
    assert {"socket-refused", "not-root"} <= found
