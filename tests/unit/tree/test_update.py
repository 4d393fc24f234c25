"""An update reads touched devices, and those that change along with them without an event."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

from nodedevd.host.job import Job
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.ccwgroup import CcwGroup
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.model.changes import Added, Changed, Removed
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.read import STALE, rescan, scan
from nodedevd.tree.update import update
from tests.support import scsi
from tests.support.faulty import FaultySysroot
from tests.support.hosts import unpacked
from tests.support.trees import Attributes, Tree

UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
OTHER = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c02"
CARD, FIRST, SECOND = "0000:01:00.0", "0000:01:00.4", "0000:01:00.5"


def pci(tree: Tree, address: str, **more: object) -> str:
    """Make a PCI function, or make it again."""
    words = {"vendor": 0x10DE, "device": 0x25B6, "class_": 0x030200, **more}
    return tree.pci(address, **words)  # type: ignore[arg-type]


def card(tree: Tree) -> None:
    """A card of two virtual functions, each an mdev parent."""
    pci(tree, CARD)
    for address in (FIRST, SECOND):
        pci(tree, address)
        tree.mdev_type(address, "nvidia-1")
        tree.mdev_parent(address)
    tree.sriov(CARD, [FIRST, SECOND])


def reads_of_a_change(root: Path, devices: int) -> int:
    """Return how many reads one changed device costs on a host of so many."""
    tree = Tree(root)
    for number in range(devices):
        pci(tree, f"{number >> 8:04x}:{number & 0xFF:02x}:00.0")
    sysroot = FaultySysroot(str(root))
    old = scan(sysroot)
    assert len(old) == devices + 1
    sysroot.reads.clear()
    path = pci(tree, "0000:07:00.0", numa_node=1)
    new = update(sysroot, old, {path})
    assert [type(change) for change in new.changes] == [Changed]
    return len(sysroot.reads)


@pytest.mark.exhaustive
def test_cost_grows_with_the_change_and_not_with_the_host(tmp_path: Path) -> None:
    """One changed device takes as many reads among six hundred as among a hundred."""
    small = reads_of_a_change(tmp_path / "small", 100)
    assert small == reads_of_a_change(tmp_path / "large", 600)
    assert small < 20


def check(root: Path, old: Snapshot, touched: set[str]) -> list[tuple[type, str]]:
    """Update, compare with a fresh scan, and return the changes in brief."""
    new = update(Sysroot(str(root)), old, touched)
    assert list(new.snapshot) == list(scan(Sysroot(str(root))))
    return [(type(change), change.device.sysname or "") for change in new.changes]


def test_mdev_has_all_parents_of_its_card_read_again(tmp_path: Path) -> None:
    """They share their counts, and there is no uevent for them."""
    tree = Tree(tmp_path)
    card(tree)
    old = scan(Sysroot(str(tmp_path)))
    for address in (FIRST, SECOND):
        tree.mdev_type(address, "nvidia-1", available=0)
    mdev = tree.mdev(FIRST, UUID, "nvidia-1")
    assert check(tmp_path, old, {mdev}) == [(Added, UUID), (Changed, FIRST), (Changed, SECOND)]


def test_other_parents_of_the_card_are_counted_alone(tmp_path: Path) -> None:
    """A card can have dozens of functions, and a client waits for the event."""
    tree = Tree(tmp_path)
    card(tree)
    sysroot = FaultySysroot(str(tmp_path))
    old = scan(sysroot)
    other = old.lookup(SECOND).path or ""
    mdev = tree.mdev(FIRST, UUID, "nvidia-1")
    sysroot.reads.clear()
    update(sysroot, old, {mdev})
    read = [path for path in sysroot.reads if path.startswith(f"{other}/")]
    assert read == [f"{other}/mdev_supported_types/nvidia-1/available_instances"]


def test_removed_mdev_has_all_parents_of_its_card_read_again(tmp_path: Path) -> None:
    """Also if there is only an event of the mdev."""
    tree = Tree(tmp_path)
    card(tree)
    mdev = tree.mdev(FIRST, UUID, "nvidia-1")
    old = scan(Sysroot(str(tmp_path)))
    tree.remove(f"/sys/bus/mdev/devices/{UUID}")
    tree.remove(f"{tree.resolve(FIRST)}/mdev_supported_types/nvidia-1/devices/{UUID}")
    tree.remove(mdev)
    for address in (FIRST, SECOND):
        tree.mdev_type(address, "nvidia-1", available=9)
    assert check(tmp_path, old, {mdev}) == [(Removed, UUID), (Changed, FIRST), (Changed, SECOND)]


@pytest.mark.parametrize("told", [UUID, "parent"])
def test_parent_that_is_gone_takes_along_what_was_below(tmp_path: Path, told: str) -> None:
    """Even if only one event has arrived: no device is ever left without its parent."""
    tree = Tree(tmp_path)
    card(tree)
    path = tree.resolve(FIRST)
    mdevs = [tree.mdev(FIRST, uuid, "nvidia-1") for uuid in (UUID, OTHER)]
    old = scan(Sysroot(str(tmp_path)))
    for mdev in mdevs:
        tree.remove(f"/sys/bus/mdev/devices/{mdev.rpartition('/')[2]}")
    for link in ("bus/pci/devices", "class/mdev_bus"):
        tree.remove(f"/sys/{link}/{FIRST}")
    tree.remove(path)
    new = update(Sysroot(str(tmp_path)), old, {mdevs[0] if told == UUID else path})
    removed = [one.device.sysname for one in new.changes if isinstance(one, Removed)]
    assert set(removed) == {UUID, OTHER, FIRST}
    assert removed.index(OTHER) < removed.index(FIRST)
    assert [
        (one.device.name, one.device.parent) for one in new.changes if isinstance(one, Added)
    ] == []
    assert all(device.parent == "computer" for device in new.snapshot if device.path)


@pytest.mark.slow
def test_parent_that_goes_while_it_is_read_takes_its_mdev_along(tmp_path: Path) -> None:
    """The mdev was there when it was read, the parent not any more."""
    tree = Tree(tmp_path)
    card(tree)
    path, mdev = tree.resolve(FIRST), tree.mdev(FIRST, UUID, "nvidia-1")
    old = scan(Sysroot(str(tmp_path)))
    for at in itertools.count(1):
        again = tmp_path / str(at)
        shutil.copytree(tmp_path / "sys", again / "sys", symlinks=True)
        sysroot = FaultySysroot(str(again), vanishing=path, at=at)
        for new in (update(sysroot, old, {mdev, path}), rescan(sysroot, old)):
            names = {device.sysname for device in new.snapshot}
            assert FIRST in names or UUID not in names, at
        if FIRST in names:
            break


def test_virtual_function_has_its_physical_one_read_again(tmp_path: Path) -> None:
    """When it is added, when it gets its link later, and when it is removed."""
    tree = Tree(tmp_path)
    pci(tree, CARD)
    old = scan(Sysroot(str(tmp_path)))
    path = pci(tree, FIRST)
    new = update(Sysroot(str(tmp_path)), old, {path})
    tree.sriov(CARD, [FIRST])
    assert check(tmp_path, new.snapshot, {path}) == [(Changed, FIRST), (Changed, CARD)]
    old = scan(Sysroot(str(tmp_path)))
    tree.remove(f"/sys/bus/pci/devices/{FIRST}")
    tree.remove(f"{tree.resolve(CARD)}/virtfn0")
    tree.remove(path)
    assert check(tmp_path, old, {path}) == [(Removed, FIRST), (Changed, CARD)]


def test_virtual_port_has_its_adapter_read_again(tmp_path: Path) -> None:
    """The adapter counts its virtual ports, and sends no event."""
    tree = Tree(tmp_path)
    above = "/sys/devices/pci0000:00/0000:00:01.0"
    names = {"node_name": f"0x{1:016x}", "port_name": f"0x{2:016x}"}
    counts: Attributes = {"vport_create": b"", "max_npiv_vports": 127, "npiv_vports_inuse": 0}
    adapter = scsi.host(tree, 5, above=above, fc={**names, **counts})
    old = scan(Sysroot(str(tmp_path)))
    path = scsi.host(tree, 6, above=tree.device(f"{adapter}/vport-5:0-0"), fc=names)
    in_use = f"{adapter}/fc_host/host5"
    tree.attributes(in_use, {"npiv_vports_inuse": 1})
    assert check(tmp_path, old, {path}) == [(Added, "host6"), (Changed, "host5")]
    old = scan(Sysroot(str(tmp_path)))
    tree.remove("/sys/bus/scsi/devices/host6")
    tree.remove(f"{adapter}/vport-5:0-0")
    tree.attributes(in_use, {"npiv_vports_inuse": 0})
    assert check(tmp_path, old, {path}) == [(Removed, "host6"), (Changed, "host5")]


def test_iommu_group_is_read_again_at_all_its_members(tmp_path: Path) -> None:
    """The members list each other, so one that joins or leaves changes the others."""
    tree = Tree(tmp_path)
    pci(tree, CARD, iommu_group=7)
    old = scan(Sysroot(str(tmp_path)))
    path = pci(tree, FIRST, iommu_group=7)
    assert check(tmp_path, old, {path}) == [(Added, FIRST), (Changed, CARD)]
    old = scan(Sysroot(str(tmp_path)))
    tree.remove(f"/sys/kernel/iommu_groups/7/devices/{FIRST}")
    tree.remove(f"{path}/iommu_group")
    assert check(tmp_path, old, {path}) == [(Changed, FIRST), (Changed, CARD)]


@pytest.mark.parametrize("directory", ["mdev_supported_types", "uevent"])
def test_what_is_no_device_of_the_tree_is_not_put_in(tmp_path: Path, directory: str) -> None:
    """A uevent may be about anything: a tty, something gone, something inside a device."""
    tree = Tree(tmp_path)
    card(tree)
    old = scan(Sysroot(str(tmp_path)))
    tree.device("/sys/devices/virtual/tty/tty0", class_="tty")
    touched = {
        "/sys/devices/virtual/tty/tty0",
        "/sys/devices/nowhere",
        f"{tree.resolve(FIRST)}/{directory}",
    }
    new = update(Sysroot(str(tmp_path)), old, touched)
    assert new.snapshot is old


def test_parent_that_is_listed_before_it_has_types_is_put_in(tmp_path: Path) -> None:
    """As a scan of the whole host does."""
    tree = Tree(tmp_path)
    tree.directory("/sys/bus")
    old = scan(Sysroot(str(tmp_path)))
    path = tree.device("/sys/devices/virtual/mtty/mtty", class_="mtty")
    tree.mdev_parent(path)
    new = update(Sysroot(str(tmp_path)), old, {path})
    assert [type(change) for change in new.changes] == [Added]


def test_device_whose_read_hangs_is_left_as_it_was(tmp_path: Path) -> None:
    """It is not read, and has an error."""
    tree = Tree(tmp_path)
    path = pci(tree, CARD)
    old = scan(Sysroot(str(tmp_path)))
    pci(tree, CARD, numa_node=1)
    sysroot = FaultySysroot(str(tmp_path))
    new = update(sysroot, old, {path}, job=Job({path}))
    device = new.snapshot.at(path)
    before = old.at(path)
    assert device is not None
    assert before is not None
    assert device.capabilities == before.capabilities
    assert device.errors == (STALE,)
    assert not [read for read in sysroot.reads if "numa_node" in read]


def available(snapshot: Snapshot, address: str) -> int | None:
    """Return how many of its one type a parent of the card has left."""
    device = snapshot.lookup(address)
    parent = device.capability(MdevParent)
    assert parent is not None
    return parent.types[0].available_instances


def test_volatile_values_alone_are_read(tmp_path: Path) -> None:
    """Only available_instances is read, and only devices with another count change."""
    tree = Tree(tmp_path)
    card(tree)
    sysroot = FaultySysroot(str(tmp_path))
    old = scan(sysroot)
    paths = {old.lookup(address).path or "" for address in (FIRST, SECOND)}
    tree.mdev_type(FIRST, "nvidia-1", available=0)
    sysroot.reads.clear()
    new = update(sysroot, old, set(), volatile=paths)
    counts = {f"{path}/mdev_supported_types/nvidia-1/available_instances" for path in paths}
    assert set(sysroot.reads) == counts
    assert [(type(change), change.device.name) for change in new.changes] == [
        (Changed, old.lookup(FIRST).name)
    ]
    assert (available(new.snapshot, FIRST), available(new.snapshot, SECOND)) == (0, 1)


@pytest.mark.parametrize("content", ["many\n", None])
def test_count_that_cannot_be_told_has_its_device_read_as_a_whole(
    tmp_path: Path, content: str | None
) -> None:
    """After a malformed count or a missing type, the whole device is read."""
    tree = Tree(tmp_path)
    card(tree)
    sysroot = Sysroot(str(tmp_path))
    old = scan(sysroot)
    path = old.lookup(FIRST).path or ""
    attribute = f"{path}/mdev_supported_types/nvidia-1/available_instances"
    if content is None:
        tree.remove(f"{path}/mdev_supported_types/nvidia-1")
    else:
        tree.file(attribute, content)
    new = update(sysroot, old, set(), volatile={path}).snapshot
    assert new.lookup(FIRST) == scan(Sysroot(str(tmp_path))).lookup(FIRST)
    assert new.lookup(FIRST) != old.lookup(FIRST)


def test_link_in_a_class_stands_for_its_device_if_that_is_known(tmp_path: Path) -> None:
    """A message about an interface changes a known device, and adds none."""
    tree = Tree(tmp_path)
    tree.net("eth0", address="52:54:00:00:00:01", operstate="down")
    sysroot = Sysroot(str(tmp_path))
    old = scan(sysroot)
    tree.net("eth0", address="52:54:00:00:00:01", operstate="up")
    tree.net("eth1", address="52:54:00:00:00:02")
    new = update(sysroot, old, {"/sys/class/net/eth0", "/sys/class/net/eth1"})
    assert [(type(change), change.device.sysname) for change in new.changes] == [(Changed, "eth0")]


def test_group_of_channel_devices_that_goes_takes_its_members_along(tmp_path: Path) -> None:
    """There is no event for the members of a group that is dissolved; they no longer name it."""
    unpacked("s390x-full", tmp_path)
    sysroot = Sysroot(str(tmp_path))
    old = scan(sysroot)
    group = next(device for device in old if device.capability(CcwGroup))
    for link in (tmp_path / "sys").rglob("group_device"):
        if link.readlink().name == group.sysname:
            link.unlink()
    shutil.rmtree(f"{tmp_path}{group.path}")
    path = group.path or ""
    new = update(sysroot, old, {path, *old.below(path)})
    assert list(new.snapshot) == list(scan(Sysroot(str(tmp_path))))
    assert len(new.changes) > 1
