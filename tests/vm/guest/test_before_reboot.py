"""Definitions are made here, after all other tests, and left for after_reboot.py."""

from __future__ import annotations

import json

from tests.vm.guest import vm


def test_definitions_are_left_for_the_next_boot() -> None:
    """One that mdevctl has made."""
    one = vm.new_uuid()
    vm.run("mdevctl", "define", "-u", one, "-p", "mtty", "-t", "mtty-1", "--auto")
    (vm.OUT / "defined.json").write_text(json.dumps({"mdevctl": one}))
    (vm.OUT / "reboot").touch()
