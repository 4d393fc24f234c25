"""in_time: a scan goes on without what hangs, wherever that is."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nodedevd.follow.hangs import SHORTEST_SECONDS, Hangs, TooManyHang
from nodedevd.follow.in_time import in_time, read_in_time, scan_in_time
from nodedevd.host.assignment import read_assignment_facts
from nodedevd.host.device_nodes import read_device_nodes
from nodedevd.host.job import Job
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.read import STALE, rescan, scan
from tests.support.hosts import unpacked
from tests.support.stuck import HangingClock, StuckAttribute
from tests.support.trees import Tree
from tests.support.vpd import vital_product_data

GPU = "/sys/devices/pci0000:00/0000:00:02.0/0000:02:00.0"
LUN = f"{GPU}/host0/target0:0:0/0:0:0:0"
FACTS = {
    "/proc/self/mountinfo": "mounts_known",
    "/proc/swaps": "swaps_known",
    "/proc/net/route": "addresses_known",
    "/proc/net/if_inet6": "addresses_known",
}
STUCK_SECONDS = 0.02


class HangingSysroot(Sysroot):
    """A host on which a call for some paths does not return until it is released."""

    def __init__(self, root: str, *paths: str) -> None:
        super().__init__(root)
        self.released = threading.Event()
        self.hanging = 0
        hanging = set(paths)
        listdir, readlink = self._listdir, self._readlink

        def wait(path: str) -> None:
            if path in hanging:
                self.hanging += 1
                self.released.wait()

        # To look for links on the way to a directory is not to list it.
        links = {path for path in hanging if os.path.islink(f"{root}{path}")}

        def hanging_listdir(path: str) -> list[str]:
            wait(path)
            return listdir(path)

        def hanging_readlink(path: str) -> str:
            if path in links:
                wait(path)
            return readlink(path)

        self._listdir, self._readlink = hanging_listdir, hanging_readlink


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HangingClock:
    """Return the clock by which reads hang."""
    return HangingClock(monkeypatch)


@contextmanager
def hanging(root: Path, clock: HangingClock, *paths: str) -> Iterator[HangingSysroot]:
    """Yield a host whose calls hang; they are released in the end."""
    sysroot = HangingSysroot(str(root), *paths)
    clock.watch(sysroot)
    try:
        yield sysroot
    finally:
        sysroot.released.set()


@pytest.fixture
def host(tmp_path: Path) -> Tree:
    """A sample host as files, with what a sample lacks."""
    tree = unpacked("vgpu-pf", tmp_path)
    tree.dmi(product_name="P", sys_vendor="V")
    tree.attributes(GPU, {"vpd": vital_product_data("Card", {"SN": "1"})})
    tree.device(LUN, bus="scsi")
    disk = tree.block("sda", above=f"{LUN}/block", device=LUN, number=(8, 0))
    tree.udev(disk, {"ID_TYPE": "disk"}, links=["disk/by-path/x"])
    for file in FACTS:
        tree.file(file)
    return tree


@pytest.mark.parametrize(
    ("file", "left_out"),
    [
        (f"{GPU}/uevent", GPU),
        (f"{GPU}/numa_node", GPU),
        (f"{GPU}/vpd", GPU),
        ("/run/udev/data/b8:0", f"{LUN}/block/sda"),
        ("/sys/devices/virtual/dmi/id/product_name", "/sys/devices/virtual/dmi/id"),
        ("/usr/share/misc/pci.ids", "/usr/share/misc/pci.ids"),
        (
            f"{GPU}/mdev_supported_types/nvidia-283/name",
            f"{GPU}/mdev_supported_types/nvidia-283",
        ),
    ],
)
def test_file_that_hangs_costs_one_device(
    host: Tree, clock: HangingClock, file: str, left_out: str
) -> None:
    """All others are read, and there is one read that hangs."""
    whole = scan(Sysroot(host.root))
    stuck = StuckAttribute(host.at(file))
    clock.watch(stuck)
    snapshot, unanswered = scan_in_time(Sysroot(host.root), stuck_seconds=STUCK_SECONDS)
    assert [read.path for read in unanswered] == [left_out]
    assert set(snapshot.names) == set(whole.names)
    assert len([device for device in snapshot if STALE in device.errors]) <= 1
    assert snapshot.errors or any(device.errors for device in snapshot)
    stuck.free()


@pytest.mark.parametrize(
    "path",
    [
        "/sys/bus/pci/devices",
        "/sys/bus/pci/devices/0000:02:00.0",
        "/sys/class/mdev_bus",
        "/sys/bus/mdev/devices",
        "/sys/bus",
        "/sys/class",
        "/etc/mdevctl.d",
    ],
)
def test_directory_or_link_that_hangs_takes_nothing_away(
    host: Tree, clock: HangingClock, path: str
) -> None:
    """The devices that it led to before stay, and the rest is read."""
    whole = scan(Sysroot(host.root))
    with hanging(Path(host.root), clock, path) as sysroot:

        def read(job: Job) -> Snapshot:
            return rescan(sysroot, whole, job=job).snapshot

        snapshot, unanswered = in_time(read, stuck_seconds=STUCK_SECONDS)
        assert [one.path for one in unanswered] == [path]
        assert set(snapshot.names) == set(whole.names)
        assert path in {fault.attribute for fault in snapshot.errors}
        first, _ = scan_in_time(sysroot, stuck_seconds=STUCK_SECONDS)
        assert first.errors
        assert len(first) >= 1


def test_facts_that_hang_are_unknown(host: Tree, clock: HangingClock) -> None:
    """What a host uses of its devices is unknown then, and not unused."""
    with hanging(Path(host.root), clock, "/sys/class/block") as sysroot:
        facts, _ = read_in_time(sysroot, read_assignment_facts, stuck_seconds=STUCK_SECONDS)
    assert not facts.mounts_known


@pytest.mark.parametrize("file", FACTS)
def test_file_of_facts_that_hangs_leaves_the_others_known(
    host: Tree, clock: HangingClock, file: str
) -> None:
    """What the host has mounted, what it swaps to, and its addresses are in a file each."""
    stuck = StuckAttribute(host.at(file))
    clock.watch(stuck)
    facts, unanswered = read_in_time(
        Sysroot(host.root), read_assignment_facts, stuck_seconds=STUCK_SECONDS
    )
    assert [one.path for one in unanswered] == [file]
    assert {name for name in FACTS.values() if not getattr(facts, name)} == {FACTS[file]}
    stuck.free()


def test_node_whose_device_hangs_costs_no_other(tmp_path: Path, clock: HangingClock) -> None:
    """The nodes of the other devices are found."""
    tree = Tree(tmp_path)
    tree.directory("/sys/bus")
    for number, name in enumerate(("sda", "sdb")):
        path = f"/sys/devices/virtual/block/{name}"
        tree.file(f"{path}/dev", f"8:{number}\n")
        tree.file(f"{path}/uevent", f"MAJOR=8\nMINOR={number}\nDEVNAME={name}\n")
    stuck = StuckAttribute(tree.at("/sys/devices/virtual/block/sda/uevent"))
    clock.watch(stuck)
    nodes, unanswered = read_in_time(
        Sysroot(tree.root), read_device_nodes, stuck_seconds=STUCK_SECONDS
    )
    assert [one.path for one in unanswered] == ["/sys/devices/virtual/block/sda/uevent"]
    assert "/dev/sdb" in nodes.paths
    assert "/dev/sda" not in nodes.paths
    stuck.free()


@pytest.mark.exhaustive
def test_sixty_devices_hang_and_the_others_are_read(tmp_path: Path, clock: HangingClock) -> None:
    """What is read once is not read again."""
    tree = Tree(tmp_path)
    tree.directory("/sys/bus")
    addresses = [f"{bus:04x}:01:{slot:02x}.0" for bus in range(6) for slot in range(20)]
    for address in addresses:
        tree.pci(address, vendor=1, device=2, class_=0x030200)
    stuck = [
        StuckAttribute(tree.at(f"{tree.resolve(address)}/numa_node")) for address in addresses[::2]
    ]
    clock.watch(*stuck)
    snapshot, unanswered = scan_in_time(Sysroot(tree.root), stuck_seconds=STUCK_SECONDS)
    hung = {read.path for read in unanswered}
    assert {*map(tree.resolve, addresses[::2])} == hung
    fresh = [device for device in snapshot if device.path is not None and device.path not in hung]
    assert len(fresh) == len(addresses) // 2
    assert not any(device.errors for device in fresh)
    for one in stuck:
        one.free()


def test_many_hangs_shorten_the_patience_within_bounds() -> None:
    """64 reads that hang cost less than 10 s, and 512 less than 33 s."""
    hangs = Hangs(2.0)
    cost = 0.0
    costs = []
    for number in range(512):
        limit = hangs.limit("x")
        assert limit >= SHORTEST_SECONDS
        cost += limit
        costs.append(cost)
        job = Job()
        job.path, job.since = f"/sys/devices/{number}", float("-inf")
        assert hangs.found(job) is not None
        assert job.abandoned
    assert costs[63] < 10
    assert costs[511] < 33
    with pytest.raises(TooManyHang, match="512 reads of this host hang"):
        hangs.next_job()


def test_more_reads_hang_than_there_may_be_threads(
    host: Tree, clock: HangingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an error that says so, and it comes in time."""
    monkeypatch.setattr("nodedevd.follow.hangs.Hangs.__init__.__defaults__", (1,))
    stuck = StuckAttribute(host.at(f"{GPU}/numa_node"))
    clock.watch(stuck)
    with pytest.raises(TooManyHang, match=GPU):
        scan_in_time(Sysroot(host.root), stuck_seconds=STUCK_SECONDS)
    stuck.free()
