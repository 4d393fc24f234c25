"""mdevs that are defined, through their lives: each step is one change of one device."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodedevd.host.events.inotify import DirectoryMonitor
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.shared.mdevctl import DIRECTORY
from nodedevd.model.changes import Changed
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import distinct_name
from nodedevd.tree.read import scan
from nodedevd.tree.update import update
from tests.support.fake_monitor import eventually
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree
from tests.unit.follow.test_follower import Live, card_with_mdev, following
from tests.unit.tree.test_graft import follow

UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
NAME = "mdev_27b42a51_9f6b_4c0b_8f5f_4f3a1d0e8c01"
CARD, FIRST, SECOND = "0000:01:00.0", "0000:01:00.4", "0000:01:00.5"
FIRST_NAME, SECOND_NAME = "pci_0000_01_00_4", "pci_0000_01_00_5"
TYPE = "nvidia-746"
ABSENT = "0000:99:00.0"


class Host:
    """A host, and its snapshot that is updated step by step."""

    def __init__(self, root: Path) -> None:
        self.tree = Tree(root)
        self.tree.directory("/sys")
        self.sysroot = Sysroot(str(root))
        self.snapshot: Snapshot = scan(self.sysroot)

    def offer(self, *addresses: str, available: int = 1) -> list[str]:
        """Make functions mdev parents, or their counts others; return their paths."""
        for address in addresses:
            self.tree.pci(address, vendor=0x10DE, device=0x25B6, class_=0x030200)
            self.tree.mdev_type(address, TYPE, name="A2-4Q", available=available)
            self.tree.mdev_parent(address)
        return [self.tree.resolve(address) for address in addresses]

    def card(self) -> None:
        """Make two virtual functions of one card mdev parents."""
        self.tree.pci(CARD, vendor=0x10DE, device=0x25B6, class_=0x030200)
        self.offer(FIRST, SECOND)
        self.tree.sriov(CARD, [FIRST, SECOND])

    def stop(self, parent: str) -> str:
        """Remove the mdev."""
        path = f"{self.tree.resolve(parent)}/{UUID}"
        self.tree.remove(f"/sys/bus/mdev/devices/{UUID}")
        self.tree.remove(f"{self.tree.resolve(parent)}/mdev_supported_types/{TYPE}/devices/{UUID}")
        self.tree.remove(path)
        return path

    def go(self, parent: str) -> str:
        """Remove a parent, with all below it."""
        path = self.tree.resolve(parent)
        self.tree.remove(f"/sys/bus/pci/devices/{parent}")
        self.tree.remove(f"/sys/class/mdev_bus/{parent}")
        self.tree.remove(path)
        return path

    def scan(self) -> None:
        """Scan the whole host."""
        self.snapshot = scan(self.sysroot)

    def told(self, *touched: str) -> list[str]:
        """Update; return the changes in brief. The tree is that of a fresh scan."""
        old = self.snapshot
        new = update(self.sysroot, old, set(touched))
        assert follow(old, new.changes) == {device.name: device for device in new.snapshot}
        assert list(new.snapshot) == list(scan(self.sysroot))
        self.snapshot = new.snapshot
        return [
            " ".join(
                [type(change).__name__, change.device.name]
                + (list(change.parts) if isinstance(change, Changed) else [])
            )
            for change in new.changes
        ]

    def device(self, name: str = NAME) -> Device:
        """Return the device of exactly this name."""
        found = self.snapshot.get(name)
        assert found is not None
        return found

    def mdev(self, name: str = NAME) -> MdevChild:
        """Return the capability of an mdev."""
        found = self.device(name).capability(MdevChild)
        assert found is not None
        return found


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return a host without devices."""
    return Host(tmp_path)


def test_defined_mdev_hangs_below_its_parent(host: Host) -> None:
    """It is a device of its own, at the path of its definition."""
    host.offer(FIRST)
    path = host.tree.definition(FIRST, UUID, TYPE)
    assert host.told(host.tree.resolve(FIRST), DIRECTORY) == [
        f"Added {FIRST_NAME}",
        f"Added {NAME}",
    ]
    device = host.device()
    assert (device.path, device.parent, device.active) == (path, FIRST_NAME, False)
    assert host.mdev().state == "inactive"
    assert host.snapshot.lookup(UUID) is device
    assert host.snapshot.lookup(f"{NAME}_0000_01_00_4") is device


def test_parent_that_comes_late_takes_its_definitions(host: Host) -> None:
    """When it goes, they stay; each is one change."""
    host.tree.definition(FIRST, UUID, TYPE)
    assert host.told(DIRECTORY) == [f"Added {NAME}"]
    assert (host.device().parent, host.mdev().waits_for) == ("computer", "parent")
    path = host.offer(FIRST)[0]
    assert host.told(path) == [f"Added {FIRST_NAME}", f"Changed {NAME} parent mdev_child"]
    assert (host.device().parent, host.mdev().waits_for) == (FIRST_NAME, None)
    assert host.mdev().parent == FIRST_NAME
    assert host.told(host.go(FIRST)) == [
        f"Changed {NAME} parent mdev_child",
        f"Removed {FIRST_NAME}",
    ]
    assert (host.device().parent, host.mdev().waits_for) == ("computer", "parent")
    assert (host.mdev().parent, host.mdev().parent_path) == (None, None)


def test_device_that_becomes_a_parent_takes_its_definitions(host: Host) -> None:
    """The driver registers later than the device appears."""
    host.tree.definition(FIRST, UUID, TYPE)
    path = host.tree.pci(FIRST, vendor=0x10DE, device=0x25B6, class_=0x030200)
    host.scan()
    assert host.mdev().waits_for == "registration"
    host.offer(FIRST)
    assert host.told(path) == [
        f"Changed {FIRST_NAME} mdev_parent",
        f"Changed {NAME} mdev_child",
    ]
    assert host.mdev().waits_for is None


def test_parent_that_is_renamed_is_named_by_its_definitions(host: Host) -> None:
    """Another device may come, or go, and with it the plain name."""
    paths = [
        host.tree.device(f"/sys/devices/virtual/{name}", class_="sample") for name in ("v-1", "v.1")
    ]
    host.tree.mdev_type(paths[1], TYPE)
    host.tree.mdev_parent(paths[1])
    host.tree.mdev_type(paths[0], TYPE)
    host.tree.mdev_parent(paths[0])
    host.tree.definition("v.1", UUID, TYPE)
    host.scan()
    assert host.device().parent == distinct_name("sample_v_1", paths[1])
    host.tree.remove("/sys/class/mdev_bus/v-1")
    host.tree.remove("/sys/class/sample/v-1")
    host.tree.remove(paths[0])
    host.told(paths[0])
    assert host.device().parent == host.mdev().parent == "sample_v_1"


def test_mdev_that_starts_and_stops_keeps_its_name(host: Host) -> None:
    """For watchers it is one device; its parent's counts change along with it."""
    host.offer(FIRST)
    host.tree.definition(FIRST, UUID, TYPE, start="auto", attributes=[("b", "1"), ("b", "2")])
    host.scan()
    inactive = host.mdev()
    host.offer(FIRST, available=0)
    path = host.tree.mdev(FIRST, UUID, TYPE)
    assert host.told(path) == [
        f"Changed {NAME} path state mdev_child",
        f"Changed {FIRST_NAME} mdev_parent",
    ]
    active = host.mdev()
    assert (host.device().path, active.state) == (path, "complete")
    assert (active.defined, active.autostart, active.waits_for) == (True, True, None)
    assert active.definition == inactive.definition
    assert active.attributes == ()
    host.stop(FIRST)
    host.offer(FIRST)
    assert host.told(path) == [
        f"Changed {NAME} path state mdev_child",
        f"Changed {FIRST_NAME} mdev_parent",
    ]
    assert host.mdev() == inactive


def test_active_mdev_is_defined_and_undefined(host: Host) -> None:
    """No device comes or goes: `defined` changes."""
    host.offer(FIRST)
    host.tree.mdev(FIRST, UUID, TYPE)
    host.scan()
    transient = host.mdev()
    assert (transient.defined, transient.autostart) == (False, None)
    path = host.tree.definition(FIRST, UUID, TYPE)
    assert host.told(DIRECTORY) == [f"Changed {NAME} mdev_child"]
    assert (host.mdev().defined, host.mdev().autostart) == (True, False)
    host.tree.definition(FIRST, UUID, TYPE, start="auto")
    assert host.told(DIRECTORY) == [f"Changed {NAME} mdev_child"]
    assert host.mdev().autostart is True
    host.tree.remove(path)
    assert host.told(DIRECTORY) == [f"Changed {NAME} mdev_child"]
    assert host.mdev() == transient


def test_inactive_mdev_that_is_undefined_is_gone(host: Host) -> None:
    """A device of which only the definition was left is gone, too."""
    host.offer(FIRST)
    path = host.tree.definition(FIRST, UUID, TYPE)
    host.scan()
    host.tree.remove(path)
    assert host.told(DIRECTORY) == [f"Removed {NAME}"]
    host.tree.remove(f"{DIRECTORY}/{FIRST}")
    host.tree.remove(DIRECTORY)
    assert host.told(DIRECTORY) == []


def test_active_one_of_two_definitions_has_the_plain_name(host: Host) -> None:
    """The other one gets a suffix from its path, as always with two devices of one name."""
    host.offer(FIRST, SECOND)
    other = host.tree.definition(FIRST, UUID, TYPE)
    host.tree.definition(SECOND, UUID, TYPE)
    host.scan()
    assert host.device().path == other
    path = host.tree.mdev(SECOND, UUID, TYPE)
    apart = distinct_name(NAME, other)
    gone = distinct_name(NAME, f"{DIRECTORY}/{SECOND}/{UUID}")
    assert host.told(path, host.tree.resolve(SECOND)) == [
        f"Added {apart}",
        f"Changed {SECOND_NAME} mdev_parent",
        f"Changed {NAME} path state parent mdev_child",
        f"Removed {gone}",
    ]
    assert (host.device().path, host.device(apart).path) == (path, other)
    assert (host.device().parent, host.device(apart).parent) == (SECOND_NAME, FIRST_NAME)
    assert host.snapshot.lookup(UUID) is host.device()
    assert host.snapshot.lookup(f"{NAME}_0000_01_00_5") is host.device()
    assert host.snapshot.lookup(f"{NAME}_0000_01_00_4") is host.device(apart)


def test_capacity_that_is_used_up_is_waited_for(host: Host) -> None:
    """Also after an mdev of another parent: the functions of a card share their capacity."""
    host.card()
    host.tree.definition(SECOND, UUID, TYPE)
    host.scan()
    assert host.mdev().waits_for is None
    other = UUID.replace("27b4", "a2c1")
    host.offer(FIRST, SECOND, available=0)
    host.tree.sriov(CARD, [FIRST, SECOND])
    path = host.tree.mdev(FIRST, other, TYPE)
    told = host.told(path)
    assert f"Changed {NAME} mdev_child" in told
    assert host.mdev().waits_for == "capacity"
    host.tree.remove(f"/sys/bus/mdev/devices/{other}")
    host.tree.remove(f"{host.tree.resolve(FIRST)}/mdev_supported_types/{TYPE}/devices/{other}")
    host.tree.remove(path)
    host.offer(FIRST, SECOND)
    host.tree.sriov(CARD, [FIRST, SECOND])
    assert f"Changed {NAME} mdev_child" in host.told(path)
    assert host.mdev().waits_for is None


def test_counts_read_on_request_are_told_by_definitions_too(host: Host) -> None:
    """Some drivers change counts without any event."""
    path = host.offer(FIRST)[0]
    host.tree.definition(FIRST, UUID, TYPE)
    host.scan()
    host.offer(FIRST, available=0)
    new = update(host.sysroot, host.snapshot, set(), volatile={path})
    assert [change.device.name for change in new.changes] == [FIRST_NAME, NAME]
    assert list(new.snapshot) == list(scan(host.sysroot))


def test_type_that_is_not_offered_is_waited_for(host: Host) -> None:
    """A definition can be changed, and a driver's types with its version."""
    path = host.offer(FIRST)[0]
    host.tree.definition(FIRST, UUID, "nvidia-999")
    host.scan()
    assert host.mdev().waits_for == "type"
    host.tree.definition(FIRST, UUID, TYPE)
    assert host.told(DIRECTORY) == [f"Changed {NAME} mdev_child"]
    assert host.mdev().waits_for is None
    host.tree.remove(f"{path}/mdev_supported_types/{TYPE}")
    host.told(path)
    assert host.mdev().waits_for == "type"


def test_definition_of_an_absent_parent_waits_for_it(host: Host) -> None:
    """The hardware may never come back."""
    host.tree.definition(ABSENT, UUID, TYPE)
    host.scan()
    assert (host.device().parent, host.mdev().parent_addr) == ("computer", ABSENT)
    assert host.mdev().waits_for == "parent"


def test_definitions_that_cannot_be_listed_are_an_error_of_the_scan(tmp_path: Path) -> None:
    """Definitions that cannot be listed are not left out silently."""
    Host(tmp_path).tree.definition(ABSENT, UUID, TYPE)
    snapshot = scan(FaultySysroot(str(tmp_path), errors={f"{DIRECTORY}/{ABSENT}": 5}))
    assert snapshot.get(NAME) is None
    assert [fault.attribute for fault in snapshot.errors] == [f"{DIRECTORY}/{ABSENT}"]


async def test_counts_of_a_stopped_mdev_are_read_again_late(tmp_path: Path) -> None:
    """The slot is freed late, whether or not the definition stays."""

    def build(live: Live) -> None:
        card_with_mdev(live)
        live.tree.definition("0000:01:00.0", UUID, "nvidia-1")

    async with following(tmp_path, build, count_age_seconds=60.0) as live:
        path = live.get(UUID).path or ""
        parent, _, name = path.rpartition("/")
        kind = f"{parent}/mdev_supported_types/nvidia-1"
        live.remove(path)
        live.tree.remove(f"{kind}/devices/{name}")
        live.monitor.uevent("remove", path, "mdev")
        await eventually(lambda: not live.get(UUID).active)
        live.tree.attributes(kind, {"available_instances": 2})
        await live.until_true_to_the_host()
        assert live.follower.followed.events == 1


@pytest.mark.slow
async def test_definitions_found_by_the_reconcile_were_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inotify tells of them, before it or while it is at work; of an mdev that started, udev."""
    monkeypatch.setattr("nodedevd.follow.missed.LATE_EVENT_SECONDS", 0.2)
    async with following(tmp_path, lambda live: live.tree.directory(DIRECTORY)) as live:
        parent = live.tree.device("/sys/devices/virtual/mtty/mtty", class_="mtty")
        live.tree.mdev_type(parent, TYPE)
        live.tree.mdev_parent(parent)
        live.tree.definition("mtty", UUID, TYPE)
        live.monitor.uevent("add", parent, "mtty")
        live.reconcile()
        await live.until_true_to_the_host()
        path = live.tree.mdev(parent, UUID, TYPE)
        live.pci("0000:09:00.0")
        live.reconcile()
        await live.until_true_to_the_host()
        live.monitor.uevent("add", path, "mdev")
        await eventually(lambda: live.follower.followed.missed_changes > 0)
        assert live.follower.followed.missed_changes == 1


async def test_host_without_inotify_is_followed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Definitions are as of the reconcile then, and the log says so."""

    def refused(path: str, top: str) -> DirectoryMonitor:
        raise OSError(24, "inotify_init1")

    monkeypatch.setattr("nodedevd.follow.sources.DirectoryMonitor", refused)
    async with following(tmp_path, lambda live: live.tree.directory(DIRECTORY)) as live:
        live.tree.definition("mtty", UUID, TYPE)
        live.reconcile()
        await live.until_true_to_the_host()
        assert live.get(UUID).path == f"{DIRECTORY}/mtty/{UUID}"
    assert any("cannot receive inotify events" in one for one in caplog.messages)
