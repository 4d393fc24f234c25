"""Follower: from an event to the published tree, with lost events, late ones, and hanging reads."""

from __future__ import annotations

import asyncio
import logging
import math
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nodedevd.errors import NotASysroot
from nodedevd.follow import follower, missed, pending, sources
from nodedevd.follow.follower import Follower
from nodedevd.follow.options import FollowOptions
from nodedevd.follow.pending import Scan
from nodedevd.host.events.lost import EventsLost
from nodedevd.host.events.uevent import Uevent
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.device import Device
from nodedevd.model.store import Store
from nodedevd.questions.doctor import differences
from nodedevd.tree.read import STALE, scan
from tests.support.fake_monitor import PATIENCE_SECONDS, FakeMonitor, FakeMonitors, eventually
from tests.support.stuck import StuckAttribute
from tests.support.trees import Tree

UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
OTHER_UUID = "a2c1a9b0-5c3e-4f27-b6d4-0d6e2f9b7c02"
CARD, SOUND = "0000:01:00.0", "0000:01:00.1"
VFS = ["0000:01:00.4", "0000:01:00.5"]
STUCK_SECONDS = 0.2
"""Where a test has a read that hangs; elsewhere none does, however busy the machine is."""


class Live:
    """A fake host and its follower."""

    def __init__(self, root: Path, options: FollowOptions, sysroot: Sysroot | None = None) -> None:
        self.tree = Tree(root)
        self.store = Store()
        self.monitors = FakeMonitors()
        self.sysroot = sysroot or Sysroot(str(root))
        self.follower = Follower(self.sysroot, self.store, options, open_monitor=self.monitors)

    @property
    def monitor(self) -> FakeMonitor:
        """The monitor that is open."""
        return self.monitors.current

    def pci(self, address: str, **more: object) -> str:
        """Make a PCI function, or replace it."""
        words = {"vendor": 0x10DE, "device": 0x25B6, "class_": 0x030200, **more}
        return self.tree.pci(address, **words)  # type: ignore[arg-type]

    def remove(self, path: str) -> None:
        """Remove a device and the links to it, as the kernel does."""
        for link in ("sys/bus/pci/devices", "sys/bus/mdev/devices", "sys/class/mdev_bus"):
            where = Path(self.tree.root, link, path.rpartition("/")[2])
            if where.is_symlink():
                where.unlink()
        self.tree.remove(path)

    def get(self, name: str) -> Device:
        """Return a device of the tree by any of its names."""
        return self.store.snapshot.lookup(name)

    def has(self, path: str) -> bool:
        """Return whether the tree has a device at a path."""
        return self.store.snapshot.at(path) is not None

    def true_to_the_host(self) -> bool:
        """Return whether the tree equals a new scan."""
        return list(self.store.snapshot) == list(scan(Sysroot(self.sysroot.root)))

    def reconcile(self) -> None:
        """Request a planned scan of the whole host."""
        self.follower.pending.request(Scan.RECONCILE)

    async def until_true_to_the_host(self) -> None:
        """Wait until the tree equals a new scan."""
        await eventually(self.true_to_the_host)


@asynccontextmanager
async def following(
    root: Path,
    build: Callable[[Live], object] = lambda live: None,
    *,
    sysroot: Sysroot | None = None,
    start: bool = True,
    **options: object,
) -> AsyncIterator[Live]:
    """Build a host and follow it; by default without reconciles."""
    settings = {
        "events": "kernel",
        "reconcile_seconds": 0.0,
        "stuck_seconds": PATIENCE_SECONDS,
        **options,
    }
    live = Live(root, FollowOptions(**settings), sysroot)  # type: ignore[arg-type]
    live.tree.directory("/sys/bus")
    build(live)
    try:
        if start:
            await live.follower.start()
        yield live
    finally:
        await live.follower.close(5)


def card_with_mdev(live: Live) -> None:
    """A PCI function that is an mdev parent, with one mdev."""
    live.pci(CARD)
    live.tree.mdev_type(CARD, "nvidia-1", available=1)
    live.tree.mdev_parent(CARD)
    live.tree.mdev(CARD, UUID, "nvidia-1")


def parent_of(device: Device) -> MdevParent:
    """Return the mdev_parent capability of a device."""
    found = device.capability(MdevParent)
    assert found is not None
    return found


def available(device: Device) -> int | None:
    """Return available_instances of a parent's first type."""
    return parent_of(device).types[0].available_instances


# -- the first scan ------------------------------------------------------------------------


class Interrupted(Sysroot):
    """A host that changes when a path is listed or read for the first time."""

    def __init__(self, root: Path, path: str, change: Callable[[], None]) -> None:
        super().__init__(str(root))
        self._path = path
        self._change: Callable[[], None] | None = change

    def listdir(self, path: str) -> list[str]:
        """List, then change."""
        found = super().listdir(path)
        self._interrupt(path)
        return found

    def read(self, path: str, size: int | None = None) -> bytes:
        """Read, then change."""
        data = super().read(path, size)
        self._interrupt(path)
        return data

    def _interrupt(self, path: str) -> None:
        if path == self._path and self._change is not None:
            change, self._change = self._change, None
            change()


async def test_uevent_during_the_first_scan_is_read_after_it(tmp_path: Path) -> None:
    """The monitor is open before the scan: a device that appears during it is found."""

    def arrive() -> None:
        live.monitor.uevent("add", live.pci(SOUND))

    sysroot = Interrupted(tmp_path, "/sys/bus/pci/devices", arrive)
    async with following(tmp_path, lambda live: live.pci(CARD), sysroot=sysroot, start=False) as on:
        live = on
        await live.follower.start()
        await eventually(lambda: len(live.store.snapshot) == 3)
        assert live.true_to_the_host()
        assert live.follower.followed.rescans == 0


async def test_first_scan_of_no_sysroot_is_an_error(tmp_path: Path) -> None:
    """The start fails, and leaves no monitor open."""
    live = Live(tmp_path / "nowhere", FollowOptions(events="kernel"))
    live.tree.remove("/sys")
    with pytest.raises(NotASysroot):
        await live.follower.start()
    await live.follower.close(5)
    assert live.monitor.closed


async def test_recorded_host_has_no_monitor(tmp_path: Path) -> None:
    """Uevents of this machine say nothing about a recorded host."""
    async with following(tmp_path, events="auto") as live:
        assert live.follower.sources.event_source == "none"
        assert live.monitors.tries == 0


# -- uevents -------------------------------------------------------------------------------


async def test_added_device_is_in_the_tree(tmp_path: Path) -> None:
    """Only the device is read; status has the number and the time of the uevents."""
    async with following(tmp_path, lambda live: live.pci(CARD)) as live:
        live.monitor.uevent("add", live.pci(SOUND))
        await live.until_true_to_the_host()
        assert live.follower.followed.events == 1
        assert live.follower.followed.updates == 1
        assert live.follower.followed.rescans == 0
        assert live.follower.followed.last_event is not None


async def test_burst_is_one_update(tmp_path: Path) -> None:
    """One job reads the devices of all uevents that arrive together."""
    async with following(tmp_path) as live:
        paths = [live.pci(f"0000:02:{slot:02x}.0") for slot in range(32)]
        live.monitor.feed(*[Uevent("add", path, "pci") for path in paths])
        await live.until_true_to_the_host()
        assert live.follower.followed.events == 32
        assert live.follower.followed.updates == 1


async def test_uevents_of_one_change_are_one_update_and_parents_come_first(tmp_path: Path) -> None:
    """Also the first ones of a quiet time, in whatever order they are: those that are there."""
    async with following(tmp_path, stuck_seconds=PATIENCE_SECONDS) as live:
        card_with_mdev(live)
        card, mdev = (f"/sys/devices/pci0000:00/{CARD}{one}" for one in ("", f"/{UUID}"))
        live.monitor.feed(Uevent("add", mdev, "mdev"), Uevent("add", card, "pci"))
        first = live.store.snapshot.generation
        await live.until_true_to_the_host()
        assert live.follower.followed.updates == 1
        changes = [live.store.after(first + number) for number in range(2)]
        assert [one.change.device.path for one in changes if one is not None] == [card, mdev]


async def test_change_without_add_adds(tmp_path: Path) -> None:
    """The action does not matter: a device that exists is added."""
    async with following(tmp_path) as live:
        live.monitor.uevent("change", live.pci(CARD))
        await live.until_true_to_the_host()


async def test_remove_of_a_device_that_is_back_keeps_it(tmp_path: Path) -> None:
    """A uevent says which device to read, not whether it exists."""
    async with following(tmp_path, lambda live: live.pci(CARD)) as live:
        path = live.get(CARD).path
        assert path is not None
        live.remove(path)
        live.pci(CARD, revision=2)
        live.monitor.uevent("remove", path)
        live.monitor.uevent("add", path)
        live.monitor.uevent("add", path)
        await live.until_true_to_the_host()
        assert live.has(path)


async def test_removed_subtree_leaves_nothing(tmp_path: Path) -> None:
    """One uevent for the top is enough while the others are late."""
    bridge = "0000:00:01.0"

    def build(live: Live) -> None:
        live.pci(bridge, class_=0x060400)
        live.pci(CARD, parent=bridge)
        live.tree.mdev_type(CARD, "nvidia-1")
        live.tree.mdev_parent(CARD)
        live.tree.mdev(CARD, UUID, "nvidia-1")

    async with following(tmp_path, build) as live:
        path = live.tree.resolve(bridge)
        below = live.tree.resolve(CARD)
        live.remove(f"{below}/{UUID}")
        live.remove(below)
        live.remove(path)
        live.monitor.uevent("remove", path)
        await live.until_true_to_the_host()
        assert [device.name for device in live.store.snapshot] == ["computer"]


async def test_child_whose_uevent_comes_first_brings_its_parent_along(tmp_path: Path) -> None:
    """No watcher is sent a child before its parent."""
    bridge = "0000:00:01.0"
    async with following(tmp_path) as live:
        path = live.pci(bridge, class_=0x060400)
        child = live.pci(CARD, parent=bridge)
        live.monitor.uevent("add", child)
        await eventually(lambda: live.has(child))
        assert live.get(CARD).parent == live.get(bridge).name
        generation = live.store.snapshot.generation
        live.monitor.uevent("add", path)
        await live.until_true_to_the_host()
        assert live.store.snapshot.generation == generation


async def test_device_whose_directory_goes_after_its_last_uevent_goes(tmp_path: Path) -> None:
    """The kernel sends `remove` before it removes the directory, and nothing after that."""
    async with following(tmp_path, lambda live: live.pci(CARD)) as live:
        path = live.get(CARD).path or ""
        live.monitor.uevent("remove", path)
        await eventually(lambda: live.follower.followed.updates > 0)
        assert live.has(path)
        live.remove(path)
        await eventually(lambda: not live.has(path))


async def test_change_of_mdev_state_makes_a_parent_and_unmakes_it(tmp_path: Path) -> None:
    """A class device is in the tree only while it is registered with the mdev core."""
    async with following(tmp_path) as live:
        path = live.tree.device("/sys/devices/virtual/mtty/mtty", class_="mtty")
        live.monitor.uevent("add", path, "mtty")
        live.tree.mdev_type(path, "mtty-1")
        live.tree.mdev_parent(path)
        live.monitor.uevent("change", path, "mtty")
        await live.until_true_to_the_host()
        assert live.has(path)
        live.tree.remove("/sys/class/mdev_bus/mtty")
        live.tree.remove(f"{path}/mdev_supported_types")
        live.monitor.uevent("change", path, "mtty")
        await live.until_true_to_the_host()
        assert not live.has(path)


async def test_moved_device_takes_its_descendants_along(tmp_path: Path) -> None:
    """DEVPATH_OLD also applies to a device that was added below the old path just before."""

    def build(live: Live) -> None:
        old = live.tree.device("/sys/devices/virtual/mtty/old", class_="mtty")
        live.tree.mdev_type(old, "mtty-1")
        live.tree.mdev(old, UUID, "mtty-1")

    async with following(tmp_path, build) as live:
        old, new = "/sys/devices/virtual/mtty/old", "/sys/devices/virtual/mtty/new"
        assert live.has(f"{old}/{UUID}")
        live.tree.remove("/sys/class/mtty/old")
        live.remove(f"{old}/{UUID}")
        live.tree.remove(old)
        live.tree.device(new, class_="mtty")
        live.tree.mdev_type(new, "mtty-1")
        live.tree.mdev(new, UUID, "mtty-1")
        live.tree.mdev(new, OTHER_UUID, "mtty-1")
        live.monitor.feed(
            Uevent("add", f"{old}/{OTHER_UUID}", "mdev"),
            Uevent("move", new, "mtty", old_path=old),
            Uevent("move", new, "mtty", old_path=new),
        )
        await live.until_true_to_the_host()
        assert live.has(f"{new}/{UUID}")
        assert live.has(f"{new}/{OTHER_UUID}")


async def test_too_many_uevents_for_the_queue_are_one_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue of uevents has a capacity."""
    monkeypatch.setattr(pending, "UEVENTS_AT_MOST", 10)
    async with following(tmp_path) as live:
        paths = [live.pci(f"0000:02:{slot:02x}.0") for slot in range(32)]
        live.monitor.feed(*[Uevent("add", path, "pci") for path in paths])
        await live.until_true_to_the_host()
        assert live.follower.followed.rescans == 1
        assert live.follower.followed.overflows == 0


async def test_change_that_changes_nothing_makes_no_generation(tmp_path: Path) -> None:
    """`udevadm trigger` publishes nothing."""
    async with following(tmp_path, card_with_mdev) as live:
        generation = live.store.snapshot.generation
        live.monitor.uevent("change", live.tree.resolve(CARD))
        await eventually(lambda: live.follower.followed.updates == 1)
        live.monitor.uevent("add", live.pci(SOUND))
        await live.until_true_to_the_host()
        assert live.store.snapshot.generation == generation + 1


# -- changes without an event ----------------------------------------------------------------


async def test_mdev_whose_type_comes_late_is_completed(tmp_path: Path) -> None:
    """The kernel links mdev_type after the last uevent: the mdev is read until it has it."""

    def build(live: Live) -> None:
        live.pci(CARD)
        live.tree.mdev_type(CARD, "nvidia-1")
        live.tree.mdev_parent(CARD)

    def state() -> str | None:
        child = live.get(UUID).capability(MdevChild)
        return None if child is None else child.state

    async with following(tmp_path, build, poll_seconds=0.0) as live:
        path = live.tree.mdev(CARD, UUID, None)
        live.monitor.uevent("add", path, "mdev")
        await eventually(lambda: live.has(path))
        assert state() == "incomplete"
        kind = f"{live.tree.resolve(CARD)}/mdev_supported_types/nvidia-1"
        live.tree.kernel_link(f"{kind}/devices/{UUID}", path)
        live.tree.kernel_link(f"{path}/mdev_type", kind)
        await eventually(lambda: state() == "complete")
        await live.until_true_to_the_host()
        await eventually(lambda: not live.follower.rereads._tasks)


async def test_mdev_that_goes_before_it_is_complete_is_read_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An mdev that never gets its type is read again only while it exists."""
    monkeypatch.setattr("nodedevd.follow.rereads.AFTER_REMOVAL_SECONDS", (0.01, 0.02))

    def build(live: Live) -> None:
        live.pci(CARD)
        live.tree.mdev_type(CARD, "nvidia-1")

    async with following(tmp_path, build) as live:
        path = live.tree.mdev(CARD, UUID, None)
        live.monitor.uevent("add", path, "mdev")
        await eventually(lambda: live.has(path))
        live.remove(path)
        live.monitor.uevent("remove", path, "mdev")
        await live.until_true_to_the_host()
        await eventually(lambda: not live.follower.rereads._tasks)


async def test_counts_that_come_back_late_are_read_again(tmp_path: Path) -> None:
    """The kernel frees an mdev's slot a moment after the uevent, without another one."""
    async with following(tmp_path, card_with_mdev, count_age_seconds=60.0) as live:
        live.remove(f"{live.tree.resolve(CARD)}/{UUID}")
        kind = f"{live.tree.resolve(CARD)}/mdev_supported_types/nvidia-1"
        live.tree.remove(f"{kind}/devices/{UUID}")
        live.monitor.uevent("remove", f"{live.tree.resolve(CARD)}/{UUID}", "mdev")
        await eventually(lambda: not parent_of(live.get(CARD)).children)
        assert available(live.get(CARD)) == 1
        live.tree.attributes(kind, {"available_instances": 2})
        await live.until_true_to_the_host()
        assert live.follower.followed.events == 1


async def test_mdev_changes_the_counts_of_every_parent_of_its_card(tmp_path: Path) -> None:
    """Virtual functions share the capacity of the card: one mdev has all of them read again."""
    functions = ["0000:01:00.4", "0000:01:00.5", "0000:01:00.6"]

    def build(live: Live) -> None:
        live.pci(CARD)
        for function in functions:
            live.pci(function)
            live.tree.mdev_type(function, "nvidia-1")
            live.tree.mdev_parent(function)
        live.tree.sriov(CARD, functions)

    async with following(tmp_path, build) as live:
        for function in functions:
            live.tree.mdev_type(function, "nvidia-1", available=0)
        path = live.tree.mdev(functions[0], UUID, "nvidia-1")
        live.monitor.uevent("add", path, "mdev")
        await live.until_true_to_the_host()
        assert [available(live.get(function)) for function in functions] == [0, 0, 0]
        assert live.follower.followed.rescans == 0


async def test_virtual_function_linked_after_its_add_is_listed_by_its_physical_one(
    tmp_path: Path,
) -> None:
    """The kernel links physfn and virtfn between `add` and `change` of the virtual function."""
    async with following(tmp_path, lambda live: live.pci(CARD)) as live:
        path = live.pci("0000:01:00.4")
        live.monitor.uevent("add", path)
        await live.until_true_to_the_host()
        live.tree.sriov(CARD, ["0000:01:00.4"])
        live.monitor.uevent("change", path)
        await live.until_true_to_the_host()


# -- counts on request ---------------------------------------------------------------------


async def test_stale_counts_are_read_for_a_client(tmp_path: Path) -> None:
    """A new count is published as a change; counts that were just read are not read again."""
    async with following(tmp_path, card_with_mdev, count_age_seconds=0.0) as live:
        generation = live.store.snapshot.generation
        live.tree.mdev_type(CARD, "nvidia-1", available=7)
        assert available(live.get(CARD)) == 1
        fresh = live.follower.volatile.refresh([live.get(CARD)])
        assert fresh is not None
        await fresh
        assert available(live.get(CARD)) == 7
        assert live.store.snapshot.generation == generation + 1
        assert live.follower.volatile.refresh([live.get("computer")]) is None


async def test_device_is_fresh_until_its_counts_are_too_old(tmp_path: Path) -> None:
    """A device without counts is fresh for ever; a fresh device needs no refresh."""
    async with following(tmp_path, card_with_mdev, count_age_seconds=60.0) as live:
        began = live.follower.volatile._read_at[live.tree.resolve(CARD)]
        assert live.follower.volatile.fresh_until(live.get(CARD)) == began + 60
        assert live.follower.volatile.refresh([live.get(CARD)]) is None
        assert live.follower.volatile.fresh_until(live.get("computer")) == math.inf


def card_with_vendor_vfio(live: Live) -> None:
    """A card whose two virtual functions can become vGPUs."""
    live.pci(CARD)
    for vf in VFS:
        live.pci(
            vf,
            attributes={
                "nvidia/creatable_vgpu_types": "1148  : NVIDIA L40S-2Q",
                "nvidia/current_vgpu_type": 0,
            },
        )
    live.tree.sriov(CARD, VFS)


def profiles(live: Live) -> list[str | None]:
    """Return the profile of each virtual function."""
    found = [live.get(vf).capability(Vgpu) for vf in VFS]
    return [None if one is None or one.current is None else one.current.name for one in found]


def creatable(live: Live) -> int:
    """Return how many profiles the virtual functions list."""
    found = [live.get(vf).capability(Vgpu) for vf in VFS]
    return sum(len(one.creatable or ()) for one in found if one is not None)


async def test_profile_set_without_an_event_is_found_for_a_client(tmp_path: Path) -> None:
    """The other functions of the card, which share its capacity, are read with it."""
    async with following(tmp_path, card_with_vendor_vfio, count_age_seconds=0.0) as live:
        first, second = map(live.tree.resolve, VFS)
        live.tree.attributes(first, {"nvidia/current_vgpu_type": 1148})
        live.tree.attributes(second, {"nvidia/creatable_vgpu_types": ""})
        assert profiles(live) == [None, None]
        fresh = live.follower.volatile.refresh([live.get(VFS[0])])
        assert fresh is not None
        await fresh
        # Only the function itself still lists this type.
        assert profiles(live) == ["NVIDIA L40S-2Q", None]
        assert live.true_to_the_host()


async def test_profile_set_without_an_event_is_noticed_soon(tmp_path: Path) -> None:
    """Without a request, by a poll; its name is known when no function lists it any more."""
    async with following(tmp_path, card_with_vendor_vfio, poll_seconds=0.01) as live:
        updates = live.follower.followed.updates
        first, second = map(live.tree.resolve, VFS)
        for path in (first, second):
            live.tree.attributes(path, {"nvidia/creatable_vgpu_types": "ID    : vGPU Name"})
        live.tree.attributes(first, {"nvidia/current_vgpu_type": 1148})
        await eventually(lambda: profiles(live) == ["NVIDIA L40S-2Q", None])
        await eventually(lambda: not creatable(live))
        # A poll that finds nothing is no update.
        assert live.follower.followed.updates == updates


async def test_removal_that_begins_without_an_event_is_noticed_soon(tmp_path: Path) -> None:
    """Without a request, by a poll."""

    def build(live: Live) -> None:
        live.pci(CARD)
        live.tree.mdev_type(CARD, "nvidia-1")
        live.tree.mdev_parent(CARD)
        live.tree.mdev(CARD, UUID, "nvidia-1")

    async with following(tmp_path, build, poll_seconds=0.01) as live:
        found = live.get(UUID)
        assert (found.state, found.is_volatile) == ("active", False)
        live.tree.begin_removal(found.path or "")
        await eventually(lambda: live.get(UUID).state == "removing")
        # A poll may have seen it half done; of a new scan nobody knows the type.
        host = scan(Sysroot(live.sysroot.root))
        await eventually(lambda: differences(host, live.store.snapshot) == ())


async def test_profile_set_without_an_event_is_found_by_the_reconcile(tmp_path: Path) -> None:
    """Without a request."""
    async with following(tmp_path, card_with_vendor_vfio) as live:
        path = live.tree.resolve(VFS[1])
        live.tree.attributes(path, {"nvidia/current_vgpu_type": 1148})
        live.reconcile()
        await eventually(lambda: profiles(live) == [None, "NVIDIA L40S-2Q"])


async def test_fresh_counts_are_not_read_again(tmp_path: Path) -> None:
    """The client does not wait."""
    async with following(tmp_path, card_with_mdev, count_age_seconds=60.0) as live:
        assert live.follower.volatile.refresh([live.get(CARD)]) is None


async def test_parents_requested_again_and_again_are_read_together(tmp_path: Path) -> None:
    """Parents that were requested shortly before and are stale are read in the same job."""
    other = "0000:00:1d.0"

    def two_parents(live: Live) -> None:
        card_with_mdev(live)
        live.pci(other)
        live.tree.mdev_type(other, "nvidia-1", available=1)
        live.tree.mdev_parent(other)

    for asked_before, expected in ((False, 1), (True, 5)):
        root = tmp_path / str(asked_before)
        async with following(root, two_parents, count_age_seconds=60.0) as live:
            if asked_before:
                assert live.follower.volatile.refresh([live.get(other)]) is None
            live.follower.volatile._read_at.clear()  # as if they were read long ago
            live.tree.mdev_type(other, "nvidia-1", available=5)
            fresh = live.follower.volatile.refresh([live.get(CARD)])
            assert fresh is not None
            await fresh
            assert available(live.get(other)) == expected


async def test_client_that_goes_while_counts_are_read_leaves_the_others_waiting(
    tmp_path: Path,
) -> None:
    """Cancelling one request leaves the others waiting."""
    async with following(tmp_path, card_with_mdev, count_age_seconds=0.0) as live:
        waits = [live.follower.volatile.refresh([live.get(CARD)]) for _ in range(2)]
        assert waits[0] is not None
        assert waits[1] is not None
        waits[0].cancel()
        await waits[1]
        assert waits[0].cancelled()


async def test_request_during_a_job_waits_for_the_next_one(tmp_path: Path) -> None:
    """A job that began before the request may have read the old value."""
    asked: list[asyncio.Future[None] | None] = []
    loop = asyncio.get_running_loop()
    count = f"/sys/devices/pci0000:00/{CARD}/mdev_supported_types/nvidia-1/available_instances"

    def change_and_ask() -> None:
        live.tree.mdev_type(CARD, "nvidia-1", available=7)
        done = asyncio.run_coroutine_threadsafe(ask(), loop)
        done.result()

    async def ask() -> None:
        asked.append(live.follower.volatile.refresh([live.get(CARD)]))

    sysroot = Interrupted(tmp_path, count, lambda: None)
    async with following(tmp_path, card_with_mdev, sysroot=sysroot, count_age_seconds=0.0) as live:
        sysroot._change = change_and_ask
        first = live.follower.volatile.refresh([live.get(CARD)])
        assert first is not None
        await first
        assert asked[0] is not None
        assert not asked[0].done()
        await asked[0]
        assert available(live.get(CARD)) == 7


# -- lost uevents --------------------------------------------------------------------------


async def test_overflow_is_counted_and_logged_once_and_the_host_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A scan finds the lost changes; a burst of errors is one line of the log."""
    async with following(tmp_path, lambda live: live.pci(CARD)) as live:
        live.pci(SOUND)
        with caplog.at_level(logging.WARNING):
            for _ in range(5):
                live.monitor.overflow()
            await live.until_true_to_the_host()
        assert live.follower.followed.overflows == 5
        assert live.follower.followed.last_event is None
        assert [record.message for record in caplog.records] == [
            "lost uevents (ENOBUFS): reading the whole host again"
        ]


async def test_scan_after_an_overflow_waits_until_the_socket_is_drained(tmp_path: Path) -> None:
    """Until then the kernel drops events without another error."""
    waiting: list[int] = []
    sysroot = Interrupted(tmp_path, "/sys/bus/pci/devices", lambda: None)
    async with following(tmp_path, lambda live: live.pci(CARD), sysroot=sysroot) as live:
        sysroot._change = lambda: waiting.append(live.monitor.waiting)
        path = live.tree.resolve(CARD)
        live.monitor.feed(
            EventsLost("ENOBUFS", overflow=True, usable=True),
            *[Uevent("change", path, "pci")] * (2 * sources.DRAIN_AT_ONCE),
        )
        await eventually(lambda: live.follower.followed.rescans == 1)
        assert waiting == [0]
        assert live.follower.followed.updates == 0


async def test_event_that_cannot_be_parsed_costs_a_scan(tmp_path: Path) -> None:
    """It may have been about any device; the monitor stays open."""
    async with following(tmp_path) as live:
        live.pci(CARD)
        live.monitor.feed(EventsLost("EINVAL", overflow=False, usable=True))
        await live.until_true_to_the_host()
        live.monitor.uevent("add", live.pci(SOUND))
        await live.until_true_to_the_host()
        assert live.follower.followed.monitor_errors == 1
        assert live.follower.followed.overflows == 0
        assert len(live.monitors.opened) == 1


async def test_broken_monitor_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host is scanned at once, and again when the monitor is open."""
    monkeypatch.setattr(sources, "REOPEN_SECONDS", 0.01)
    async with following(tmp_path) as live:
        broken = live.monitor
        broken.feed(EventsLost("EBADF", overflow=False, usable=False))
        await eventually(lambda: broken.closed and len(live.monitors.opened) == 2)
        live.monitor.uevent("add", live.pci(CARD))
        await live.until_true_to_the_host()
        assert live.follower.sources.event_source == "kernel"
        assert live.follower.followed.monitor_errors == 1


async def test_monitor_that_cannot_be_opened_is_tried_again_and_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The host is served meanwhile; changes are found by the scan after the monitor opens."""
    monkeypatch.setattr(sources, "REOPEN_SECONDS", 0.01)
    async with following(tmp_path, start=False) as live:
        live.monitors.refusals = 5
        await live.follower.start()
        assert live.follower.sources.event_source == "none"
        live.pci(CARD)
        live.reconcile()  # which starts no second series of attempts
        await eventually(lambda: live.follower.sources.event_source == "kernel")
        await live.until_true_to_the_host()
        assert live.monitors.tries == 6
        said = [record for record in caplog.records if "cannot receive uevents" in record.message]
        assert len(said) == 1


# -- the reconcile -------------------------------------------------------------------------


@pytest.mark.slow
async def test_reconcile_counts_a_change_without_a_uevent_but_not_a_late_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Both are published at once; only one is missed, and the log names it."""
    monkeypatch.setattr(missed, "LATE_EVENT_SECONDS", 0.2)
    async with following(tmp_path, reconcile_seconds=3600.0) as live:
        late, silent = live.pci(CARD), live.pci(SOUND)
        with caplog.at_level(logging.INFO):
            live.reconcile()
            await eventually(lambda: live.has(late) and live.has(silent))
            live.monitor.uevent("add", late)
            await eventually(lambda: live.follower.followed.missed_changes > 0)
        assert live.follower.followed.missed_changes == 1
        assert (
            "the reconcile found changes without an event: pci_0000_01_00_1 added"
            in caplog.messages
        )


@pytest.mark.slow
async def test_uevent_taken_together_with_the_reconcile_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change whose uevent arrived before the scan is not missed."""
    monkeypatch.setattr(missed, "LATE_EVENT_SECONDS", 0.2)
    async with following(tmp_path) as live:
        reported, silent = live.pci(CARD), live.pci(SOUND)
        live.monitor.uevent("add", reported)
        live.follower.sources.uevents._on_readable(live.monitor)
        live.reconcile()
        await eventually(lambda: live.follower.followed.missed_changes > 0)
        assert live.has(reported)
        assert live.has(silent)
        assert live.follower.followed.missed_changes == 1


@pytest.mark.slow
async def test_late_uevent_of_an_mdev_explains_the_counts_of_its_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counts that changed with the mdev are not missed."""
    monkeypatch.setattr(missed, "LATE_EVENT_SECONDS", 0.2)
    functions = ["0000:01:00.4", "0000:01:00.5"]

    def build(live: Live) -> None:
        live.pci(CARD)
        for function in functions:
            live.pci(function)
            live.tree.mdev_type(function, "nvidia-1")
            live.tree.mdev_parent(function)
        live.tree.sriov(CARD, functions)

    async with following(tmp_path, build) as live:
        for function in functions:
            live.tree.mdev_type(function, "nvidia-1", available=0)
        path = live.tree.mdev(functions[0], UUID, "nvidia-1")
        live.pci("0000:09:00.0")
        live.reconcile()
        await live.until_true_to_the_host()
        live.monitor.uevent("add", path, "mdev")
        await eventually(lambda: live.follower.followed.missed_changes > 0)
        assert live.follower.followed.missed_changes == 1


async def test_reconcile_comes_by_itself(tmp_path: Path) -> None:
    """Without any uevent the tree is correct after one interval."""
    async with following(tmp_path, events="none", reconcile_seconds=0.02) as live:
        live.pci(CARD)
        await live.until_true_to_the_host()
        assert live.follower.followed.rescans > 0


async def test_host_that_cannot_be_read_keeps_its_tree_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While /sys is missing the tree is stale, and the log has one line."""
    monkeypatch.setattr(follower, "RETRY_SECONDS", 0.01)
    root = tmp_path / "host"
    async with following(root, card_with_mdev) as live:
        before = list(live.store.snapshot)
        shutil.move(root / "sys", root / "away")
        live.reconcile()
        await eventually(lambda: bool(caplog.records))
        assert list(live.store.snapshot) == before
        shutil.move(root / "away", root / "sys")
        live.pci(SOUND)
        await live.until_true_to_the_host()
        assert caplog.messages == ["cannot read the host: trying again every 0.01 s"]


# -- reads that do not return --------------------------------------------------------------


def attribute(live: Live, address: str, name: str = "numa_node") -> str:
    """Return the path of an attribute of a PCI function."""
    return live.tree.at(f"{live.tree.resolve(address)}/{name}")


@pytest.mark.slow
async def test_read_that_hangs_costs_one_device_its_freshness(tmp_path: Path) -> None:
    """Other devices are followed meanwhile; the device has a fault until the read returns."""

    def build(live: Live) -> None:
        live.pci(CARD)
        live.pci(SOUND)

    async with following(tmp_path, build, stuck_seconds=STUCK_SECONDS) as live:
        stuck = StuckAttribute(attribute(live, CARD))
        live.monitor.uevent("change", live.tree.resolve(CARD))
        await eventually(lambda: STALE in live.get(CARD).errors)
        assert [read.path for read in live.follower.reads.hangs.unanswered()] == [
            live.tree.resolve(CARD)
        ]
        live.monitor.uevent("change", live.pci(SOUND, numa_node=1))
        live.monitor.uevent("add", live.pci("0000:02:00.0"))
        live.monitor.uevent("change", live.tree.resolve(CARD))
        await eventually(lambda: live.has(live.tree.resolve("0000:02:00.0")))
        assert live.get(SOUND).capabilities != live.get(CARD).capabilities
        assert len(live.follower.reads.hangs) == 1
        stuck.free()
        await eventually(lambda: live.follower.reads.hangs.unanswered() == ())
        await live.until_true_to_the_host()


@pytest.mark.slow
async def test_read_that_hangs_in_the_first_scan_does_not_hold_it_up(tmp_path: Path) -> None:
    """The device is shown with its path and subsystem alone until it can be read."""

    def build(live: Live) -> None:
        live.pci(CARD)
        live.pci(SOUND)
        stuck.append(StuckAttribute(attribute(live, CARD)))

    stuck: list[StuckAttribute] = []
    async with following(tmp_path, build, stuck_seconds=STUCK_SECONDS) as live:
        assert live.get(CARD).capabilities == ()
        assert live.get(CARD).errors == (STALE,)
        assert live.get(SOUND).errors == ()
        stuck[0].free()
        await live.until_true_to_the_host()


@pytest.mark.slow
async def test_scan_after_an_overflow_leaves_out_a_read_that_hangs(tmp_path: Path) -> None:
    """A scan of the whole host leaves the device out, as an update does."""

    def build(live: Live) -> None:
        live.pci(CARD)

    async with following(tmp_path, build, stuck_seconds=STUCK_SECONDS) as live:
        stuck = StuckAttribute(attribute(live, CARD))
        live.monitor.uevent("change", live.tree.resolve(CARD))
        await eventually(lambda: bool(live.follower.reads.hangs))
        path = live.pci(SOUND)
        live.monitor.overflow()
        await eventually(lambda: live.has(path))
        assert STALE in live.get(CARD).errors
        stuck.free()
        await live.until_true_to_the_host()


@pytest.mark.exhaustive
async def test_all_functions_of_a_card_may_hang_together(tmp_path: Path) -> None:
    """Each keeps a thread; the other devices are still followed."""
    functions = [f"0000:01:{slot:02x}.0" for slot in range(20)]

    def build(live: Live) -> None:
        for function in functions:
            live.pci(function)
            stuck.append(StuckAttribute(attribute(live, function)))

    stuck: list[StuckAttribute] = []
    async with following(tmp_path, build, stuck_seconds=0.05) as live:
        hanging = set(map(live.tree.resolve, functions))
        # On a busy machine the first scan may take a slow read for one that hangs.
        await eventually(
            lambda: {read.path for read in live.follower.reads.hangs.unanswered()} == hanging
        )
        live.monitor.uevent("add", live.pci("0000:02:00.0"))
        await eventually(lambda: live.has(live.tree.resolve("0000:02:00.0")))
        for one in stuck:
            one.free()
        await eventually(lambda: not live.follower.reads.hangs)
        await live.until_true_to_the_host()


@pytest.mark.slow
async def test_hanging_threads_are_bounded_and_clients_get_stale_counts(tmp_path: Path) -> None:
    """Beyond the limit nothing is read, and stale counts are served."""
    functions = [f"0000:01:{slot:02x}.0" for slot in range(3)]

    def build(live: Live) -> None:
        card_with_mdev(live)
        for function in functions:
            live.pci(function)

    options = {"stuck_seconds": 0.05, "count_age_seconds": 0.0, "hanging_at_most": 2}
    async with following(tmp_path, build, **options) as live:  # type: ignore[arg-type]
        # On a busy machine the first scan may take a slow read for one that hangs.
        await eventually(lambda: not live.follower.reads.hangs)
        await live.until_true_to_the_host()
        stuck = {live.tree.resolve(one): StuckAttribute(attribute(live, one)) for one in functions}
        for path in stuck:
            live.monitor.uevent("change", path)
        await eventually(lambda: len(live.follower.reads.hangs) == 2)
        fresh = live.follower.volatile.refresh([live.get(CARD)])
        assert fresh is not None
        await fresh
        while stuck:
            await eventually(lambda: bool(live.follower.reads.hangs))
            stuck.pop(next(iter(live.follower.reads.hangs)).path).free()
            await eventually(lambda: not {one.path for one in live.follower.reads.hangs} - {*stuck})
        await live.until_true_to_the_host()


async def test_device_that_is_slow_and_not_stuck_becomes_fresh(tmp_path: Path) -> None:
    """After its read returned the device gets more time, or it would never be read."""
    async with following(tmp_path, lambda live: live.pci(CARD), stuck_seconds=0.05) as live:
        stuck = StuckAttribute(attribute(live, CARD))
        live.monitor.uevent("change", live.tree.resolve(CARD))
        await eventually(lambda: bool(live.follower.reads.hangs))
        before = live.follower.reads.hangs.limit(live.tree.resolve(CARD))
        stuck.free()
        await eventually(lambda: not live.follower.reads.hangs)
        await live.until_true_to_the_host()
        assert live.follower.reads.hangs.limit(live.tree.resolve(CARD)) > 2 * before


@pytest.mark.slow
async def test_close_does_not_wait_for_a_read_that_hangs(tmp_path: Path) -> None:
    """The stop does not wait for it."""
    async with following(
        tmp_path, lambda live: live.pci(CARD), stuck_seconds=STUCK_SECONDS
    ) as live:
        stuck = StuckAttribute(attribute(live, CARD))
        live.monitor.uevent("change", live.tree.resolve(CARD))
        await eventually(lambda: bool(live.follower.reads.hangs))
    stuck.free()
    await eventually(lambda: not live.follower.reads.hangs)
