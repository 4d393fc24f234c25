"""The systemd units fit the daemon."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from nodedevd import daemon, socket_paths
from nodedevd.cli.main import main
from nodedevd.cli.options import EXIT_FAILURE, EXIT_LEFT, EXIT_NO, EXIT_TIMEOUT
from nodedevd.control import daemon as control_daemon
from nodedevd.control.acting import STATE
from nodedevd.control.configuration import Configuration
from nodedevd.kinds import vgpu
from nodedevd.layout.directories import DIRECTORIES
from nodedevd.publish.configuration import DEFAULT_STATE
from tests.support.running import REPOSITORY
from tests.support.units import UNITS, unit


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


def test_drop_in_lets_clients_of_libvirt_change_devices() -> None:
    """It starts the same command with an option, and gives no right."""
    text = (UNITS / "nodedevd-libvirt-writes.conf").read_text()
    lines = [line for line in text.split("\n") if line and not line.startswith("#")]
    command = unit("nodedevd.service")["Service"]["ExecStart"]
    assert lines == [
        *("[Unit]", "Wants=nodedevd-control.socket", "After=nodedevd-control.socket"),
        *("[Service]", "ExecStart=", f"ExecStart={command} --libvirt-writes"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("nodedevd.service", "nodedevd-control.service"),
        *("nodedevd-metrics.service", "nodedevd-metrics-textfile.service"),
        *("nodedevd-publish.service", "nodedevd-nfd.service"),
    ],
)
def test_service_starts_an_installed_command(name: str) -> None:
    """ExecStart= is a command that the package installs."""
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    assert Path(unit(name)["Service"]["ExecStart"].split()[0]).name in scripts


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


@pytest.mark.parametrize("name", ["nodedevd.socket", "nodedevd-control.socket"])
def test_socket_is_in_the_registry_of_varlink(name: str) -> None:
    """By the name of its interface, which is that of the socket."""
    socket = unit(name)["Socket"]
    interface = Path(socket["ListenStream"]).name
    assert socket["Symlinks"] == f"/run/varlink/registry/{interface}"


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


def test_publisher_is_a_user_of_its_own_without_rights() -> None:
    """Not root, whom the daemon shows what identifies the machine; nothing enables it by itself."""
    service = unit("nodedevd-publish.service")["Service"]
    assert service["User"] == "nodedevd-publish"
    assert (UNITS / "nodedevd-publish.sysusers").read_text().split("u ", 1)[1].split()[0] == (
        "nodedevd-publish"
    )
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == ""
    assert f"/var/lib/{service['StateDirectory']}" == DEFAULT_STATE
    assert "publish" not in (UNITS / "nodedevd.service").read_text()


def test_labels_are_written_where_the_service_may_write() -> None:
    """And by the socket's path, since another directory is hidden."""
    service = unit("nodedevd-nfd.service")["Service"]
    command = service["ExecStart"].split()
    assert Path(command[-1]).parent == Path(service["ReadWritePaths"])
    assert command[3] == unit("nodedevd.socket")["Socket"]["ListenStream"]


READER = {
    "AppArmorProfile": "-nodedevd",
    "CapabilityBoundingSet": "CAP_NET_ADMIN",
    "AmbientCapabilities": "",
    "DevicePolicy": "closed",
    "IPAddressDeny": "any",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "PrivateMounts": "yes",
    "PrivateTmp": "yes",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHome": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectProc": "invisible",
    "ProtectSystem": "strict",
    "RemoveIPC": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_NETLINK",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "RuntimeDirectory": "nodedevd",
    "SystemCallArchitectures": "native",
    "SystemCallErrorNumber": "EPERM",
    "SystemCallFilter": "@system-service ~@privileged @resources",
    "UMask": "0077",
}
"""The sandbox of the daemon that reads."""
OUTSIDE = {
    *("ExecReload", "ExecStart", "LimitNOFILE", "MemoryHigh", "MemoryMax", "Restart"),
    *("RuntimeDirectoryPreserve", "TimeoutStopSec", "Type", "WatchdogSec"),
}
"""Its settings that are no part of that."""


def test_daemon_that_reads_has_no_rights_of_the_service_that_changes() -> None:
    """Not one setting of its sandbox is weaker, or missing; it starts and needs no other unit."""
    reader = unit("nodedevd.service")
    sandbox = {key: value for key, value in reader["Service"].items() if key not in OUTSIDE}
    assert sandbox == READER
    assert "control" not in "".join(reader["Unit"].values()) + "".join(reader["Install"].values())
    assert "control" not in "".join(unit("nodedevd.socket")["Socket"].values())


def test_control_socket_is_for_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies where clients look for it, and its group is the one that may ask."""
    monkeypatch.delenv("NODEDEVD_CONTROL_SOCKET", raising=False)
    socket = unit("nodedevd-control.socket")["Socket"]
    assert socket["ListenStream"] == socket_paths.control_socket_path()
    assert int(socket["SocketMode"], 8) == control_daemon.Options().socket_mode == 0o660
    assert (socket["SocketUser"], socket["SocketGroup"]) == ("root", "nodedevd")
    assert Configuration().groups == (socket["SocketGroup"],)
    snippet = (UNITS / "nodedevd-control.sysusers").read_text().splitlines()
    assert f"g {socket['SocketGroup']} -" in snippet


def test_control_service_is_started_by_its_socket_alone() -> None:
    """To enable it enables the socket; nothing else of the project does."""
    install = unit("nodedevd-control.service")["Install"]
    assert dict(install) == {"Also": "nodedevd-control.socket"}
    assert unit("nodedevd-control.socket")["Install"]["WantedBy"] == "sockets.target"


def test_control_service_stops_in_its_own_time() -> None:
    """Systemd waits for changes in progress, and kills no write that hangs."""
    service = unit("nodedevd-control.service")["Service"]
    assert service["Type"] == "notify"
    assert service["KillMode"] == "process"
    stop = float(service["TimeoutStopSec"].removesuffix("s"))
    assert stop > control_daemon.STOP_SECONDS + daemon.STOP_SECONDS + 4


def test_layout_is_applied_before_what_hands_devices_to_guests() -> None:
    """Wherever a file may be; what is not as declared is no failure, and the directory stays."""
    lines = (UNITS / "nodedevd-layout.service").read_text().splitlines()
    given: dict[str, list[str]] = {}
    for key, equals, value in (line.partition("=") for line in lines if line[:1] not in ("#", "")):
        if equals:
            given.setdefault(key, []).append(value)
    before = " ".join(given["Before"]).split()
    for name in ("libvirtd", "virtqemud", "virtnodedevd", "nova-compute", "kubelet"):
        assert f"{name}.service" in before
    assert given["ConditionDirectoryNotEmpty"] == [f"|{one}" for one in DIRECTORIES]
    assert Path("/run", *given["RuntimeDirectory"]) == Path("/", control_daemon.LAYOUT)
    assert (given["Type"], given["RemainAfterExit"]) == (["oneshot"], ["yes"])
    ends = {EXIT_FAILURE, EXIT_TIMEOUT, EXIT_NO, EXIT_LEFT}
    assert set(map(int, given["SuccessExitStatus"][0].split())) == ends | {124, 137}
    limit, _, command = given["ExecStart"][0].partition(" /usr/bin/nodedevctl ")
    assert limit == "/usr/bin/timeout --kill-after=10 240"  # before systemd's, which is a failure
    assert given["TimeoutStartSec"] == ["5min"]
    arguments = command.split()
    assert CliRunner().invoke(main, [*arguments, "--help"]).exit_code == 0
    assert given["CapabilityBoundingSet"] == [""]


def test_rules_start_the_service_for_a_directory_that_its_units_make() -> None:
    """Each only if its unit is active."""
    text = (UNITS / "90-nodedevd-control.rules").read_text()
    rules = [line for line in text.splitlines() if not line.startswith("#")]
    directories = (control_daemon.AUTOSTART, control_daemon.LAYOUT)
    assert [next(one for one in directories if f'TEST=="/{one}"' in rule) for rule in rules] == [
        control_daemon.AUTOSTART,
        control_daemon.LAYOUT,
        control_daemon.LAYOUT,
        control_daemon.LAYOUT,
    ]
    start = 'RUN+="/usr/bin/systemctl start --no-block nodedevd-control.service"'
    assert all(rule.endswith(start) for rule in rules)
    [functions] = [rule for rule in rules if 'TEST=="physfn"' in rule]
    assert functions.startswith('ACTION=="bind", SUBSYSTEM=="pci", ')
    assert f'TEST=="{vgpu.CURRENT}"' in functions, "vendor VFIO has no event of its own"


def test_control_service_can_write_where_it_has_to() -> None:
    """A journal that outlives it, definitions, and /sys, which `strict` leaves alone, in part."""
    service = unit("nodedevd-control.service")["Service"]
    assert Path("/run") / service["RuntimeDirectory"] == Path("/", STATE)
    assert service["RuntimeDirectoryMode"] == "0700"
    assert service["RuntimeDirectoryPreserve"] == "yes"
    assert service["ConfigurationDirectory"] == "mdevctl.d"
    assert service["ProtectSystem"] == "strict"
    assert "ProtectKernelTunables" not in service
    read_only = service["ReadOnlyPaths"].split()
    assert "/proc/sys" in read_only
    assert not {"/sys", "/sys/bus", "/sys/class", "/sys/devices"} & {
        one.lstrip("-") for one in read_only
    }
    for hides in ("PrivateNetwork", "PrivateDevices", "InaccessiblePaths", "TemporaryFileSystem"):
        assert hides not in service
    # Whether a device is open can be told only by who sees all processes.
    assert "ProtectProc" not in service
    assert service["CapabilityBoundingSet"] == "CAP_SYS_PTRACE CAP_DAC_READ_SEARCH"


@pytest.mark.parametrize("name", ["nodedevd-metrics.service", "nodedevd-metrics-textfile.service"])
def test_metrics_have_no_rights_beside_those_of_a_user(name: str) -> None:
    """No capability, no network, no device; not one setting is weaker than the daemon's."""
    service = unit(name)["Service"]
    outside = {"RuntimeDirectory", "UMask", "AppArmorProfile"}  # no profile of its own
    weaker = {
        key: service.get(key)
        for key, value in READER.items()
        if key not in outside and service.get(key) != value
    }
    assert weaker == {"CapabilityBoundingSet": "", "RestrictAddressFamilies": "AF_UNIX"}
    assert {service[key] for key in ("PrivateNetwork", "PrivateDevices")} == {"yes"}
    if name == "nodedevd-metrics.service":
        assert service["DynamicUser"] == "yes"
        assert "ReadWritePaths" not in service
    else:
        command = service["ExecStart"].split()
        assert command[1:3] == ["--socket", unit("nodedevd.socket")["Socket"]["ListenStream"]]
        assert Path(command[-1]).parent == Path(service["ReadWritePaths"].removeprefix("-"))


def test_metrics_are_served_where_an_administrator_enables_them() -> None:
    """Nothing else starts them, and both sockets start the one service."""
    for name in ("nodedevd-metrics", "nodedevd-metrics-report"):
        socket = unit(f"{name}.socket")
        assert socket["Socket"]["Service"] == "nodedevd-metrics.service"
        assert socket["Install"]["WantedBy"] == "sockets.target"
    for path in UNITS.glob("*.service"):
        if not path.name.startswith("nodedevd-metrics"):
            assert "metrics" not in path.read_text()
    address, _, _ = unit("nodedevd-metrics.socket")["Socket"]["ListenStream"].rpartition(":")
    assert address == "127.0.0.1"
