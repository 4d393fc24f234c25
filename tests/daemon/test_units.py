"""The systemd units: what systemd makes of them, and that they fit the daemon."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from nodedevd import daemon, socket_paths
from tests.support.running import REPOSITORY

UNITS = REPOSITORY / "systemd"
ANALYZE = shutil.which("systemd-analyze")
EXPOSURE_AT_MOST = 3.0
OFFLINE_SINCE = 250  # systemd-analyze security --offline=

needs_analyze = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze and return what it said, both streams in one."""
    assert ANALYZE is not None
    return subprocess.run(
        [ANALYZE, "--no-pager", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "SYSTEMD_COLORS": "0"},
        text=True,
        check=False,
    )


def unit(name: str) -> configparser.ConfigParser:
    """Return a unit's sections; a setting that stands there twice is an error."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=["="])
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # as the manual says
    with (UNITS / name).open() as file:
        parser.read_file(file)
    return parser


@pytest.fixture
def installable(tmp_path: Path) -> Path:
    """Return a directory with the units, which start what is there."""
    for path in UNITS.iterdir():
        text = re.sub("^ExecStart=.*", f"ExecStart={sys.executable}", path.read_text(), flags=re.M)
        (tmp_path / path.name).write_text(text)
    return tmp_path


@needs_analyze
@pytest.mark.parametrize("name", ["nodedevd.service", "nodedevd.socket"])
def test_unit_passes_systemd_analyze_verify(installable: Path, name: str) -> None:
    """Systemd knows every setting and has nothing to say."""
    verified = analyze("verify", "--man=no", str(installable / name))
    assert (verified.returncode, verified.stdout) == (0, "")


@needs_analyze
def test_misspelt_setting_fails_systemd_analyze_verify(installable: Path) -> None:
    """The check above does notice."""
    path = installable / "nodedevd.service"
    path.write_text(path.read_text().replace("ProtectHome=", "ProtectHouse="))
    assert "ProtectHouse" in analyze("verify", "--man=no", str(path)).stdout


@needs_analyze
def test_service_is_sandboxed(installable: Path) -> None:
    """The exposure that systemd computes stays low, 10 being the worst."""
    version = re.match(r"systemd (\d+)", analyze("--version").stdout)
    if version is None or int(version[1]) < OFFLINE_SINCE:
        pytest.skip(f"systemd-analyze security works offline since systemd {OFFLINE_SINCE}")
    report = analyze("security", "--offline=true", str(installable / "nodedevd.service")).stdout
    exposure = re.search(r"Overall exposure level for nodedevd.service: ([\d.]+)", report)
    assert exposure is not None, report
    print(exposure[0])
    assert float(exposure[1]) < EXPOSURE_AT_MOST, report


def test_drop_in_lets_the_service_see_other_users_processes() -> None:
    """It takes both: the capability, and a /proc that hides nobody; the rest stays as it is."""
    drop_in = unit("nodedevd-in-use.conf")
    assert drop_in.sections() == ["Service"]
    assert dict(drop_in["Service"]) == {
        "CapabilityBoundingSet": "CAP_SYS_PTRACE",
        "ProtectProc": "default",
    }
    service = unit("nodedevd.service")["Service"]
    assert "CAP_SYS_PTRACE" not in service["CapabilityBoundingSet"]
    assert service["ProtectProc"] == "invisible"


@needs_analyze
def test_service_with_the_drop_in_passes_systemd_analyze_verify(installable: Path) -> None:
    """Systemd takes the drop-in, and has nothing to say."""
    directory = installable / "nodedevd.service.d"
    directory.mkdir()
    (installable / "nodedevd-in-use.conf").rename(directory / "in-use.conf")
    verified = analyze("verify", "--man=no", str(installable / "nodedevd.service"))
    assert (verified.returncode, verified.stdout) == (0, "")


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
    """Netlink and its buffer, a view of the devices, and what root-only attributes take."""
    service = unit("nodedevd.service")["Service"]
    assert set(service["RestrictAddressFamilies"].split()) == {"AF_UNIX", "AF_NETLINK"}
    needed = {"CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH", "CAP_NET_ADMIN"}
    assert set(service["CapabilityBoundingSet"].split()) == needed
    for hides in ("PrivateNetwork", "PrivateDevices", "InaccessiblePaths", "TemporaryFileSystem"):
        assert hides not in service
