"""What test_before_reboot.py has left, in the VM after a reboot."""

from __future__ import annotations

import json
from pathlib import Path

from tests.vm.guest import control, layout, vm
from tests.vm.guest.test_before_reboot import MDEV

UUIDS = json.loads((vm.OUT / "defined.json").read_text())
STARTED = {UUIDS[name] for name in ("ours", "mdevctl's", "late")}


def test_what_is_defined_with_autostart_is_back() -> None:
    """What its parent was there for at the boot, and what the parent came late for: mdpy."""
    assert {uuid for _, uuid in control.defined()} == {MDEV, *UUIDS.values()}
    vm.until(lambda: control.active().keys() >= STARTED, "for mdevs to be started")
    found = {one.name: one.origin for one in control.made()}
    assert {found[vm.mdev_name(one)] for one in STARTED} <= {"definition", "layout"}
    of_layout = [name for name, origin in found.items() if origin == "layout"]
    assert len(control.active()) == len(STARTED | {MDEV}) + len(
        [one for one in of_layout if one != vm.mdev_name(MDEV)]
    )
    assert control.journal() == []


def test_what_cannot_be_started_is_reported() -> None:
    """Its parent is not there."""
    (waiting,) = control.status().not_started
    assert UUIDS["absent"] in str(waiting)


def test_host_is_as_its_layout_declares() -> None:
    """All of it, also the card whose module came while the unit was waiting."""
    vm.until(lambda: state(layout.UNIT, "ActiveState") == "active", "for the unit to end")
    layout.nodedevctl("layout", "status")
    layout.nodedevctl("wait", "--layout", "--timeout", "0")
    assert layout.types("mbochs").count("mbochs-small") >= 2
    assert (vm.MDEVS / MDEV).exists()
    assert control.journal() == []


def test_layout_was_there_before_libvirtd_started() -> None:
    """The mdevs of the layout were there, and the unit had ended."""
    vm.until(lambda: state("libvirtd.service", "ActiveState") == "active", "for libvirtd's unit")
    assert MDEV in Path("/run/mdevs-at-start").read_text().split()
    ended = int(state(layout.UNIT, "ActiveEnterTimestampMonotonic"))
    began = int(state("libvirtd.service", "InactiveExitTimestampMonotonic"))
    assert 0 < ended <= began


def state(unit: str, name: str) -> str:
    """Return a property of a unit."""
    return vm.run("systemctl", "show", unit, "--value", f"--property={name}").strip()
