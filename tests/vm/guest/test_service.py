"""nodedevd by its own units, on a real systemd: activation, readiness, watchdog, confinement."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nodedevd.client import Client
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.system import System
from tests.support.watcher import devices_of_daemon
from tests.vm.guest import vm

SERVICE = "nodedevd.service"
DROP_IN = Path(f"/etc/systemd/system/{SERVICE}.d/config-space.conf")


def state() -> str:
    """Return systemd's word for how the service is."""
    return vm.service("ActiveState")["ActiveState"]


def test_service_is_ready_when_it_says_so() -> None:
    """By sd_notify: the status text is the daemon's own, and so is the process."""
    told = vm.service("Type", "ActiveState", "SubState", "MainPID", "StatusText")
    assert (told["Type"], told["ActiveState"], told["SubState"]) == ("notify", "active", "running")
    assert "devices, read in" in told["StatusText"]
    with Client(str(vm.SOCKET)) as client:
        assert client.status().pid == int(told["MainPID"])


def test_first_client_starts_the_service() -> None:
    """The socket is systemd's: it is there while no daemon is, and nobody is refused."""
    vm.run("systemctl", "stop", SERVICE)
    told = vm.service("ActiveState", "Result", "ExecMainStatus")
    assert told == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
    assert sum(vm.nodedevctl("status", "--json")["state_counts"].values()) == len(vm.fresh())
    assert state() == "active"


def test_service_is_found_in_the_registry_of_varlink() -> None:
    """By the name of its interface; also by systemd's own client, where that is new enough."""
    link = Path("/run/varlink/registry/org.nodedevd.Devices")
    assert link.readlink() == vm.SOCKET
    with Client(str(link)) as client:
        assert client.status().pid
    if shutil.which("varlinkctl"):  # since systemd 255
        told = vm.run("varlinkctl", "call", link, "org.nodedevd.Devices.GetStatus", "{}")
        assert '"generation"' in told
        assert "org.nodedevd.Devices" in vm.run("varlinkctl", "info", link)


def test_confinement_hides_nothing() -> None:
    """The daemon does not need what its unit takes: a process without limits sees no more."""
    told, true = devices_of_daemon(vm.SOCKET), vm.fresh()
    assert told == true
    assert all(device["errors"] == [] for device in told.values())
    with Client(str(vm.SOCKET)) as client:
        status, devices = client.status(), client.snapshot().devices
    assert status.privileged
    # These take root, and capabilities that the unit leaves.
    system = next(device.capability(System) for device in devices if device.name == "computer")
    dmi = Path("/sys/class/dmi/id/product_uuid").read_text().strip()
    assert system is not None
    assert str(system.hardware.uuid).lower() == dmi.lower()
    assert any((pci := device.capability(Pci)) and pci.pci_express for device in devices)


def test_service_without_a_drop_in_sees_all_but_links(tmp_path: Path) -> None:
    """Serial numbers in DMI are root's without a capability; configuration space has an end."""
    true = vm.fresh()
    kept = tmp_path / "kept"
    try:
        shutil.move(DROP_IN, kept)
        restart()
        told = devices_of_daemon(vm.SOCKET)
        with Client(str(vm.SOCKET)) as client:
            system = client.describe("computer").capability(System)
    finally:
        shutil.move(kept, DROP_IN)
        restart()
    dmi = Path("/sys/class/dmi/id/product_uuid").read_text().strip()
    assert system is not None
    assert str(system.hardware.uuid).lower() == dmi.lower()
    assert told.keys() == true.keys()
    refused = 0
    for name, device in told.items():
        faults = {(one["attribute"], one["code"]) for one in device["errors"]}
        assert faults <= {("config", "refused")}, name
        refused += bool(faults)
        assert without_link(device) == without_link(true[name])
    assert refused


def restart() -> None:
    """Restart the service with the drop-ins that are there now."""
    vm.run("systemctl", "daemon-reload")
    vm.run("systemctl", "restart", SERVICE)


def without_link(device: dict[str, Any]) -> dict[str, Any]:
    """Return a device without its PCI Express link and what says that it is unknown."""
    capabilities = [{**one, "pci_express": None} for one in device["capabilities"]]
    return {**device, "errors": [], "capabilities": capabilities}


def test_user_gets_no_serial_number_of_the_host() -> None:
    """Nor the UUID: the files are root's."""
    code = f"""
import os, nodedevd.client
from nodedevd.kinds.system import System
os.setuid(65534)
with nodedevd.client.Client({str(vm.SOCKET)!r}) as client:
    computer = client.describe("computer")
    hardware = computer.capability(System).hardware
    print(hardware.serial, hardware.uuid)
"""
    told = vm.run(sys.executable, "-c", code).split()
    assert told == ["None", "None"]


def test_daemon_starts_no_process(tmp_path: Path) -> None:
    """None that it has waited for since it began, and none that is there.

    Without systemd, which makes children of its own while it sets up the sandbox in what becomes
    the daemon.
    """
    path = tmp_path / "nodedevd.sock"
    with subprocess.Popen(["nodedevd", "--socket", path]) as daemon:
        try:
            vm.until(path.exists)
            with Client(str(path)) as client:
                client.snapshot()
                client.dump_xml()
                daemon.send_signal(signal.SIGHUP)
                vm.until(lambda: client.status().rescans > 0)
            stat = Path("/proc", str(daemon.pid), "stat").read_text().rpartition(")")[2].split()
            # Page faults and time of children, proc_pid_stat(5).
            assert [stat[8], stat[10], stat[13], stat[14]] == ["0"] * 4
        finally:
            daemon.terminate()
    process = vm.service("MainPID")["MainPID"]
    group = Path("/sys/fs/cgroup/system.slice", SERVICE, "cgroup.procs").read_text().split()
    assert group == [process]


def test_stuck_daemon_is_replaced_by_the_watchdog() -> None:
    """Stopped, it says no more that it is alive; systemd ends it and starts another."""
    before = vm.service("NRestarts", "MainPID", "WatchdogUSec")
    assert before["WatchdogUSec"] == "30s"
    os.kill(int(before["MainPID"]), 19)  # SIGSTOP
    vm.until(lambda: int(vm.service("NRestarts")["NRestarts"]) == int(before["NRestarts"]) + 1)
    with Client(str(vm.SOCKET)) as client:  # waits in systemd's socket, and is answered
        assert client.status().pid != int(before["MainPID"])
    log = vm.run("journalctl", "-qb", f"--unit={SERVICE}", "-o", "cat")
    assert "Watchdog timeout" in log


@pytest.mark.usefixtures("no_mdevs")
def test_definition_is_followed_in_its_directory() -> None:
    """The daemon may not write there, but read; mdevs start, stop, and are what they were."""
    one = vm.new_uuid()
    vm.run("mdevctl", "define", "-u", one, "-p", "mtty", "-t", "mtty-2")
    with vm.watching(vm.mdev_name(one)) as watcher:
        watcher.until(lambda: vm.mdev_name(one) in watcher.devices)
        assert vm.mdev(watcher.devices[vm.mdev_name(one)]).state == "inactive"
        # Defined for a parent that is there, and in no IOMMU group as long as it is not.
        assert vm.mdev(watcher.devices[vm.mdev_name(one)]).iommu_group is None
        vm.run("mdevctl", "start", "-u", one)
        watcher.until(lambda: vm.complete(watcher.devices, one))
        assert vm.mdev(watcher.devices[vm.mdev_name(one)]).defined
        listed = json.loads(vm.run("mdevctl", "list", "--dumpjson"))
        assert one in json.dumps(listed)
        vm.run("mdevctl", "stop", "-u", one)
        watcher.until(lambda: vm.mdev(watcher.devices[vm.mdev_name(one)]).state == "inactive")
        vm.run("mdevctl", "undefine", "-u", one)
        watcher.until(lambda: vm.mdev_name(one) not in watcher.devices)
