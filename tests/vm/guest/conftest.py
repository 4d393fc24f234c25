"""What the VM has beside its hardware, the daemons, and the tables at the end of the report."""

from __future__ import annotations

from collections.abc import Iterator

import libvirt
import pytest

from nodedevd.client import Client
from tests.vm.guest import vm

MODULES = (
    "scsi_debug",
    "netdevsim",
    "vdpa_sim_net",
    "vhost_vdpa",
    "mac80211_hwsim",
    "zram",
    "null_blk",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is left for the next boot is made last."""
    items.sort(key=lambda item: item.path.stem == "test_before_reboot")


@pytest.fixture(scope="session", autouse=True)
def devices() -> None:
    """Make devices by modules, while nodedevd runs: the samples' parents, disks, interfaces."""
    vm.run("modprobe", "-a", *vm.SAMPLES, *MODULES)
    vm.write("/sys/bus/netdevsim/new_device", "1 2")
    vm.run("vdpa", "dev", "add", "name", "vdpa0", "mgmtdev", "vdpasim_net")
    for words in (
        "link add br0 address 52:54:00:00:01:00 type bridge",
        "link add veth0 address 52:54:00:00:01:01 type veth peer name veth1",
        "link add link br0 name vlan7 type vlan id 7",
        "link set enp5s0 up",
    ):
        vm.run("ip", *words.split())
    vm.settle()


@pytest.fixture(scope="session")
def libvirtd(devices: None) -> vm.Libvirt:
    """Start libvirt's own daemon, and connect."""
    libvirt.registerErrorHandler(lambda *_: None, None)
    vm.start_libvirtd()
    return vm.Libvirt(vm.LIBVIRTD).complete()


@pytest.fixture(scope="module", autouse=True)
def _nothing_missed(request: pytest.FixtureRequest, devices: None) -> Iterator[None]:
    """After each file the daemon reports the truth, and nothing was lost on the way.

    A file with READS_HANG has the kernel hold devices whose attributes then cannot be read: what
    is found later counts as missed.
    """
    pid, losses, lines = status_of_daemon()
    yield
    vm.assert_true()
    pid_now, losses_now, lines_now = status_of_daemon()
    # Another process begins to count anew; what a file before has lost is not held against this.
    lost = losses if pid_now == pid else (0, 0, 0)
    counted = 2 if getattr(request.module, "READS_HANG", False) else 3
    assert losses_now[:counted] == lost[:counted]
    assert lines_now[len(lines) :] == []
    # That of a program of test_apparmor is asked for; the services have names of their own.
    assert [line for line in vm.denied() if 'comm="python3"' not in line] == []


def status_of_daemon() -> tuple[int, tuple[int, int, int], list[str]]:
    """Return the daemon's process, its counts of what it has lost, and its warnings so far."""
    with Client(str(vm.SOCKET)) as client:
        status = client.status()
    assert not status.unanswered_reads
    # Faults are logged as warnings or worse. Under emulation a read may take as long as one
    # that hangs; then the device is read again.
    words = ("-qb", "_SYSTEMD_UNIT=nodedevd.service", "-p", "warning", "-o", "cat")
    lines = [
        line
        for line in vm.run("journalctl", *words).splitlines()
        if "has not returned for" not in line
    ]
    return status.pid, (status.overflows, status.monitor_errors, status.missed_changes), lines


@pytest.fixture(autouse=True)
def _restored(devices: None) -> Iterator[None]:
    """Undo what a test that failed has left, so that the next one does not fail for it."""
    yield
    vm.start_service()
    vm.load_samples()
    vm.remove_fences()


@pytest.fixture
def no_mdevs(_restored: None) -> Iterator[None]:
    """Remove the mdevs and definitions that a test has left."""
    yield
    vm.remove_mdevs()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was counted and measured."""
    terminalreporter.section("figures")
    for line in vm.figures:
        terminalreporter.write_line(line)
