"""Without the control service nothing changes, and what reads stays as it is with it."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from nodedevd.actions.requests import REQUESTS
from nodedevd.cli.main import main
from nodedevd.client import Control
from nodedevd.errors import NoControl
from tests.vm.guest import control, vm

COMMANDS = {
    "create": "create mtty-2",
    "remove": "remove {uuid}",
    "define": "define mtty-2 mtty",
    "undefine": "undefine {uuid}",
    "start": "start {uuid}",
    "stop": "stop {uuid}",
    "modify": "modify {uuid} --type mtty-1",
    "set-autostart": "autostart {uuid}",
    "set-virtual-functions": "vfs pci_0000_01_00_0 1",
    "bind": "bind pci_0000_01_00_0 vfio-pci",
    "unbind": "unbind pci_0000_01_00_0",
}
NOBODY, NO_SERVICE = 65534, 3
ENABLE = "systemctl enable --now nodedevd-control.socket"
CONFINED = (
    *("CapabilityBoundingSet", "AmbientCapabilities", "SystemCallFilter", "SystemCallErrorNumber"),
    *("ProtectSystem", "ReadWritePaths", "NoNewPrivileges", "RestrictAddressFamilies", "ExecStart"),
)


@pytest.fixture(autouse=True)
def _no_mdevs(no_mdevs: None) -> Iterator[None]:
    """Have one mdev, and one definition."""
    return iter([None])


def as_nobody(command: str, errors: Path) -> int:
    """Run a command of nodedevctl as a user without rights; return its exit status."""
    errors.touch()
    errors.chmod(0o666)
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 99
    try:
        with open(errors, "w") as file, redirect_stderr(file), redirect_stdout(io.StringIO()):
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            sys.argv = ["nodedevctl"]
            main(args=command.split(), prog_name="nodedevctl")
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        os._exit(status)


def test_every_write_is_refused_with_the_line_that_enables_it(tmp_path: Path) -> None:
    """By the client of each method and by each command; nothing on the host changes."""
    assert {one.action for one in REQUESTS.values()} == COMMANDS.keys()
    one = vm.new_uuid()
    vm.create("mtty", one)
    vm.run("mdevctl", "define", "-u", one)
    before = (control.active(), control.defined())
    assert not control.SOCKET.exists()
    with pytest.raises(NoControl, match=ENABLE):
        Control()
    for action, command in COMMANDS.items():
        errors = tmp_path / action
        status = as_nobody(command.format(uuid=one), errors)
        text = " ".join(errors.read_text().split())
        assert (status, ENABLE in text) == (NO_SERVICE, True), (command, status, text)
    assert (control.active(), control.defined()) == before
    assert control.journal() == []


def test_root_needs_no_service() -> None:
    """In its own process, by the same code, journal and records."""
    made = vm.nodedevctl("create", "mtty-2", "--owner=vm-1", "--json")
    (one,) = control.active()
    assert vm.mdev_name(one) in str(made)
    assert control.journal() == []
    # The service, once it is enabled, knows whose it is.
    with control.enabled():
        assert [(made.name, made.owner) for made in control.made()] == [(vm.mdev_name(one), "vm-1")]
        vm.run("nodedevctl", "remove", one, "--owner=vm-1")
    assert control.active() == {}


def confinement() -> dict[str, str]:
    """Return what systemd and the kernel say of the rights of the daemon that reads."""
    pid = vm.service("MainPID")["MainPID"]
    lines = Path("/proc", pid, "status").read_text().splitlines()
    words = ("Cap", "Seccomp", "NoNewPrivs", "Uid", "Gid", "Groups")
    told = dict(line.split(":\t", 1) for line in lines if line.startswith(words))
    wanted = vm.service(*(name for name in CONFINED if name != "ExecStart"))
    return {**told, **wanted, "pid": pid}


def test_daemon_that_reads_is_what_it_was() -> None:
    """Its process goes on with the rights it had, starts none, and serves no way to write."""
    vm.start_service()
    before = confinement()
    assert before["CapBnd"] == before["CapEff"]
    assert before["Seccomp"] == "2"
    with control.enabled() as client:
        made = client.create("mtty-2", ["mtty"])
        assert confinement() == before
        client.remove(made.devices[0].name)
    assert confinement() == before
    group = Path("/sys/fs/cgroup/system.slice/nodedevd.service/cgroup.procs").read_text().split()
    assert group == [before["pid"]]
