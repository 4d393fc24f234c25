"""Writes of libvirt's clients: the same on libvirtd and on nodedevd, but for known differences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.vm.guest import control, vm
from tests.vm.guest.writes import load
from tests.vm.guest.writes.calls import CLIENTS
from tests.vm.guest.writes.compare import compare
from tests.vm.guest.writes.differences import DIFFERENCES
from tests.vm.guest.writes.play import Player
from tests.vm.guest.writes.records import Noted, keep
from tests.vm.guest.writes.script import script

DROP_IN = "nodedevd-libvirt-writes.conf"
INSTALLED = Path("/etc/systemd/system/nodedevd.service.d", DROP_IN)
BURST, WORKERS, ROUNDS = 200, 16, 15

pytestmark = [pytest.mark.exhaustive, pytest.mark.usefixtures("no_mdevs")]


@pytest.fixture(scope="module")
def writable(devices: None) -> Iterator[None]:
    """Have nodedevd pass on the writes of libvirt's clients."""
    with control.enabled():
        INSTALLED.parent.mkdir(exist_ok=True)
        INSTALLED.write_text(Path("/share/systemd", DROP_IN).read_text())
        vm.run("systemctl", "daemon-reload")
        vm.run("systemctl", "restart", "nodedevd.service")
        yield
        INSTALLED.unlink()
        vm.run("systemctl", "daemon-reload")
        vm.run("systemctl", "restart", "nodedevd.service")


@contextmanager
def without(libvirtd: vm.Libvirt) -> Iterator[None]:
    """Have libvirtd stopped, so that the processor is the other daemon's."""
    vm.run("systemctl", "stop", vm.LIBVIRTD_UNIT)
    try:
        yield
    finally:
        vm.start_libvirtd()
        libvirtd.connect()
        libvirtd.complete()


def never() -> None:
    """Refuse to start nodedevd again, which has to survive all of it."""
    pytest.fail("nodedevd has ended")


def played(daemon: str, uri: str, client: str) -> list[Noted]:
    """Play the script, keep what came of it for outside, and return it."""
    unit, restart = (
        (vm.LIBVIRTD_UNIT, vm.restart_libvirtd)
        if daemon == "libvirtd"
        else ("nodedevd.service", never)
    )
    kill = partial(vm.run, "systemctl", "kill", "--signal=KILL", unit)
    player = Player(uri, CLIENTS[client], print, kill, restart)
    try:
        script(player)
    finally:
        keep(player.noted, vm.OUT / f"writes/{daemon}-{client}.json")
        player.close()
        vm.remove_mdevs()
    return player.noted


@pytest.mark.parametrize("client", CLIENTS)
def test_both_do_the_same(libvirtd: vm.Libvirt, writable: None, client: str) -> None:
    """Each call: what the client makes of it, the events, the files, the mdevs."""
    theirs = played("libvirtd", vm.LIBVIRTD, client)
    with without(libvirtd):
        ours = played("nodedevd", vm.NODEDEVD, client)
    result = compare(theirs, ours, DIFFERENCES)
    vm.figures.append(
        f"writes by {client}: {result.calls} calls, the same in all {result.equal};"
        f" by difference: {dict(result.used)}"
    )
    assert result.unexplained == [], "\n".join(result.unexplained)
    assert [one.call for one in ours if one.astray] == []


def test_mdevs_come_and_go_in_hundreds(libvirtd: vm.Libvirt, writable: None) -> None:
    """By virsh, beside lists and reads of XML: nothing that is not, and all that is, is shown."""
    vm.run("modprobe", "-r", "mtty")
    vm.run("modprobe", "mtty_big")
    vm.settle()
    try:
        libvirtd.complete()
        theirs = load.play(vm.LIBVIRTD, BURST, WORKERS)
        vm.remove_mdevs()
        with without(libvirtd):
            ours = load.play(vm.NODEDEVD, BURST, WORKERS)
    finally:
        vm.remove_mdevs()
        vm.run("modprobe", "-r", "mtty_big")
        vm.load_samples()
    vm.figures.append("calls by virsh, ms: median, p95, maximum")
    vm.figures.extend([*theirs.lines("libvirtd"), *ours.lines("nodedevd")])
    assert (ours.ghosts, ours.missing, ours.failed, ours.left) == ([], [], [], [])
    assert all(one.destroy is not None for one in ours.lives)


def test_times_of_both(libvirtd: vm.Libvirt, writable: None) -> None:
    """One at a time; what is measured is printed, not judged."""
    vm.figures.append("calls by virsh, one write at a time, ms: median, p95, maximum")
    vm.figures.extend(load.play(vm.LIBVIRTD, ROUNDS, 1).lines("libvirtd"))
    vm.remove_mdevs()
    with without(libvirtd):
        vm.figures.extend(load.play(vm.NODEDEVD, ROUNDS, 1).lines("nodedevd"))
