"""nodedevctl hostdev with a daemon: the same refusals, and what is read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.ctl import Ctl, on
from tests.support.hosts import host_file, unpacked
from tests.support.running import running

MDEV = "5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ["pci_0000_00_02_0"],
            "nodedevctl: pci_0000_00_02_0 cannot be assigned to a guest: it is",
        ),
        ([MDEV, "--ramfb"], "nodedevctl: ramfb does not fit mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3"),
        (["nobody"], "nodedevctl: no device named 'nobody'"),
    ],
)
def test_refusal_exits_1_with_a_daemon_and_without(
    tmp_path: Path, arguments: list[str], error: str
) -> None:
    """The error is the same, on one line."""
    alone = on("vgpu-pf").run("hostdev", *arguments, status=1)
    with running(tmp_path, host_file("vgpu-pf")):
        asked = Ctl(["--socket", str(tmp_path / "nodedevd.sock")]).run(
            "hostdev", *arguments, status=1
        )
    assert alone.stdout == asked.stdout == ""
    assert alone.stderr == asked.stderr
    assert alone.stderr.startswith(error)
    assert alone.stderr.count("\n") == 1


def test_profile_that_was_set_a_moment_ago_is_known_to_the_daemon(tmp_path: Path) -> None:
    """No event reports it; the daemon reads it again on request."""
    host = tmp_path / "host"
    unpacked("vgpu-vendor-vfio", host)
    with running(tmp_path, host, "--count-age", "0"):
        ctl = Ctl(["--socket", str(tmp_path / "nodedevd.sock")])
        assert "for example NVIDIA L40S-1B" in ctl.run("hostdev", "26:00.7", status=1).stderr
        profile = host / "sys/bus/pci/devices/0000:26:00.7/nvidia/current_vgpu_type"
        profile.write_text("1148\n")
        found = ctl.run("hostdev", "26:00.7")
        assert found.stdout.startswith("<hostdev mode='subsystem' type='pci' ma")
        assert found.stderr == "note: its vGPU profile is 1148, NVIDIA L40S-2Q\n"
        profile.write_text("0\n")
        ctl.run("hostdev", "26:00.7", status=1)
