"""touched: the devices to read again after a uevent, and the paths of events about a device."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodedevd.host.events.uevent import Uevent
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.shared.mdevctl import DIRECTORY as DEFINITIONS
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.read import scan
from nodedevd.tree.touched import reporting_paths, touched_paths
from tests.support.trees import Tree

UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
TOP = "/sys/devices/pci0000:00/0000:00:01.0"
CARD = f"{TOP}/0000:01:00.0"
MDEV = f"{CARD}/{UUID}"
NEW = "/sys/devices/pci0000:00/0000:00:02.0"


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """Return a host with a bridge, a card below it, and an mdev of that."""
    tree = Tree(tmp_path)
    tree.pci("0000:00:01.0", vendor=1, device=1, class_=0x060400)
    tree.pci("0000:01:00.0", parent="0000:00:01.0", vendor=1, device=2, class_=0x030200)
    tree.pci("0000:00:01.1", vendor=1, device=1, class_=0x060400)
    tree.mdev_type("0000:01:00.0", "nvidia-1")
    tree.mdev("0000:01:00.0", UUID, "nvidia-1")
    return scan(Sysroot(str(tmp_path)))


@pytest.mark.parametrize(
    ("uevents", "touched"),
    [
        ([], set()),
        ([Uevent("add", TOP, "pci")], {TOP}),
        ([Uevent("change", TOP, "pci")], {TOP}),
        ([Uevent("remove", TOP, "pci")], {TOP, CARD, MDEV}),
        ([Uevent("bind", CARD, "pci")], {CARD, MDEV}),
        ([Uevent("unbind", CARD, "pci")], {CARD, MDEV}),
        ([Uevent("add", MDEV, "mdev")], {CARD, MDEV}),
        ([Uevent("remove", MDEV, "mdev")], {CARD, MDEV}),
        (
            [Uevent("add", f"{MDEV}/vfio-dev/vfio0", "vfio-dev")],
            {f"{MDEV}/vfio-dev/vfio0", MDEV},
        ),
        (
            [Uevent("move", NEW, "pci", old_path=TOP)],
            {TOP, CARD, MDEV, NEW, f"{NEW}/0000:01:00.0", f"{NEW}/0000:01:00.0/{UUID}"},
        ),
        ([Uevent("move", CARD, "pci", old_path=CARD)], {CARD, MDEV}),
        (
            [Uevent("add", f"{CARD}/new", "x"), Uevent("move", NEW, "pci", old_path=CARD)],
            {CARD, MDEV, f"{CARD}/new", NEW, f"{NEW}/{UUID}", f"{NEW}/new"},
        ),
        ([Uevent("remove", "/sys/devices/unknown", None)], {"/sys/devices/unknown"}),
    ],
)
def test_uevents_touch_what_can_have_changed(
    snapshot: Snapshot, uevents: list[Uevent], touched: set[str]
) -> None:
    """The device; those below it, if they can have changed; the parent of an mdev."""
    assert touched_paths(uevents, snapshot) == touched


def test_events_report_a_device_by_its_path_and_its_link() -> None:
    """Uevents have the path, rtnetlink the link."""
    net = Device("net_eth0", "/sys/devices/eth0", None, "net", "eth0", None, (), (), None, ())
    assert reporting_paths(net) == {"/sys/devices/eth0", "/sys/class/net/eth0"}


def test_events_report_an_mdev_by_the_directory_of_definitions(tmp_path: Path) -> None:
    """Inotify does not say which definition changed."""
    tree = Tree(tmp_path)
    tree.directory("/sys")
    path = tree.definition("0000:01:00.4", UUID, "nvidia-746")
    mdev = scan(Sysroot(str(tmp_path))).lookup(UUID)
    assert reporting_paths(mdev) == {path, f"/sys/class/mdev/{UUID}", DEFINITIONS}
