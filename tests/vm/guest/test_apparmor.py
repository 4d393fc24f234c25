"""The packages' profiles confine both services; what they are denied, conftest.py looks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm.guest import control, vm

PROFILES = Path("/etc/apparmor.d")

pytestmark = pytest.mark.skipif(
    not (PROFILES / "nodedevd").exists(), reason="nodedevd is not installed by its packages"
)


def confined(service: str) -> str:
    """Return the profile of a service's main process, and its mode."""
    pid = vm.run("systemctl", "show", "-P", "MainPID", service).strip()
    return Path(f"/proc/{pid}/attr/apparmor/current").read_text().strip()


def test_daemon_is_confined() -> None:
    """By the profile that its unit names, which denies what it does not allow."""
    assert confined("nodedevd.service") == "nodedevd (enforce)"


def test_control_service_is_confined() -> None:
    """From its first call on."""
    with control.enabled() as client:
        client.list()
        assert confined(control.UNIT) == "nodedevd-control (enforce)"


def test_denial_is_seen() -> None:
    """A shell with the daemon's profile is denied a file; it is in the kernel's log."""
    before = len(vm.denied())
    unit = ("systemd-run", "-q", "--wait", "--pipe", "-p", "AppArmorProfile=nodedevd")
    with pytest.raises(AssertionError):
        vm.run(*unit, "/usr/bin/python3", "-c", "open('/etc/gshadow')")
    vm.until(lambda: len(vm.denied()) > before, "for a denial in the log")
