"""A layout of the host: applied, followed, kept, and whole whatever interrupts it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nodedevd.actions.requests import ApplyLayout
from nodedevd.control.acting import STOP_AT, Acting
from nodedevd.control.asker import this_process
from nodedevd.control.view import View
from nodedevd.errors import MadeByOther
from nodedevd.layout.directories import DIRECTORIES
from tests.vm.guest import control, layout, vm
from tests.vm.guest.test_control_kill import in_child
from tests.vm.guest.vgpusim import CARD, Function, functions

pytestmark = pytest.mark.exhaustive

READS_HANG = True
UUID, OTHER = "5eed5eed-0000-4000-8000-0000000000b1", "5eed5eed-0000-4000-8000-0000000000b2"
CARD_NAME = "pci_" + CARD.name.replace(":", "_").replace(".", "_")
L40S_24Q = "1155"
NIC = "enp129s0"
MTTY = f"""
[[card]]
parent = "mtty"
vgpus = [{{ type = "mtty-1", count = 2 }}]
mdevs = [{{ uuid = "{UUID}", type = "mtty-2", autostart = true }}]
"""
SAMPLES = f"""{MTTY}
[[card]]
parent = "mdpy"
vgpus = [{{ type = "mdpy-vga", count = 2 }}, {{ type = "mdpy-xga", count = 1 }}]

[[card]]
parent = "mbochs"
vgpus = [{{ type = "mbochs-small", count = 3 }}]
"""
NVME = f"""
[[card]]
address = "{CARD.name}"
virtual_functions = 2
driver = "vfio-pci"
"""
PROFILES = f"""
[[card]]
address = "{CARD.name}"
vgpus = [{{ type = "{L40S_24Q}", count = 2 }}]
"""


@pytest.fixture(autouse=True)
def _nothing_left(devices: None) -> Iterator[None]:
    """Nothing is left of a test: no file, no mdev, no definition, no change in the journal."""
    layout.nothing_left()
    yield
    layout.nothing_left()
    assert control.journal() == []


@contextmanager
def bare_card() -> Iterator[None]:
    """Have a card whose virtual functions come without a driver; it has none in the end."""
    vm.run("modprobe", "vfio-pci")
    vm.write(CARD / "sriov_drivers_autoprobe", "0")
    try:
        yield
    finally:
        if number_of_functions():
            vm.write(CARD / "sriov_numvfs", "0")
        vm.write(CARD / "sriov_drivers_autoprobe", "1")
        vm.settle()


def number_of_functions() -> int:
    """Return how many virtual functions are enabled."""
    return int((CARD / "sriov_numvfs").read_text())


def drivers() -> list[str]:
    """Return the names of the drivers of the virtual functions."""
    links = [Function(number).path / "driver" for number in range(number_of_functions())]
    return [one.resolve().name for one in links if one.exists()]


# -- applied ------------------------------------------------------------------------------------


def test_samples_are_made_as_declared() -> None:
    """Mdevs of any UUID and of one, with its definition; all of them are the layout's."""
    with layout.declared(SAMPLES) as client:
        planned = client.apply_layout(dry_run=True)
        assert control.active() == {}
        assert {one.state for one in planned.cards} == {"drifted"}
        layout.in_sync(client)
        assert layout.types("mtty") == ["mtty-1", "mtty-1", "mtty-2"]
        assert layout.types("mdpy") == ["mdpy-vga", "mdpy-vga", "mdpy-xga"]
        assert layout.types("mbochs") == ["mbochs-small"] * 3
        assert control.defined()["mtty", UUID]["start"] == "auto"
        made = control.made("layout")
        assert len(made) == 9
        with pytest.raises(MadeByOther):
            client.remove(UUID)


def test_functions_and_their_driver_are_made_as_declared() -> None:
    """Of a disk with SR-IOV."""
    with bare_card(), layout.declared(NVME) as client:
        layout.in_sync(client)
        assert drivers() == ["vfio-pci", "vfio-pci"]


def test_profiles_are_made_as_declared() -> None:
    """With vendor VFIO; a full card is as declared although no function lists the type."""
    with functions(4) as found, layout.declared(PROFILES + "remove_unnamed = true\n") as client:
        layout.in_sync(client)
        assert Counter(one.current() for one in found) == {L40S_24Q: 2, "0": 2}
        # By its name, which was seen before the card was full.
        layout.declare(PROFILES.replace(L40S_24Q, "L40S-24Q") + "remove_unnamed = true\n")
        layout.in_sync(client)
        layout.declare(PROFILES.replace("count = 2", "count = 1") + "remove_unnamed = true\n")
        layout.in_sync(client)
        assert Counter(one.current() for one in found) == {L40S_24Q: 1, "0": 3}


def test_what_is_open_is_left_alone() -> None:
    """It is blocked by the process that has it open, and the rest is done."""
    with layout.declared(MTTY) as client:
        layout.in_sync(client)
        fewer = MTTY.replace('{ type = "mtty-1", count = 2 }', "") + "remove_unnamed = true\n"
        layout.declare(fewer)
        mdevs = [one for one, (_, of) in control.active().items() if of == "mtty-1"]
        with vm.opened(mdevs[0]):
            card = layout.only(layout.applied(client))
            assert card.state == "blocked"
            assert f"process {os.getpid()}" in " ".join(card.reasons)
            assert set(control.active()) == {UUID, mdevs[0]}
        layout.in_sync(client)
        assert set(control.active()) == {UUID}


def test_commands_say_what_is_different() -> None:
    """By their exit statuses, too; `wait` ends when the host is as declared."""
    with layout.declared(MTTY) as client:
        layout.nodedevctl("layout", "status", status=5)
        layout.nodedevctl("wait", "--layout", "--timeout", "0", status=4)
        waiting = subprocess.Popen(["nodedevctl", "wait", "--layout"])
        assert layout.nodedevctl("layout", "apply").startswith("mtty_mtty: in-sync")
        assert waiting.wait(vm.PATIENCE_SECONDS) == 0
        layout.nodedevctl("layout", "status")
        layout.nodedevctl("wait", "--layout", "--timeout", "0")
        layout.declare(MTTY.replace("vgpus", "vgpu"))
        layout.nodedevctl("layout", "apply", status=1)
        layout.nodedevctl("wait", "--layout", status=1)
        assert client.apply_layout().cards == ()
    layout.declare(MTTY)
    os.chmod(layout.FILE, 0o666)
    with control.enabled() as client:
        (problem,) = client.apply_layout().problems
        assert problem.code == "untrusted"
    layout.nodedevctl("layout", "check", status=5)
    layout.nodedevctl("wait", "--layout", status=1)


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_daemon_reads_the_files_of_each_directory(directory: str) -> None:
    """In its sandbox, and under AppArmor, too."""
    file = Path(directory, "20-test.toml")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(MTTY)
    try:
        vm.until(lambda: vm.described("mtty_mtty").layout is not None, f"for {file}")
    finally:
        file.unlink()
    vm.until(lambda: vm.described("mtty_mtty").layout is None, f"for the end of {file}")


# -- followed -----------------------------------------------------------------------------------


def test_driver_that_is_loaded_again_gets_its_mdevs_back() -> None:
    """Without being asked; what somebody removes meanwhile stays removed."""
    with layout.followed(MTTY):
        assert layout.types("mtty") == ["mtty-1", "mtty-1", "mtty-2"]
        vm.until(layout.SEEN.exists, "for the card to be seen")
        for _ in range(2):
            layout.unload("mtty")
            vm.run("modprobe", "mtty")
            vm.until(lambda: len(layout.types("mtty")) == 3, "for the mdevs to be back")
        vm.until(lambda: control.status().not_applied == (), "for the card to be as declared")
        vm.remove(UUID)
        vm.until(
            lambda: (
                [(one.state, one.waits) for one in control.status().not_applied]
                == [("drifted", False)]
            ),
            "for the change to be seen",
        )
        assert layout.types("mtty") == ["mtty-1", "mtty-1"]


def test_service_that_has_ended_is_started_by_the_driver() -> None:
    """It ends when it is idle; udev's rule starts it for a parent that is registered."""
    with control.configured("[limits]\nidle_seconds = 1\n"):
        layout.declare(MTTY)
        try:
            vm.run("systemctl", "start", layout.UNIT)
            layout.unload("mtty")
            state = ("systemctl", "show", "--value", "-p", "ActiveState", control.UNIT)
            vm.until(lambda: vm.run(*state).strip() == "inactive", "for the service to end")
            vm.run("modprobe", "mtty")
            vm.until(lambda: len(layout.types("mtty")) == 3, "for the mdevs to be back")
        finally:
            vm.run("systemctl", "stop", layout.UNIT)
            vm.run("systemctl", "stop", control.UNIT, control.SOCKET_UNIT)


def test_card_that_comes_by_hotplug_is_made_as_declared() -> None:
    """It is removed, and found again on its bus, where its driver takes it first."""
    nic = Path(f"/sys/class/net/{NIC}/device").resolve()
    vm.run("modprobe", "vfio-pci")
    with layout.followed(f'[[card]]\naddress = "{nic.name}"\ndriver = "vfio-pci"\n') as client:
        try:
            assert (nic / "driver").resolve().name == "vfio-pci"
            vm.until(layout.SEEN.exists, "for the card to be seen")
            vm.write(nic / "remove", "1")
            vm.until(lambda: not nic.exists(), "for the card to be gone")
            vm.write("/sys/bus/pci/rescan", "1")
            vm.until(lambda: driver_of(nic) == "vfio-pci", "for the card to be bound")
            vm.until(lambda: control.status().not_applied == (), "for the card to be as declared")
        finally:
            vm.run("systemctl", "stop", layout.UNIT)
            client.unbind(nic.name, force=True)
    vm.until(Path("/sys/class/net", NIC).exists, f"for {NIC} to be back")


def driver_of(path: Path) -> str | None:
    """Return the name of a driver."""
    link = path / "driver"
    return link.resolve().name if link.exists() else None


def test_unit_waits_for_a_card_that_comes_while_it_starts() -> None:
    """Its start ends when the card is as declared."""
    layout.unload("mdpy")
    layout.declare(SAMPLES)
    try:
        starting = subprocess.Popen(["systemctl", "start", layout.UNIT])
        vm.until(lambda: len(layout.types("mtty")) == 3, "for the cards that are there")
        assert starting.poll() is None
        vm.run("modprobe", "mdpy")
        assert starting.wait(vm.PATIENCE_SECONDS) == 0
        assert len(layout.types("mdpy")) == 3
    finally:
        vm.run("systemctl", "stop", layout.UNIT)
        vm.run("systemctl", "stop", control.UNIT, control.SOCKET_UNIT)


def test_card_that_is_kept_is_put_right() -> None:
    """Whoever changes it, and again."""
    with layout.followed(MTTY + "keep = true\n"):
        for _ in range(2):
            vm.remove(UUID)
            vm.until(lambda: UUID in control.active(), "for the mdev to be back")
            vm.until(lambda: control.status().not_applied == (), "for the card to be as declared")


# -- interrupted ---------------------------------------------------------------------------------


def points(acting: Acting) -> list[str]:
    """Apply the layout; return all points that are passed, each with its number."""
    passed: Counter[str] = Counter()
    found: list[str] = []

    def at(point: str) -> None:
        found.append(f"{point}@{passed[point]}")
        passed[point] += 1

    acting.context.at = at
    outcome = acting.apply_layout(ApplyLayout(), this_process())
    assert {one.state for one in outcome.cards} == {"in-sync"}
    return found


def state() -> object:
    """Return what the host has of the layouts of these tests."""
    profiles = [Function(number) for number in range(number_of_functions())]
    mdevs = sorted(control.active().values())
    return (
        mdevs,
        sorted(control.defined()),
        drivers(),
        [one.current() for one in profiles if (one.path / "nvidia").exists()],
    )


def killed_everywhere(tmp_path: Path, restore: str) -> None:
    """Kill what applies the layout at each point; the next attempt ends as declared."""
    found, whole = tmp_path / "points", tmp_path / "whole"

    def look() -> None:
        found.write_text("\n".join(points(Acting("/"))))
        whole.write_text(repr(state()))

    def killed(point: str) -> None:
        os.environ[STOP_AT] = point
        Acting("/", view=View("/")).apply_layout(ApplyLayout(), this_process())

    def taken_up() -> None:
        acting = Acting("/")
        acting.recover()
        outcome = acting.apply_layout(ApplyLayout(), this_process())
        assert [(one.state, one.refusals) for one in outcome.cards] == [
            ("in-sync", ()) for _ in outcome.cards
        ]
        assert control.journal() == []
        assert repr(state()) == whole.read_text()
        assert {one.origin for one in acting.made().devices} <= {"layout"}

    assert in_child(look) == 0
    for point in found.read_text().split():
        undo(restore)
        assert in_child(lambda point=point: killed(point)) == -signal.SIGKILL, point  # type: ignore[misc]
        assert in_child(taken_up) == 0, point
    undo(restore)


def undo(what: str) -> None:
    """Have the host as it was before, by other means than those that are tested."""
    if what == "mdevs":
        vm.remove_mdevs()
    elif what == "functions":
        vm.write(CARD / "sriov_numvfs", "0")
    else:
        for number in range(number_of_functions()):
            Function(number).set("0")
    vm.settle()


def test_killed_at_any_step_of_mdevs(tmp_path: Path) -> None:
    """Of any UUID, and of one that is defined."""
    layout.declare(MTTY)
    killed_everywhere(tmp_path, "mdevs")


def test_killed_at_any_step_of_functions(tmp_path: Path) -> None:
    """Their number, and the driver of each."""
    with bare_card():
        layout.declare(NVME)
        killed_everywhere(tmp_path, "functions")


def test_killed_at_any_step_of_profiles(tmp_path: Path) -> None:
    """With vendor VFIO."""
    with functions(2):
        layout.declare(PROFILES)
        killed_everywhere(tmp_path, "profiles")


def test_service_that_is_killed_goes_on_with_the_layout() -> None:
    """As installed: systemd starts it again, and it follows the layout as before."""
    vm.run("systemctl", "set-environment", f"{STOP_AT}=done:0@1")
    layout.declare(MTTY)
    try:
        subprocess.run(["systemctl", "start", layout.UNIT], check=False)
        vm.run("systemctl", "unset-environment", STOP_AT)
        vm.run("systemctl", "stop", layout.UNIT, control.UNIT, control.SOCKET_UNIT)
        vm.run("systemctl", "reset-failed")  # it was killed at each start
        vm.run("systemctl", "start", layout.UNIT)
        assert layout.types("mtty") == ["mtty-1", "mtty-1", "mtty-2"]
        assert control.journal() == []
    finally:
        vm.run("systemctl", "unset-environment", STOP_AT)
        vm.run("systemctl", "stop", layout.UNIT)
        vm.run("systemctl", "reset-failed")
        vm.run("systemctl", "stop", control.UNIT, control.SOCKET_UNIT)
