"""The systemd units, as systemd-analyze sees them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.support.units import UNITS, analyze

EXPOSURE_AT_MOST = {
    "nodedevd.service": 1.6,
    "nodedevd-control.service": 2.2,
    "nodedevd-metrics.service": 0.5,
    "nodedevd-metrics-textfile.service": 0.8,
    "nodedevd-publish.service": 1.2,
    "nodedevd-nfd.service": 0.8,
}
OFFLINE_SINCE = 250  # systemd-analyze security --offline=

needs_analyze = pytest.mark.needs("systemd-analyze")


@pytest.fixture
def installable(tmp_path: Path) -> Path:
    """Return a directory with the units, which start what is there."""
    for path in UNITS.iterdir():
        text = re.sub("^ExecStart=.*", f"ExecStart={sys.executable}", path.read_text(), flags=re.M)
        (tmp_path / path.name).write_text(text)
    return tmp_path


@needs_analyze
@pytest.mark.parametrize(
    "name",
    [
        *("nodedevd.service", "nodedevd.socket"),
        *("nodedevd-control.service", "nodedevd-control.socket"),
        *("nodedevd-control-autostart.service", "nodedevd-layout.service"),
        *("nodedevd-metrics.service", "nodedevd-metrics.socket", "nodedevd-metrics-report.socket"),
        *("nodedevd-metrics-textfile.service", "nodedevd-metrics-textfile.timer"),
        *("nodedevd-publish.service", "nodedevd-nfd.service", "nodedevd-nfd.timer"),
    ],
)
def test_unit_passes_systemd_analyze_verify(installable: Path, name: str) -> None:
    """Systemd knows every setting and has nothing to say."""
    verified = analyze("verify", "--man=no", str(installable / name))
    assert (verified.returncode, verified.stdout) == (0, "")


BESIDE = (
    *("libvirtd", "virtqemud", "virtnodedevd", "nova-compute", "kubelet"),
    *("nvidia-vgpud", "nvidia-vgpu-mgr"),
)
"""Services of others that nodedevd-layout.service is ordered before or after."""


@needs_analyze
def test_units_are_in_no_ordering_cycle_with_those_of_others(installable: Path) -> None:
    """All of them enabled, with sockets for libvirt's; a cycle would be noticed."""
    for name in BESIDE:
        socket = f"[Unit]\nBefore={name}.service\n[Socket]\nListenStream=/run/{name}\n"
        service = f"[Unit]\nAfter={name}.socket\n[Service]\nExecStart={sys.executable}\n"
        (installable / f"{name}.service").write_text(service)
        (installable / f"{name}.socket").write_text(socket)
    for kind, target in (("service", "multi-user.target"), ("socket", "sockets.target")):
        wants = installable / f"{target}.wants"
        wants.mkdir()
        for path in installable.glob(f"*.{kind}"):
            (wants / path.name).symlink_to(path)

    def verified() -> str:
        return analyze("verify", "--man=no", "multi-user.target", unit_path=installable).stdout

    assert "cycle" not in verified()
    path = installable / "nodedevd-layout.service"
    path.write_text(path.read_text().replace("\nAfter=", "\nAfter=libvirtd.service ", 1))
    assert "ordering cycle" in verified()


@needs_analyze
def test_misspelt_setting_fails_systemd_analyze_verify(installable: Path) -> None:
    """The check above does notice."""
    path = installable / "nodedevd.service"
    path.write_text(path.read_text().replace("ProtectHome=", "ProtectHouse="))
    assert "ProtectHouse" in analyze("verify", "--man=no", str(path)).stdout


@needs_analyze
@pytest.mark.parametrize("name", EXPOSURE_AT_MOST)
def test_service_is_sandboxed(installable: Path, name: str) -> None:
    """The exposure that systemd computes stays low, 10 being the worst."""
    version = re.match(r"systemd (\d+)", analyze("--version").stdout)
    if version is None or int(version[1]) < OFFLINE_SINCE:
        pytest.skip(f"systemd-analyze security works offline since systemd {OFFLINE_SINCE}")
    report = analyze("security", "--offline=true", str(installable / name)).stdout
    exposure = re.search(rf"Overall exposure level for {name}: ([\d.]+)", report)
    assert exposure is not None, report
    print(exposure[0])
    assert float(exposure[1]) <= EXPOSURE_AT_MOST[name], report


@needs_analyze
@pytest.mark.parametrize("drop_in", ["in-use", "config-space"])
def test_service_with_a_drop_in_passes_systemd_analyze_verify(
    installable: Path, drop_in: str
) -> None:
    """Systemd takes the drop-in, and has nothing to say."""
    directory = installable / "nodedevd.service.d"
    directory.mkdir()
    (installable / f"nodedevd-{drop_in}.conf").rename(directory / f"{drop_in}.conf")
    verified = analyze("verify", "--man=no", str(installable / "nodedevd.service"))
    assert (verified.returncode, verified.stdout) == (0, "")
