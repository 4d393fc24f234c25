"""What test_before_reboot.py has left, in the VM after a reboot."""

from __future__ import annotations

import json

from tests.vm.guest import control, vm

UUIDS = json.loads((vm.OUT / "defined.json").read_text())
STARTED = {UUIDS[name] for name in ("ours", "mdevctl's", "late")}


def test_what_is_defined_with_autostart_is_back() -> None:
    """What its parent was there for at the boot, and what the parent came late for: mdpy."""
    assert {uuid for _, uuid in control.defined()} == set(UUIDS.values())
    vm.until(lambda: control.active().keys() >= STARTED, "for mdevs to be started")
    assert control.active().keys() == STARTED
    found = {one.name: one.origin for one in control.made()}
    assert {found[vm.mdev_name(one)] for one in STARTED} == {"definition"}
    assert control.journal() == []


def test_what_cannot_be_started_is_reported() -> None:
    """Its parent is not there."""
    (waiting,) = control.status().not_started
    assert UUIDS["absent"] in str(waiting)
