"""Whatever happens to a host, in whatever order events report it, the tree ends equal to the host.

Random changes are reported, reported late, lost in an overflow, or not reported at all. A watcher
that applies its events to its first snapshot has the published snapshot at every generation.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodedevd.follow.follower import Follower
from nodedevd.follow.options import FollowOptions
from nodedevd.follow.pending import Scan
from nodedevd.host.events.uevent import Uevent
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.changes import Update
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.store import Store
from nodedevd.server.encodings import Encodings
from nodedevd.server.varlink.watch import Filter, WatchReplies, WatchStream
from nodedevd.tree.read import scan
from tests.support.fake_monitor import FakeMonitors, eventually
from tests.support.search import examples
from tests.support.trees import Tree
from tests.support.watching import Mirror

BRIDGE = "0000:00:01.0"
FUNCTIONS = ["0000:01:00.0", "0000:01:00.1", "0000:01:00.2"]
UUIDS = [f"27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c0{number}" for number in range(3)]
CLASS_PARENT = "/sys/devices/virtual/mtty/mtty"


class Host:
    """A host that changes as a kernel would change it; each method returns its uevents.

    A change that is not possible now, such as removing a missing device, does nothing.
    """

    def __init__(self, root: str) -> None:
        self.tree = Tree(root)
        self.tree.directory("/sys/bus")
        self.late: set[str] = set()

    def there(self, path: str) -> bool:
        """Return whether a device exists."""
        return Path(self.tree.at(path)).is_dir()

    def path(self, address: str) -> str:
        """Return the path of a PCI function, whether or not it exists."""
        bridge = f"/sys/devices/pci0000:00/{BRIDGE}"
        return bridge if address == BRIDGE else f"{bridge}/{address}"

    def parents(self) -> list[str]:
        """Return the devices that can be mdev parents."""
        return [*map(self.path, FUNCTIONS), CLASS_PARENT]

    def plug(self, number: int) -> list[Uevent]:
        """Add or change a PCI function, and its bridge, whose uevent may come later."""
        address = FUNCTIONS[number % len(FUNCTIONS)]
        uevents = []
        for one in (BRIDGE, address):
            new = not self.there(self.path(one))
            if new or one == address:
                class_ = 0x060400 if one == BRIDGE else 0x030200
                parent = "pci0000:00" if one == BRIDGE else BRIDGE
                self.tree.pci(
                    one,
                    parent=parent,
                    vendor=0x10DE,
                    device=1,
                    class_=class_,
                    numa_node=number,
                    iommu_group=None if one == BRIDGE else 7,
                )
                uevents.append(Uevent("add" if new else "change", self.path(one), "pci"))
        return uevents[::-1] if number % 2 else uevents

    def unplug(self, number: int) -> list[Uevent]:
        """Remove a PCI function or the bridge, with everything below it."""
        address = [BRIDGE, *FUNCTIONS][number % 4]
        path = self.path(address)
        if not self.there(path):
            return []
        below = [one for one in FUNCTIONS if self.there(self.path(one))]
        uevents = []
        for one in below if address == BRIDGE else [address]:
            uevents += self.unregister(FUNCTIONS.index(one))
            uevents.append(self._gone(self.path(one), "pci"))
        if address == BRIDGE:
            uevents.append(self._gone(path, "pci"))
        return uevents

    def register(self, number: int) -> list[Uevent]:
        """Make a device an mdev parent, or change its types and counts."""
        path = self.parents()[number % 4]
        uevents = []
        if path == CLASS_PARENT and not self.there(path):
            self.tree.device(path, class_="mtty")
            uevents.append(Uevent("add", path, "mtty"))
        if not self.there(path):
            return []
        for one in range(1 + number % 2):
            self.tree.mdev_type(path, f"type-{one}", available=number)
        self.tree.mdev_parent(path)
        uevents.append(Uevent("change", path, "mtty" if path == CLASS_PARENT else "pci"))
        return uevents

    def unregister(self, number: int) -> list[Uevent]:
        """Remove the mdevs of a parent, and its types."""
        path = self.parents()[number % 4]
        if not self.there(f"{path}/mdev_supported_types"):
            return []
        uevents = []
        for uuid in UUIDS:
            if self.there(f"{path}/{uuid}"):
                uevents += self.destroy(UUIDS.index(uuid))
        self.tree.remove(f"/sys/class/mdev_bus/{path.rpartition('/')[2]}")
        self.tree.remove(f"{path}/mdev_supported_types")
        uevents.append(Uevent("change", path, "mtty" if path == CLASS_PARENT else "pci"))
        return uevents

    def create(self, number: int) -> list[Uevent]:
        """Make an mdev; its type may come late."""
        path, uuid = self.parents()[number % 4], UUIDS[number % len(UUIDS)]
        if not self.there(f"{path}/mdev_supported_types/type-0") or self._of(uuid) is not None:
            return []
        late = number % 2 == 1
        mdev = self.tree.mdev(path, uuid, None if late else "type-0")
        if late:
            self.late.add(mdev)
        return [Uevent("add", mdev, "mdev"), Uevent("bind", mdev, "mdev")]

    def complete(self, number: int) -> list[Uevent]:
        """Link the types that are late, without a uevent."""
        for mdev in sorted(self.late):
            kind = f"{mdev.rpartition('/')[0]}/mdev_supported_types/type-0"
            self.tree.kernel_link(f"{kind}/devices/{mdev.rpartition('/')[2]}", mdev)
            self.tree.kernel_link(f"{mdev}/mdev_type", kind)
        self.late.clear()
        return []

    def destroy(self, number: int) -> list[Uevent]:
        """Remove an mdev."""
        uuid = UUIDS[number % len(UUIDS)]
        mdev = self._of(uuid)
        if mdev is None:
            return []
        link = f"{mdev.rpartition('/')[0]}/mdev_supported_types/type-0/devices/{uuid}"
        if mdev not in self.late:
            self.tree.remove(link)
        self.late.discard(mdev)
        return [Uevent("unbind", mdev, "mdev"), self._gone(mdev, "mdev")]

    def _of(self, uuid: str) -> str | None:
        for parent in self.parents():
            if self.there(f"{parent}/{uuid}"):
                return f"{parent}/{uuid}"
        return None

    def _gone(self, path: str, bus: str) -> Uevent:
        name = path.rpartition("/")[2]
        self.tree.remove(f"/sys/bus/{bus}/devices/{name}")
        group = self.tree.at(f"/sys/kernel/iommu_groups/7/devices/{name}")
        if Path(group).is_symlink():
            Path(group).unlink()
        self.tree.remove(path)
        return Uevent("remove", path, bus)


class Recorded(Store):
    """A store that keeps every published snapshot, by generation."""

    def __init__(self) -> None:
        super().__init__()
        self.published: dict[int, Snapshot] = {}

    def begin(self, snapshot: Snapshot) -> None:
        """Publish, and keep the snapshot."""
        super().begin(snapshot)
        self.published[snapshot.generation] = snapshot

    def publish(self, update: Update) -> None:
        """Publish, and keep the snapshot."""
        self.published[update.snapshot.generation] = update.snapshot
        super().publish(update)


CHANGES: list[Callable[[Host, int], list[Uevent]]] = [
    Host.plug,
    Host.plug,
    Host.unplug,
    Host.register,
    Host.register,
    Host.unregister,
    Host.create,
    Host.create,
    Host.complete,
    Host.destroy,
]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(CHANGES),
        st.integers(0, 11),
        st.sampled_from(["reported"] * 8 + ["late", "late", "lost", "silent"]),
        st.sampled_from(["go on", "yield", "wait", "wait", "wait", "reconcile"]),
    ),
    max_size=25,
)


async def live_through(
    root: str, steps: list[tuple[Callable[[Host, int], list[Uevent]], int, str, str]]
) -> None:
    """Change a host step by step; check the tree in the end, and the mirror of a watcher."""
    host = Host(root)
    store, monitors = Recorded(), FakeMonitors()
    options = FollowOptions(events="kernel", reconcile_seconds=0.0)
    follower = Follower(Sysroot(root), store, options, open_monitor=monitors)
    await follower.start()
    watch = WatchStream(WatchReplies(Encodings(store)), Filter(), snapshot=True, content="json")
    watch.start(lambda: None)
    mirror = Mirror()

    def as_it_is() -> bool:
        return list(store.snapshot) == list(scan(Sysroot(root)))

    def listen() -> None:
        for event in mirror.take(watch):
            if event in store.published:
                assert mirror.devices == {one.name: one for one in store.published[event]}

    try:
        late: list[Uevent] = []
        silent = False
        for change, number, report, then in steps:
            uevents = change(host, number)
            if report == "reported":
                monitors.current.feed(*late, *uevents)
                late = []
            elif report == "late":
                late += uevents
            elif report == "lost":
                monitors.current.overflow()
            else:
                silent = True
            if then == "reconcile":
                follower.pending.request(Scan.RECONCILE)
            if then != "go on":
                await asyncio.sleep(0.005 if then == "wait" else 0)
            listen()
        monitors.current.feed(*late, *host.complete(0))
        if silent:
            follower.pending.request(Scan.RECONCILE)
        await eventually(lambda: as_it_is() and not monitors.current.waiting)
        listen()
        assert mirror.devices == {one.name: one for one in store.snapshot}
        assert follower.followed.monitor_errors == 0
    finally:
        watch.close()
        await follower.close(5)


@pytest.mark.exhaustive
@settings(derandomize=True, max_examples=examples(2.5))
@given(STEPS)
def test_tree_equals_the_host_whatever_happened(
    steps: list[tuple[Callable[[Host, int], list[Uevent]], int, str, str]],
) -> None:
    """Once it is quiet, and a reconcile found the silent changes, the tree equals a new scan."""
    with tempfile.TemporaryDirectory() as root:
        asyncio.run(live_through(root, steps))
