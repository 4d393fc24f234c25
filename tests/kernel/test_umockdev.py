"""Following uevents by the real libudev, on a host of files that changes as a kernel's does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.net import Net
from nodedevd.kinds.shared.vfio import VfioDevice
from tests.support.running import started
from tests.support.trees import Tree
from tests.support.umockdev import Testbed
from tests.support.watcher import Watcher, devices_by_scan, devices_of_daemon

pytestmark = pytest.mark.needs("umockdev")

BRIDGE, GPU, OTHER = "0000:00:01.0", "0000:01:00.0", "0000:01:00.1"
GPU_NAME, OTHER_NAME, BRIDGE_NAME = "pci_0000_01_00_0", "pci_0000_01_00_1", "pci_0000_00_01_0"
UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
MDEV_NAME = "mdev_27b42a51_9f6b_4c0b_8f5f_4f3a1d0e8c01"
TYPE = "nvidia-746"
ADDRESS = "52_54_00_12_34_56"

Following: TypeAlias = tuple[Testbed, Watcher]


@pytest.fixture
def testbed(tmp_path: Path) -> Testbed:
    """Return a host with a bridge, and two functions behind it."""
    testbed = Testbed(tmp_path / "host")
    tree = testbed.tree
    tree.pci(BRIDGE, vendor=0x8086, device=0x1901, class_=0x060400, driver="pcieport")
    for address in (GPU, OTHER):
        tree.pci(address, parent=BRIDGE, vendor=0x10DE, device=0x25B6, class_=0x030200)
    return testbed


@contextmanager
def follow(directory: Path, testbed: Testbed) -> Iterator[Watcher]:
    """Watch a daemon that follows; in the end all is told, and true."""
    path = directory / "nodedevd.sock"
    # No reconcile: what is not told by a uevent must not come right by itself.
    options = ("--socket", str(path), "--events", "udev", "--reconcile", "0")
    with started(directory, *options, environment=testbed.environment) as daemon:
        daemon.wait_notified("READY=1")
        with Watcher(path) as watcher:
            yield watcher
            testbed.uevent("add", testbed.tree.net("fence0", address=""), "net")
            watcher.expect("added net_fence0")
            assert devices_of_daemon(path) == devices_by_scan(environment=testbed.environment)
            status = watcher.status()
            assert (status.event_source, status.overflows) == ("udev", 0)
            assert (status.missed_changes, status.error_count) == (0, 0)
        assert daemon.stop() == 0


@pytest.fixture
def following(tmp_path: Path, testbed: Testbed) -> Iterator[Following]:
    """Return the host and who watches it."""
    with follow(tmp_path, testbed) as watcher:
        yield testbed, watcher


def pci(tree: Tree, address: str = GPU) -> str:
    """Return the path of a function."""
    return tree.resolve(address)


def offer(tree: Tree, available: int = 4) -> str:
    """Make the function a parent with one type."""
    tree.mdev_type(GPU, TYPE, name="NVIDIA A2-4Q", available=available)
    return tree.mdev_parent(GPU)


def test_interface_added_changed_and_removed_is_told(following: Following) -> None:
    """Each uevent of an interface makes one change."""
    testbed, watcher = following
    path = testbed.tree.net("eth0", parent=GPU, operstate="down")
    testbed.uevent("add", path, "net")
    watcher.expect(f"added net_eth0_{ADDRESS}")
    testbed.tree.attributes(path, {"operstate": "up", "speed": 1000})
    testbed.uevent("change", path, "net")
    watcher.expect(f"changed net_eth0_{ADDRESS} net")
    found = watcher.devices[f"net_eth0_{ADDRESS}"]
    capability = found.capability(Net)
    assert capability is not None
    assert (found.parent, capability.link.speed) == (GPU_NAME, 1000)
    testbed.tree.remove(path)
    testbed.tree.remove("/sys/class/net/eth0")
    testbed.uevent("remove", path, "net")
    watcher.expect(f"removed net_eth0_{ADDRESS}")


def test_uevents_that_change_nothing_are_not_told(following: Following) -> None:
    """A change without difference, and devices that are none of ours, make no news."""
    testbed, watcher = following
    tree = testbed.tree
    testbed.uevent("change", pci(tree), "pci")
    tty = tree.device("/sys/devices/virtual/tty/tty0", class_="tty")
    testbed.uevent("add", tty, "tty", DEVNAME="/dev/tty0", MAJOR="4", MINOR="0")
    testbed.uevent("remove", "/sys/devices/virtual/net/never", "net")
    watcher.until_status(lambda status: status.events == 3)


def test_driver_bound_and_unbound_is_told(following: Following) -> None:
    """A function that goes from its driver to vfio-pci is told at each step."""
    testbed, watcher = following
    tree = testbed.tree
    path = pci(tree)
    for driver in ("nvidia", "vfio-pci"):
        tree.kernel_link(f"{path}/driver", f"/sys/bus/pci/drivers/{driver}")
        testbed.uevent("bind", path, "pci", DRIVER=driver)
        watcher.expect(f"changed {GPU_NAME} driver")
        assert watcher.devices[GPU_NAME].driver == driver
        tree.remove(f"{path}/driver")
        testbed.uevent("unbind", path, "pci")
        watcher.expect(f"changed {GPU_NAME} driver")
        assert watcher.devices[GPU_NAME].driver is None


def test_driver_that_takes_its_devices_along_is_told(following: Following) -> None:
    """What hung on the driver goes first; the uevents come after all is gone."""
    testbed, watcher = following
    tree = testbed.tree
    path = pci(tree)
    tree.kernel_link(f"{path}/driver", "/sys/bus/pci/drivers/e1000e")
    net = tree.net("eth0", parent=GPU)
    testbed.uevent("add", net, "net")
    testbed.uevent("bind", path, "pci", DRIVER="e1000e")
    watcher.until(lambda: watcher.devices[GPU_NAME].driver == "e1000e")
    watcher.until(lambda: f"net_eth0_{ADDRESS}" in watcher.devices)
    for gone in (f"{path}/net", "/sys/class/net/eth0", f"{path}/driver"):
        tree.remove(gone)
    testbed.uevent("unbind", path, "pci")  # the interface's own remove comes late, or not at all
    watcher.expect(f"changed {GPU_NAME} driver", f"removed net_eth0_{ADDRESS}")


def test_parent_is_told_when_it_is_registered_and_unregistered(following: Following) -> None:
    """At the driver's `bind` a parent offers nothing yet; MDEV_STATE tells when it does."""
    testbed, watcher = following
    tree = testbed.tree
    path = pci(tree)
    tree.kernel_link(f"{path}/driver", "/sys/bus/pci/drivers/nvidia")
    testbed.uevent("bind", path, "pci", DRIVER="nvidia")
    watcher.expect(f"changed {GPU_NAME} driver")
    offer(tree)
    testbed.uevent("change", path, "pci", MDEV_STATE="registered")
    watcher.expect(f"changed {GPU_NAME} mdev_parent")
    assert watcher.devices[GPU_NAME].types == ("pci", "mdev_parent")
    tree.remove(f"{path}/mdev_supported_types")
    tree.remove(f"/sys/class/mdev_bus/{GPU}")
    testbed.uevent("change", path, "pci", MDEV_STATE="unregistered")
    watcher.expect(f"changed {GPU_NAME} mdev_parent")
    assert watcher.devices[GPU_NAME].types == ("pci",)


def test_parent_of_any_class_is_told_when_it_is_registered(following: Following) -> None:
    """A device of a class nobody knows becomes one of the tree by being a parent."""
    testbed, watcher = following
    tree = testbed.tree
    path = tree.device("/sys/devices/virtual/mtty/mtty", class_="mtty")
    testbed.uevent("add", path, "mtty")
    watcher.until_status(lambda status: status.updates == 1)
    tree.mdev_type(path, "mtty-1", available=24)
    tree.mdev_parent(path)
    testbed.uevent("change", path, "mtty", MDEV_STATE="registered")
    watcher.expect("added mtty_mtty")
    tree.remove(path)
    tree.remove("/sys/class/mdev_bus/mtty")
    tree.remove("/sys/class/mtty/mtty")
    testbed.uevent("change", path, "mtty", MDEV_STATE="unregistered")
    testbed.uevent("remove", path, "mtty")
    watcher.expect("removed mtty_mtty")


def mdev(watcher: Watcher) -> MdevChild:
    """Return the mdev as it was last told."""
    child = watcher.devices[MDEV_NAME].capability(MdevChild)
    assert child is not None
    return child


def available(watcher: Watcher) -> int | None:
    """Return how many mdevs can be made, as it was last told."""
    parent = watcher.devices[GPU_NAME].capability(MdevParent)
    assert parent is not None
    return parent.types[0].available_instances


def create(testbed: Testbed, watcher: Watcher) -> str:
    """Make an mdev as the kernel does, step by step; its type comes after its last uevent.

    As long as that is missing the mdev is read again and again, so a step may be told in two.
    """
    tree = testbed.tree
    path = tree.mdev(GPU, UUID, None)
    testbed.uevent("add", path, "mdev")
    watcher.expect(f"added {MDEV_NAME}", f"changed {GPU_NAME} mdev_parent")
    assert (mdev(watcher).state, mdev(watcher).mdev_type) == ("incomplete", None)
    vfio = tree.vfio_device(path, 3)
    testbed.uevent("add", vfio, "vfio-dev", DEVNAME="/dev/vfio/devices/vfio3")
    node = VfioDevice("vfio3", "/dev/vfio/devices/vfio3")
    lines = watcher.until(lambda: mdev(watcher).vfio_device == node)
    assert set(lines) == {f"changed {MDEV_NAME} mdev_child"}
    tree.kernel_link(f"{path}/iommu_group", "/sys/kernel/iommu_groups/64")
    tree.kernel_link(f"{path}/driver", "/sys/bus/mdev/drivers/nvidia-vgpu-vfio")
    testbed.uevent("bind", path, "mdev", DRIVER="nvidia-vgpu-vfio")
    lines = watcher.until(lambda: watcher.devices[MDEV_NAME].driver is not None)
    parts = {part for line in lines for part in line.removeprefix(f"changed {MDEV_NAME} ").split()}
    assert parts == {"driver", "mdev_child"}
    assert mdev(watcher).iommu_group == 64
    kind = f"{pci(tree)}/mdev_supported_types/{TYPE}"
    tree.attributes(kind, {"available_instances": 3})
    tree.kernel_link(f"{kind}/devices/{UUID}", path)
    tree.kernel_link(f"{path}/mdev_type", kind)
    lines = watcher.until(lambda: mdev(watcher).state == "complete" and available(watcher) == 3)
    assert set(lines) == {
        f"changed {MDEV_NAME} errors mdev_child",
        f"changed {GPU_NAME} mdev_parent",
    }
    return path


def test_mdev_created_and_removed_is_told_step_by_step(testbed: Testbed, tmp_path: Path) -> None:
    """The type is found without a uevent, and so are the counts of the parent."""
    tree = testbed.tree
    parent = offer(tree)
    with follow(tmp_path, testbed) as watcher:
        path = create(testbed, watcher)
        tree.remove(f"{path}/vfio-dev")
        tree.remove("/sys/class/vfio-dev/vfio3")
        testbed.uevent("remove", f"{path}/vfio-dev/vfio3", "vfio-dev")
        watcher.expect(f"changed {MDEV_NAME} mdev_child")
        for gone in (
            path,
            f"/sys/bus/mdev/devices/{UUID}",
            f"{parent}/mdev_supported_types/{TYPE}/devices/{UUID}",
        ):
            tree.remove(gone)
        testbed.uevent("unbind", path, "mdev")
        testbed.uevent("remove", path, "mdev")
        # A job for the event of the VFIO device may find the mdev gone, and the parent changed.
        watcher.expect_in_any_order(f"changed {GPU_NAME} mdev_parent", f"removed {MDEV_NAME}")
        # The driver gives the slot back only now.
        tree.attributes(f"{parent}/mdev_supported_types/{TYPE}", {"available_instances": 4})
        watcher.expect(f"changed {GPU_NAME} mdev_parent")
        assert available(watcher) == 4


def test_mdev_that_the_driver_refuses_goes_again(testbed: Testbed, tmp_path: Path) -> None:
    """The kernel adds it before it asks the driver: if it is read by then, it is told in a pair."""
    tree = testbed.tree
    offer(tree)
    with follow(tmp_path, testbed) as watcher:
        path = tree.mdev(GPU, UUID, None)
        testbed.uevent("add", path, "mdev")
        watcher.expect(f"added {MDEV_NAME}", f"changed {GPU_NAME} mdev_parent")
        tree.remove(path)
        tree.remove(f"/sys/bus/mdev/devices/{UUID}")
        testbed.uevent("remove", path, "mdev")
        # An mdev without a type is read again and again, so it may be read while it goes.
        lines = watcher.until(lambda: MDEV_NAME not in watcher.devices and not children(watcher))
        assert [one for one in lines if one.startswith(("added", "removed"))] == [
            f"removed {MDEV_NAME}"
        ]


def test_mdev_gone_before_it_is_read_is_not_told(testbed: Testbed, tmp_path: Path) -> None:
    """A device of a moment leaves no trace, and costs nothing."""
    offer(testbed.tree)
    with follow(tmp_path, testbed) as watcher:
        path = f"{pci(testbed.tree)}/{UUID}"
        for action in ("add", "bind", "unbind", "remove"):
            testbed.uevent(action, path, "mdev")
        watcher.until_status(lambda status: status.events == 4)


def test_interface_renamed_is_told_once(following: Following) -> None:
    """`move` names the old path: the one goes, the other comes, in one step."""
    testbed, watcher = following
    tree = testbed.tree
    old = tree.net("eth0", parent=GPU)
    testbed.uevent("add", old, "net")
    watcher.expect(f"added net_eth0_{ADDRESS}")
    tree.remove(old)
    tree.remove("/sys/class/net/eth0")
    new = tree.net("enp1s0", parent=GPU)
    testbed.uevent("move", new, "net", DEVPATH_OLD=old.removeprefix("/sys"))
    watcher.expect(f"added net_enp1s0_{ADDRESS}", f"removed net_eth0_{ADDRESS}")


def test_interface_that_comes_from_another_namespace_is_told_once(following: Following) -> None:
    """It is added, and moved to where it is already."""
    testbed, watcher = following
    path = testbed.tree.net("eth0")
    testbed.uevent("add", path, "net")
    testbed.uevent("move", path, "net", DEVPATH_OLD=path.removeprefix("/sys"))
    watcher.expect(f"added net_eth0_{ADDRESS}")
    watcher.until_status(lambda status: status.events == 2)


def test_device_moved_takes_its_children_along(testbed: Testbed, tmp_path: Path) -> None:
    """What lies below has a new path and no uevent of its own."""
    tree = testbed.tree
    old = tree.device("/sys/devices/virtual/mtty/old", class_="mtty")
    tree.mdev_type(old, "mtty-1", available=24)
    tree.mdev_parent(old)
    tree.mdev(old, UUID, "mtty-1", driver="mtty")
    with follow(tmp_path, testbed) as watcher:
        for gone in (
            *(old, "/sys/class/mdev_bus/old", "/sys/class/mtty/old"),
            *(f"/sys/bus/mdev/devices/{UUID}", f"/sys/bus/mdev/drivers/mtty/{UUID}"),
        ):
            tree.remove(gone)
        new = tree.device("/sys/devices/virtual/mtty/new", class_="mtty")
        tree.mdev_type(new, "mtty-1", available=24)
        tree.mdev_parent(new)
        tree.mdev(new, UUID, "mtty-1", driver="mtty")
        testbed.uevent("move", new, "mtty", DEVPATH_OLD=old.removeprefix("/sys"))
        watcher.expect(
            "added mtty_new",
            f"changed {MDEV_NAME} path parent mdev_child",
            "removed mtty_old",
        )


@pytest.mark.parametrize("whole", [True, False], ids=["each", "top"])
def test_subtree_that_is_removed_goes_from_below(following: Following, whole: bool) -> None:
    """Children go before their parents, whether each has a uevent or the top alone."""
    testbed, watcher = following
    tree = testbed.tree
    net = tree.net("eth0", parent=GPU)
    testbed.uevent("add", net, "net")
    watcher.expect(f"added net_eth0_{ADDRESS}")
    bridge, gpu, other = pci(tree, BRIDGE), pci(tree), pci(tree, OTHER)
    tree.remove(bridge)
    tree.remove("/sys/class/net/eth0")
    for address in (BRIDGE, GPU, OTHER):
        tree.remove(f"/sys/bus/pci/devices/{address}")
    if whole:
        testbed.uevent("remove", net, "net")
        for path in (other, gpu):
            testbed.uevent("remove", path, "pci")
    testbed.uevent("remove", bridge, "pci")
    lines = watcher.until(lambda: set(watcher.devices) == {"computer"})
    names = [f"net_eth0_{ADDRESS}", GPU_NAME, OTHER_NAME, BRIDGE_NAME]
    assert sorted(lines) == sorted(f"removed {name}" for name in names)
    assert lines[-1] == f"removed {BRIDGE_NAME}"
    assert lines.index(f"removed net_eth0_{ADDRESS}") < lines.index(f"removed {GPU_NAME}")


def test_loop_device_bound_and_unbound_comes_and_goes(following: Following) -> None:
    """The kernel keeps the device, and tells of the file by `change`."""
    testbed, watcher = following
    tree = testbed.tree
    path = tree.block("loop0")
    testbed.uevent("add", path, "block", DEVNAME="/dev/loop0", DEVTYPE="disk")
    tree.attributes(path, {"size": 64, "loop/backing_file": "/image.iso"})
    testbed.uevent("change", path, "block", DEVNAME="/dev/loop0", DEVTYPE="disk")
    watcher.expect("added block_loop0")
    part = tree.partition(path, "loop0p1")
    testbed.uevent("add", part, "block", DEVNAME="/dev/loop0p1", DEVTYPE="partition")
    tree.attributes(path, {"size": 128})
    testbed.uevent("change", path, "block", DEVNAME="/dev/loop0", DEVTYPE="disk")
    watcher.expect("changed block_loop0 storage")
    tree.remove(f"{path}/loop")
    testbed.uevent("change", path, "block", DEVNAME="/dev/loop0", DEVTYPE="disk")
    watcher.expect("removed block_loop0")


def test_burst_of_uevents_loses_none(testbed: Testbed, tmp_path: Path) -> None:
    """Many at once make few jobs, and every device is told once."""
    tree = testbed.tree
    parent = offer(tree)
    with follow(tmp_path, testbed) as watcher:
        uuids = [f"27b42a51-9f6b-4c0b-8f5f-{number:012x}" for number in range(300)]
        for uuid in uuids:
            path = tree.mdev(GPU, uuid, TYPE, driver="nvidia-vgpu-vfio")
            for action in ("add", "bind"):
                testbed.uevent(action, path, "mdev")
        lines = watcher.until(lambda: len(watcher.devices) == 4 + len(uuids))
        added = [line for line in lines if line.startswith("added")]
        assert sorted(added) == [f"added mdev_{uuid.replace('-', '_')}" for uuid in uuids]
        assert set(lines) - set(added) <= {f"changed {GPU_NAME} mdev_parent"}
        watcher.until_status(lambda status: status.events == 2 * len(uuids))
        for uuid in uuids:
            tree.remove(f"{parent}/{uuid}")
            tree.remove(f"/sys/bus/mdev/devices/{uuid}")
            tree.remove(f"{parent}/mdev_supported_types/{TYPE}/devices/{uuid}")
            testbed.uevent("remove", f"{parent}/{uuid}", "mdev")
        watcher.until(lambda: len(watcher.devices) == 4 and not children(watcher))


def children(watcher: Watcher) -> int:
    """Return how many mdevs the parent was last told to have."""
    parent = watcher.devices[GPU_NAME].capability(MdevParent)
    assert parent is not None
    return len(parent.children) + sum(len(kind.devices) for kind in parent.types)


@pytest.mark.parametrize(
    "damage",
    [
        lambda message: b"",
        lambda message: message[:20],
        lambda message: message[:-8],
        lambda message: b"\0" * len(message),
        lambda message: message.replace(b"DEVPATH=/", b"DEVPATH=x"),
        lambda message: message.replace(b"ACTION=add", b"ACTION=odd"),
    ],
    ids=["empty", "header", "cut", "zero", "path", "action"],
)
def test_message_that_makes_no_sense_is_survived(
    following: Following, damage: Callable[[bytes], bytes]
) -> None:
    """Libudev refuses it; what came with good ones before and after is told."""
    testbed, watcher = following
    first = testbed.tree.net("eth0", address="")
    testbed.uevent("add", first, "net")
    watcher.expect("added net_eth0")
    second = testbed.tree.net("eth1", address="")  # whole, before the host is read again
    testbed.send(damage(testbed.message("add", "/sys/devices/virtual/net/odd0", "net")))
    testbed.uevent("add", second, "net")
    watcher.expect("added net_eth1")
