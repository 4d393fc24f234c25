"""Definitions are made here, after all other tests, and left for after_reboot.py."""

from __future__ import annotations

import json
from pathlib import Path

from tests.vm.guest import control, vm


def test_definitions_are_left_for_the_next_boot() -> None:
    """Of two parents, of which one comes with the boot and one late; by both who define."""
    defined = {
        "ours": ("mtty", "mtty-2", True),
        "mdevctl's": ("mtty", "mtty-1", True),
        "manual": ("mtty", "mtty-1", False),
        "late": ("mdpy", "mdpy-vga", True),
        "absent": ("0000:ff:00.0", "none-1", True),
    }
    uuids = {name: vm.new_uuid() for name in defined}
    with control.enabled() as client:
        for name, (parent, type_id, autostart) in defined.items():
            one = uuids[name]
            if name == "mdevctl's":
                vm.run("mdevctl", "define", "-u", one, "-p", parent, "-t", type_id, "--auto")
            else:
                client.define(type_id, parent, uuid=one, autostart=autostart)
    assert control.defined().keys() == {
        (parent, uuids[name]) for name, (parent, *_) in defined.items()
    }
    vm.run("systemctl", "enable", "-q", control.AUTOSTART, control.SOCKET_UNIT)
    Path("/etc/modules-load.d/mtty.conf").write_text("mtty\n")
    (vm.OUT / "defined.json").write_text(json.dumps(uuids))
    (vm.OUT / "reboot").touch()
