"""What test_before_reboot.py has left, in the VM after a reboot."""

from __future__ import annotations

import json

from tests.vm.guest import vm

DEFINED = json.loads((vm.OUT / "defined.json").read_text())


def test_definitions_are_back() -> None:
    """All that were left, and no other."""
    listed = json.loads(vm.run("mdevctl", "list", "--defined", "--dumpjson"))
    found = {
        uuid for parents in listed for some in parents.values() for one in some for uuid in one
    }
    assert found == set(DEFINED.values())
