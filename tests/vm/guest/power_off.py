"""The power is cut at each step of a layout that is applied; the next boot makes it whole.

Each boot of `python -m tests.vm.run --power-off` looks what the cut before it has left, applies the
layout up to the next point, and has the machine cut off there: QEMU is killed.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from nodedevd.actions.requests import ApplyLayout
from nodedevd.control.acting import STOP_AT, Acting
from nodedevd.control.asker import this_process
from tests.vm.guest import control, layout, vm
from tests.vm.guest.test_control_kill import in_child
from tests.vm.guest.test_layout import MTTY, UUID, points

POINTS, DONE, CUT = vm.OUT / "points.json", vm.OUT / "points-done", vm.OUT / "cut"


def test_layout_is_whole_after_the_power_was_cut() -> None:
    """And the power is cut once more, at the next point."""
    if not POINTS.exists():
        prepare()
    else:
        vm.until(lambda: state() == "active", "for the layout to be applied")
        layout.nodedevctl("layout", "status")
        assert layout.types("mtty") == ["mtty-1", "mtty-1", "mtty-2"]
        assert set(control.defined()) == {("mtty", UUID)}
        assert control.journal() == []
    found = json.loads(POINTS.read_text())
    done = int(DONE.read_text()) if DONE.exists() else 0
    if done < len(found):
        DONE.write_text(str(done + 1))
        cut(found[done])
    assert len(found) > 10


def state() -> str:
    """Return the state of the layout's unit."""
    return vm.run("systemctl", "show", layout.UNIT, "--value", "-p", "ActiveState").strip()


def prepare() -> None:
    """Have the layout applied at each boot, and note the points at which that can be cut off."""
    layout.declare(MTTY)
    Path("/etc/modules-load.d/mtty.conf").write_text("mtty\n")
    vm.run("systemctl", "enable", "-q", layout.UNIT, control.SOCKET_UNIT)

    def look() -> None:
        # What ends a change, and what begins the next one, are no different to a disk.
        POINTS.write_text(json.dumps([one for one in points(Acting("/")) if "ended" not in one]))

    assert in_child(look) == 0


def cut(point: str) -> None:
    """Apply the layout to a host that has nothing of it, up to a point, and lose the power."""
    vm.run("systemctl", "stop", layout.UNIT, control.UNIT, control.SOCKET_UNIT)
    vm.remove_mdevs()
    os.sync()

    def apply() -> None:
        os.environ[STOP_AT] = point
        Acting("/").apply_layout(ApplyLayout(), this_process())

    assert in_child(apply) == -signal.SIGKILL, point
    CUT.touch()
    time.sleep(vm.PATIENCE_SECONDS)
    raise AssertionError("the power was not cut")
