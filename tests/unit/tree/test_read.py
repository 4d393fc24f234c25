"""scan: finds every device, whatever a read of one of them returns."""

from __future__ import annotations

import errno
import logging
import shutil
from pathlib import Path

import msgspec
import pytest

from nodedevd.errors import NotASysroot
from nodedevd.host.faults import Fault
from nodedevd.host.job import Abandoned, Job
from nodedevd.host.node import Node
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds import pci
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.system import DMI
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree import read as scanning
from nodedevd.tree.read import rescan, scan
from tests.support.faulty import FaultySysroot
from tests.support.hosts import host_file, unpacked
from tests.support.search import cases
from tests.support.trees import Tree
from tests.support.xml import native_document, native_xml, validate

GPU = "/sys/devices/pci0000:00/0000:00:02.0"
UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
ERRNOS = [errno.ENOENT, errno.ENODEV, errno.EIO]


class Backwards(Sysroot):
    """A host whose directories are listed in reverse order."""

    def listdir(self, path: str) -> list[str]:
        """List, from the end."""
        return sorted(super().listdir(path), reverse=True)


def gpu(tree: Tree) -> str:
    """Make a GPU with one type and one mdev."""
    path = tree.pci("0000:00:02.0", vendor=0x8086, device=0x3E98, class_=0x030000, iommu_group=1)
    tree.mdev_type(path, "i915-GVTg_V5_4")
    tree.mdev_parent(path)
    tree.mdev(path, UUID, "i915-GVTg_V5_4", driver="vfio_mdev", iommu_group=12)
    return path


def parents(snapshot: Snapshot) -> dict[str, str | None]:
    """Return each device's parent."""
    return {device.name: device.parent for device in snapshot}


def well(snapshot: Snapshot) -> None:
    """Fail the test for a defect, an invalid document, or an unknown parent."""
    faults = [*snapshot.errors, *(fault for device in snapshot for fault in device.errors)]
    assert [fault for fault in faults if fault.code == "internal"] == []
    validate(native_document(snapshot, snapshot.generation))
    assert {device.parent for device in snapshot} <= {None, *snapshot.names}


def test_host_without_devices_is_the_root_alone(tree: Tree) -> None:
    """An empty sys/ is a host without devices."""
    host = scan(Sysroot())
    assert (host.names, host.errors, host.generation) == (("computer",), (), 1)


def test_directory_without_sys_is_no_host(tmp_path: Path) -> None:
    """An error is better than a host without devices."""
    with pytest.raises(NotASysroot):
        scan(Sysroot(str(tmp_path)))


def test_each_device_hangs_below_the_nearest_that_is_one(tree: Tree) -> None:
    """Directories between them that are not devices of the tree are skipped."""
    tree.pci("0000:00:1c.0", vendor=1, device=2, class_=0x060400)
    below = tree.pci("0000:05:00.0", parent="0000:00:1c.0", vendor=1, device=2, class_=3)
    between = tree.device(f"{below}/virtio0", bus="virtio")
    path = tree.device(f"{between}/odd/mtty", class_="mtty")
    tree.mdev_type(path, "mtty-1")
    tree.mdev_parent(path)
    tree.mdev(path, UUID, "mtty-1")
    assert parents(scan(Sysroot())) == {
        "computer": None,
        "pci_0000_00_1c_0": "computer",
        "pci_0000_05_00_0": "pci_0000_00_1c_0",
        "mtty_mtty": "pci_0000_05_00_0",
        "mdev_27b42a51_9f6b_4c0b_8f5f_4f3a1d0e8c01": "mtty_mtty",
    }


def test_order_of_listings_changes_nothing(tmp_path: Path) -> None:
    """Names, even shared ones, depend only on the devices."""
    root = unpacked("broken", tmp_path).root
    assert list(scan(Backwards(root))) == list(scan(Sysroot(root)))


def test_links_that_leave_the_host_lead_where_they_do_inside(tmp_path: Path) -> None:
    """As chroot(2) would resolve them; an archive has none, so they are made here."""
    tree = unpacked("broken", tmp_path)
    devices, up = "/sys/devices/pci0000:00", "../" * 24
    before = list(scan(Sysroot(tree.root)))
    for path, text in [
        ("/sys/bus/pci/devices/0000:00:05.0", f"{devices}/0000:00:05.0"),
        ("/sys/bus/pci/devices/0000:00:06.0", f"{up}{devices[1:]}/0000:00:06.0"),
        ("/sys/class/mdev_bus/0000:00:05.0", f"{devices}/0000:00:05.0"),
        ("/sys/class/mdev_bus/escape", f"{up}etc"),
        (f"{devices}/0000:00:02.0/aaaaaaaa-0000-4000-8000-000000000007/mdev_type", f"{up}etc"),
        (f"{devices}/0000:00:06.0/numa_node", f"{devices}/0000:00:00.0/numa_node"),
        (f"{devices}/0000:00:06.0/revision", "/etc/passwd"),
        (f"{devices}/0000:00:06.0/subsystem_device", f"{up}etc/hostname"),
    ]:
        assert Path(tree.at(path)).is_symlink()
        tree.link(path, text)
    assert list(scan(Sysroot(tree.root))) == before
    assert before == list(scan(Sysroot(str(host_file("broken")))))


def test_shared_name_goes_to_the_smallest_path(tree: Tree) -> None:
    """A device with the kernel name `computer` does not get the root's name."""
    paths = [f"/sys/devices/virtual/mdpy/v{sign}1" for sign in "-._"]
    for path in paths:
        tree.device(path, class_="mdpy")
        tree.mdev_type(path, "mdpy-vga")
    bare = tree.device("/sys/devices/computer")
    tree.mdev_type(bare, "bare-1")
    tree.mdev_parent(bare)
    host = scan(Sysroot())
    names = {device.path: device.name for device in host}
    assert names[paths[0]] == "mdpy_v_1"
    assert names[None] == "computer"
    assert all(names[path].startswith("mdpy_v_1_") for path in paths[1:])
    assert names[bare].startswith("computer_")
    assert len(host) == 5
    tree.remove(paths[0])
    assert scan(Sysroot()).lookup("mdpy_v_1").path == paths[1]


@pytest.mark.parametrize("target", ["gone", "0000:00:1f.7", "../../../../../../.."])
def test_link_that_leads_to_no_device_is_passed_over(tree: Tree, target: str) -> None:
    """Dangling, in a circle, or out: the others are found."""
    gpu(tree)
    for directory in ("/sys/bus/pci/devices", "/sys/bus/mdev/devices", "/sys/class/mdev_bus"):
        tree.link(f"{directory}/0000:00:1f.7", target)
        tree.file(f"{directory}/stray", "no link\n")
    host = scan(Sysroot())
    well(host)
    assert {"pci_0000_00_02_0", f"mdev_{UUID.replace('-', '_')}"} <= set(host.names)
    assert host.errors == ()


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.EACCES, "refused"), (errno.EPERM, "refused"), (errno.EIO, "unreadable")],
)
@pytest.mark.parametrize(
    "directory",
    ["/sys/bus/pci/devices", "/sys/bus/mdev/devices", "/sys/class/mdev_bus", "/sys/bus"],
)
def test_directory_that_cannot_be_listed_is_told(
    tree: Tree, directory: str, number: int, code: str
) -> None:
    """Devices may be missing, so there is a fault."""
    gpu(tree)
    host = scan(FaultySysroot(errors={directory: number}))
    assert [(fault.attribute, fault.code) for fault in host.errors] == [(directory, code)]
    well(host)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR])
def test_directory_that_is_not_there_is_no_fault(tree: Tree, number: int) -> None:
    """A host without the mdev module, or without PCI, is a whole one."""
    gpu(tree)
    directories = ["/sys/bus/mdev/devices", "/sys/class/mdev_bus", "/sys/class"]
    host = scan(FaultySysroot(errors=dict.fromkeys(directories, number)))
    assert host.errors == ()
    assert host.lookup(GPU).types == ("pci", "mdev_parent")


def test_path_that_is_no_utf8_is_shown(tmp_path: Path) -> None:
    """The byte is escaped in name, path and XML."""
    tree = Tree(tmp_path)
    path = tree.device("/sys/devices/od\udcffd", class_="mtty")
    tree.mdev_type(path, "mtty-1")
    host = scan(Sysroot(tree.root))
    well(host)
    device = host.lookup("mtty_od_xffd")
    assert (device.path, device.sysname) == ("/sys/devices/od\\xffd", "od\\xffd")
    assert device.capability(MdevParent) is not None
    assert msgspec.json.decode(msgspec.json.encode(device), type=Device) == device


def test_defect_in_one_kind_costs_that_capability_alone(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged with its traceback, shown as a fault, and all else is read."""
    gpu(tree)

    def read(node: Node) -> Pci | None:
        raise ZeroDivisionError("a defect")

    kind, kinds = pci.KIND, scanning._kinds
    broken = type(kind)(capability=Pci, read=read, write=kind.write, subsystems=kind.subsystems)
    monkeypatch.setattr(
        scanning,
        "_kinds",
        lambda subsystem: [broken if one is kind else one for one in kinds(subsystem)],
    )
    with caplog.at_level(logging.ERROR):
        device = scan(Sysroot()).lookup(GPU)
    assert device.types == ("mdev_parent",)
    assert device.errors == (Fault("pci", "internal", "ZeroDivisionError('a defect')"),)
    assert [record.getMessage() for record in caplog.records] == [f"{GPU}: reading pci failed"]
    assert caplog.records[0].exc_info is not None
    validate(native_xml(device))


def test_progress_is_told_of_each_device(tree: Tree) -> None:
    """Before each device: (done, total)."""
    gpu(tree)
    tree.pci("0000:00:03.0", vendor=1, device=2, class_=3)
    told: list[tuple[int, int]] = []
    scan(Sysroot(), progress=lambda number, total: told.append((number, total)))
    assert told == [(0, 3), (1, 3), (2, 3)]


@pytest.mark.slow
def test_device_that_goes_at_any_read_costs_no_other(tmp_path: Path) -> None:
    """A parent with its mdevs is removed at each read of a scan in turn; nothing raises."""
    host = tmp_path / "host"
    unpacked("samples", host)
    whole = {device.path: device for device in scan(Sysroot(str(host)))}
    path = "/sys/devices/virtual/mtty/mtty"
    sysroot = FaultySysroot(str(host))
    scan(sysroot)
    count = len([read for read in sysroot.reads if f"{read}/".startswith(f"{path}/")])
    assert count > 20
    for at in cases(range(1, count + 1)):
        copy = tmp_path / f"copy-{at}"
        shutil.copytree(host, copy, symlinks=True)
        found = scan(FaultySysroot(str(copy), vanishing=path, at=at))
        well(found)
        for device in found:
            if not f"{device.path}/".startswith((f"{path}/", "/etc/mdevctl.d/mtty/")):
                assert device == whole[device.path]
        assert len(found) >= len(whole) - 3
        shutil.rmtree(copy)


@pytest.mark.exhaustive
@pytest.mark.parametrize("number", ERRNOS)
@pytest.mark.parametrize("host", ["igpu-gvtg", "samples", "s390x-ap-ccw"])
def test_any_read_may_fail_and_costs_only_its_device(host: str, number: int) -> None:
    """Each read of a scan fails in turn; nothing raises, and no other device is affected."""
    file = str(host_file(host))
    whole = FaultySysroot(file)
    devices = {device.path: device for device in scan(whole)}
    listings = ("/sys/bus", "/sys/class", "/sys/kernel", "/usr", "/etc")
    for path in cases(sorted(set(whole.reads))):
        found = scan(FaultySysroot(file, errors={path: number}))
        well(found)
        if path.startswith(listings):
            continue
        for device in found:
            if not _read_for(device, path):
                assert device == devices[device.path], f"{path} changed {device.name}"


def _read_for(device: Device, path: str) -> bool:
    """Return whether a path is of a device, above it, or among the types of its parent."""
    own = device.path or DMI
    child = device.capability(MdevChild)
    if child is not None:
        own = f"{child.parent_path}/{child.uuid}"
    types = f"{own.rpartition('/')[0]}/mdev_supported_types"
    return any(
        f"{one}/".startswith(f"{other}/")
        for one, other in [(path, own), (own, path), (path, types)]
    )


class Abandoning(Sysroot):
    """A host whose reader is told at one link that its job is not needed any more."""

    def __init__(self, root: str, job: Job, name: str) -> None:
        super().__init__(root)
        readlink = self._readlink

        def told(path: str) -> str:
            job.abandoned = job.abandoned or path.endswith(f"/{name}")
            return readlink(path)

        self._readlink = told


def test_abandoned_job_ends_and_is_no_defect(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also in the middle of a device: nothing of it is logged."""
    gpu(Tree(tmp_path))
    job = Job()
    with pytest.raises(Abandoned):
        rescan(Abandoning(str(tmp_path), job, "mdev_type"), Snapshot(), job=job)
    assert caplog.messages == []
