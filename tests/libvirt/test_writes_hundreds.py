"""Hundreds of mdevs made and removed by virsh at once, while other clients look."""

from __future__ import annotations

from pathlib import Path

from tests.libvirt.test_virsh import needs_virsh
from tests.libvirt.test_writes import ADDRESS, PARENT, SOCKET, TYPE, serving
from tests.support.trees import Tree
from tests.vm.guest.writes import load

NUMBER, WORKERS = 200, 24

pytestmark = needs_virsh


def test_mdevs_come_and_go_in_hundreds(tmp_path: Path) -> None:
    """Nothing is shown that is not, and all that is; each call has its effect or a reason."""
    with serving(tmp_path) as served:
        types = f"/sys/bus/pci/devices/{ADDRESS}/mdev_supported_types/{TYPE}"
        Tree(tmp_path / "host").file(f"{types}/available_instances", f"{NUMBER}\n")
        uri = f"nodedev:///system?socket={served.directory / SOCKET}"
        outcome = load.play(uri, NUMBER, WORKERS, PARENT, TYPE)
    print("\n".join(outcome.lines("nodedevd")))
    assert (outcome.failed, outcome.ghosts, outcome.missing, outcome.left) == ([], [], [], [])
    assert all(one.destroy is not None for one in outcome.lives)
    assert len(outcome.looks) > 10
