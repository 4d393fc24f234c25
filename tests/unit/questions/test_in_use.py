"""in_use: from the nodes of a host, and who holds them, to yes, no or unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from nodedevd.host.processes import Process, ProcessScan
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.in_use import REASONS, InUse, UseReason, VfioUsage, read_usage
from nodedevd.tree.read import scan
from tests.support.trees import Tree
from tests.support.vfio_host import BRIDGE, OTHER, QEMU, Host, held

ROOT = "/sys/devices/pci0000:00"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return the host."""
    return Host(tmp_path / "host")


def answer(look: VfioUsage, path: str) -> tuple[str, str | None, tuple[Process, ...]]:
    """Return what is told of a device."""
    use = look.use("it", path)
    return use.open, use.reason, use.holders


def test_mdev_whose_group_is_held_is_open(host: Host) -> None:
    """The group is the mdev's own."""
    seen = host.look(held("3"))
    assert answer(seen, host.mdev) == ("yes", None, (QEMU,))
    assert answer(seen, host.nic) == ("no", None, ())


def test_mdev_whose_own_node_is_held_is_open(host: Host) -> None:
    """Newer QEMU opens /dev/vfio/devices/vfioN and no group."""
    assert answer(host.look(held("devices/vfio7")), host.mdev) == ("yes", None, (QEMU,))


def test_device_with_two_holders_names_both(host: Host) -> None:
    """Who passes the node on may keep it, too."""
    assert answer(host.look(held("3"), held("3", by=OTHER)), host.mdev)[2] == (QEMU, OTHER)


def test_device_that_nobody_holds_is_not_open(host: Host) -> None:
    """All processes were looked at, and none has it."""
    seen = host.look()
    for path in (host.mdev, host.card, host.nic):
        assert answer(seen, path) == ("no", None, ())


@pytest.mark.parametrize("view", [{"unseen": 3}, {"hidden": True}])
def test_device_that_nobody_seen_holds_is_unknown_while_some_are_unseen(
    host: Host, view: dict[str, Any]
) -> None:
    """Who may not be looked into may have it; what is found is found all the same."""
    seen = host.look(held("3"), **view)
    assert answer(seen, host.nic) == ("unknown", "processes-unseen", ())
    assert answer(seen, host.mdev) == ("yes", None, (QEMU,))


def test_device_that_is_not_bound_to_vfio_is_not_open(host: Host) -> None:
    """A bridge in a group that VFIO hands out is not handed out itself."""
    for path in (host.parent, f"{ROOT}/{BRIDGE}"):
        assert answer(host.look(held("1"), unseen=1), path) == ("no", "no-node", ())


def test_device_of_a_shared_group_that_is_held_is_unknown(host: Host) -> None:
    """The group has two devices that can be had from it: which one is, its node does not tell."""
    seen = host.look(held("1", unidentified=1))
    for path in (host.card, host.sound):
        assert answer(seen, path) == ("unknown", "group-shared", (QEMU,))
    assert answer(host.look(held("1")), host.card) == ("unknown", "group-shared", (QEMU,))


def test_device_of_a_shared_group_is_told_where_the_kernel_names_it(host: Host) -> None:
    """By fdinfo the one is open, and the other is not."""
    seen = host.look(held("1", devices=(host.card,)))
    assert answer(seen, host.card) == ("yes", None, (QEMU,))
    assert answer(seen, host.sound) == ("no", None, ())


def test_device_alone_in_its_group_but_for_bridges_is_told(host: Host) -> None:
    """What the kernel's own drivers have cannot be had from the group."""
    host.tree.link(f"{host.sound}/driver", "../../../../bus/pci/drivers/snd_hda_intel")
    assert answer(host.look(held("1")), host.card) == ("yes", None, (QEMU,))
    assert answer(host.look(held("1")), host.sound) == ("no", "no-node", ())


def test_device_got_from_a_group_that_is_closed_is_untold(host: Host) -> None:
    """A process with a VFIO device, and no node, may have any."""
    seen = host.look(held(unidentified=1))
    assert answer(seen, host.nic) == ("unknown", "device-untold", (QEMU,))
    assert answer(seen, host.parent) == ("no", "no-node", ())


def test_device_besides_those_of_the_groups_held_is_untold(host: Host) -> None:
    """A process with more devices than its nodes give it may have any besides."""
    assert answer(host.look(held("3", unidentified=1)), host.nic) == ("no", None, ())
    seen = host.look(held("3", "devices/vfio7", unidentified=2))
    assert answer(seen, host.nic) == ("unknown", "device-untold", (QEMU,))
    assert answer(seen, host.mdev) == ("yes", None, (QEMU,))


def test_device_of_a_group_without_an_iommu_has_its_node(host: Host) -> None:
    """VFIO names such a node noiommu-N."""
    host.tree.remove("/sys/class/vfio/2")
    host.tree.kernel_link("/sys/class/vfio/noiommu-2", "/sys/devices/virtual/vfio/2")
    assert answer(host.look(held("noiommu-2")), host.nic) == ("yes", None, (QEMU,))


def test_device_without_group_and_node_has_nothing_to_open(host: Host) -> None:
    """Before Linux 6.6 vfio-dev has no node of its own."""
    host.tree.remove("/sys/class/vfio")
    host.tree.remove(f"{host.mdev}/vfio-dev/vfio7/dev")
    assert answer(host.look(), host.mdev) == ("no", "no-node", ())


def test_without_names_all_that_vfio_drives_is_told_of(host: Host) -> None:
    """Mdevs and functions bound to VFIO; no bridge, no parent, no mdev that is not there."""
    host.tree.definition("mtty", "83c32df7-d52e-4ec1-9668-1f3c7e4df107", "mtty-1")
    snapshot = scan(host.sysroot)
    told = host.look(held("3"), unseen=2).of(snapshot, None)
    assert [(use.name, use.open) for use in told.devices] == [
        ("mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3d1e01", "yes"),
        ("pci_0000_01_00_0", "unknown"),
        ("pci_0000_01_00_1", "unknown"),
        ("pci_0000_02_00_0", "unknown"),
    ]
    assert (told.generation, told.unseen_processes) == (snapshot.generation, 2)
    (use,) = host.look(held("3")).uses([snapshot.lookup(told.devices[0].name)], holders=False)
    assert (use.open, use.holders) == ("yes", ())


def test_devices_of_a_recorded_host_are_unknown(host: Host) -> None:
    """Its processes are not here, so nothing can be said of any device."""
    seen = read_usage(host.sysroot)
    for path in (host.mdev, host.parent):
        assert answer(seen, path) == ("unknown", "other-host", ())


def test_every_reason_has_a_sentence() -> None:
    """The words that go over the wire are those that are explained."""
    assert set(REASONS) == set(get_args(UseReason))


def test_host_without_vfio_has_no_nodes(tmp_path: Path) -> None:
    """No module, no classes, no devices."""
    tree = Tree(tmp_path)
    tree.directory("/sys")
    assert read_usage(Sysroot(tree.root)).nodes == {}
    assert VfioUsage(processes=ProcessScan((), 0, hidden=False)).of(Snapshot(), None) == InUse(
        1, 0, ()
    )
