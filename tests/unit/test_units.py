"""The systemd units fit the daemon."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from nodedevd import daemon, socket_paths
from tests.support.running import REPOSITORY
from tests.support.units import unit


def test_drop_in_lets_the_service_see_other_users_processes() -> None:
    """It takes the capabilities, and a /proc that hides nobody; the rest stays as it is."""
    drop_in = unit("nodedevd-in-use.conf")
    assert drop_in.sections() == ["Service"]
    assert dict(drop_in["Service"]) == {
        "CapabilityBoundingSet": "CAP_SYS_PTRACE CAP_DAC_READ_SEARCH",
        "ProtectProc": "default",
    }
    service = unit("nodedevd.service")["Service"]
    assert "CAP_SYS_PTRACE" not in service["CapabilityBoundingSet"]
    assert service["ProtectProc"] == "invisible"


def test_drop_in_lets_the_service_read_configuration_space() -> None:
    """It adds the capability, which the service does not have, and no more."""
    drop_in = unit("nodedevd-config-space.conf")
    assert drop_in.sections() == ["Service"]
    assert dict(drop_in["Service"]) == {"CapabilityBoundingSet": "CAP_SYS_ADMIN"}
    assert "CAP_SYS_ADMIN" not in unit("nodedevd.service")["Service"]["CapabilityBoundingSet"]


def test_service_starts_an_installed_command() -> None:
    """ExecStart= is a command that the package installs."""
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    assert Path(unit("nodedevd.service")["Service"]["ExecStart"]).name in scripts


def test_socket_lies_where_clients_look_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without systemd the socket is the same, and as open; every user finds it."""
    socket = unit("nodedevd.socket")["Socket"]
    path = socket["ListenStream"]
    defaults = daemon.Options()
    monkeypatch.delenv("NODEDEVD_SOCKET", raising=False)
    for user in (0, 1000):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        assert socket_paths.candidate_socket_paths()[0] == path
    assert int(socket["SocketMode"], 8) == defaults.socket_mode
    assert int(socket["DirectoryMode"], 8) == 0o755


def test_service_leaves_the_directory_of_the_socket_in_place() -> None:
    """RuntimeDirectory= is the socket's, and outlives the service as the socket does."""
    service = unit("nodedevd.service")["Service"]
    path = Path(unit("nodedevd.socket")["Socket"]["ListenStream"])
    assert Path("/run") / service["RuntimeDirectory"] == path.parent
    assert service["RuntimeDirectoryPreserve"] == "yes"


def test_service_stops_in_its_own_time() -> None:
    """Systemd kills it only after clients, and a read under way, were waited for in vain."""
    service = unit("nodedevd.service")["Service"]
    assert service["Type"] == "notify"
    assert float(service["TimeoutStopSec"].removesuffix("s")) > 2 * daemon.STOP_SECONDS


def test_sandbox_leaves_what_the_daemon_needs() -> None:
    """Netlink and its buffer, and a view of the devices."""
    service = unit("nodedevd.service")["Service"]
    assert set(service["RestrictAddressFamilies"].split()) == {"AF_UNIX", "AF_NETLINK"}
    assert service["CapabilityBoundingSet"] == "CAP_NET_ADMIN"
    for hides in ("PrivateNetwork", "PrivateDevices", "InaccessiblePaths", "TemporaryFileSystem"):
        assert hides not in service
