"""nodedevctl in-use: what a user sees of a host's devices and processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from nodedevd.cli import main
from nodedevd.follow import shared_look
from nodedevd.questions.in_use import REASONS
from tests.support.vfio_host import OTHER, UUID, Host, held


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return the host."""
    return Host(tmp_path / "host")


def test_table_has_a_line_for_each_holder(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several may have one device open; what is unknown is explained below."""
    seen = host.look(held("3"), held("3", by=OTHER), held("1"), unseen=4)
    monkeypatch.setattr(shared_look, "look_in_time", lambda sysroot, progress: seen)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = CliRunner().invoke(main.main, ["--sysroot", host.tree.root, "in-use"])
    assert result.exit_code == 0
    assert (
        result.stdout
        == """\
DEVICE                                     OPEN     PID  PROCESS          VM
mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3d1e01  yes      100  qemu-system-x86  -
mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3d1e01  yes      200  qemu-system-x86  web-01
pci_0000_01_00_0                           unknown  100  qemu-system-x86  -
pci_0000_01_00_1                           unknown  100  qemu-system-x86  -
pci_0000_02_00_0                           unknown  -    -                -
"""
    )
    assert result.stderr.splitlines() == [
        "unknown for pci_0000_01_00_0, pci_0000_01_00_1: " + REASONS["group-shared"],
        (
            f"unknown for pci_0000_02_00_0: {REASONS['processes-unseen']}"
            " (4 processes; run this as root)"
        ),
    ]


def test_command_on_a_recorded_host_says_why_nothing_is_known(host: Host) -> None:
    """It looks at no process of this host for another one's devices."""
    result = CliRunner().invoke(main.main, ["--sysroot", host.tree.root, "in-use", UUID])
    assert result.exit_code == 0
    assert result.stdout.split()[5:] == [f"mdev_{UUID.replace('-', '_')}", "unknown", "-", "-", "-"]
    assert REASONS["other-host"] in result.stderr


def test_command_takes_no_device_that_is_not_there(host: Host) -> None:
    """A wrong name is a failure, not a device that nobody has open."""
    result = CliRunner().invoke(main.main, ["--sysroot", host.tree.root, "in-use", "mdev_1"])
    assert result.exit_code == 1
    assert "no device named 'mdev_1'" in result.stderr
