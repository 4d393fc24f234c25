"""doctor: every problem that it can find, on a host that has it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from nodedevd.follow.in_time import scan_in_time
from nodedevd.host.facts import HostFacts, read_host
from nodedevd.host.faults import Fault
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import ScanTimes, Status, UnansweredRead, build_status, now
from nodedevd.questions.doctor import (
    Code,
    DaemonView,
    Severity,
    diagnose,
    diagnose_in_steps,
    differences,
)
from nodedevd.tree.read import scan
from tests.support.doctor import codes, examined
from tests.support.drawn import gpu_host
from tests.support.faulty import FaultySysroot
from tests.support.mdev_card import CARD, CARD_NAME, MDEV, NVIDIA_CARD, UUID, mdev_card
from tests.support.stuck import HangingClock, StuckAttribute
from tests.support.trees import Tree

VF = "0000:3b:00.4"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a host with one card, which is an mdev parent with one type."""
    return mdev_card(tmp_path / "host")


def test_healthy_host_has_no_findings(tree: Tree) -> None:
    """An mdev exists, and a definition has no autostart."""
    tree.mdev(CARD, UUID, "nvidia-1", driver="nvidia", iommu_group=2)
    tree.definition(CARD, UUID, "nvidia-1", start="manual")
    tree.definition(CARD, "83c32df7-d52e-4ec1-9668-1f3c7e4df107", "nvidia-1")
    assert examined(tree, udevd=True, root=True) == ()


# -- the host --------------------------------------------------------------------------


def test_host_without_iommu_is_noted(tmp_path: Path) -> None:
    """A laptop or a VM may need none; a group or an entry in sysfs proves one."""
    tree = Tree(tmp_path)
    tree.pci(CARD, vendor=0x8086, device=1, class_=0x020000)
    assert codes(examined(tree)) == [("note", "iommu-off", None)]
    tree.directory("/sys/class/iommu/dmar0")
    assert examined(tree) == ()


@pytest.mark.parametrize("want", ["driver", "virtual function", "card"])
def test_device_for_vms_on_a_host_without_iommu_is_found(tmp_path: Path, want: str) -> None:
    """A device is meant for VMs, and assigning it will fail."""
    tree = Tree(tmp_path)
    driver = "vfio-pci" if want == "driver" else None
    vendor = 0x10DE if want == "card" else 0x15B3
    card = {"vendor": vendor, "device": 1, "class_": 0x030200}
    tree.pci(CARD, driver=driver, **card)  # type: ignore[arg-type]
    tree.directory("/sys/module/nvidia_vgpu_vfio")
    if want == "virtual function":
        tree.pci(VF, **card)  # type: ignore[arg-type]
        tree.sriov(CARD, [VF])
    elif want == "card":
        tree.sriov(CARD, total=16)
    found = [one for one in examined(tree) if one.code == "iommu-off"]
    assert [one.severity for one in found] == ["warning"]


def test_host_without_pci_needs_no_iommu(tmp_path: Path) -> None:
    """Channel devices use none."""
    Tree(tmp_path).directory("/sys")
    assert examined(Tree(tmp_path)) == ()


def test_udevd_that_does_not_run_is_found(tree: Tree) -> None:
    """For another host it is unknown."""
    assert codes(examined(tree, udevd=False)) == [("warning", "udevd-not-running", None)]
    assert examined(tree) == ()


# -- parents and types -----------------------------------------------------------------


def test_parent_without_types_is_found(tree: Tree) -> None:
    """The kernel lists it, but the directory of types is empty or missing."""
    tree.remove(f"{tree.resolve(CARD)}/mdev_supported_types/nvidia-1")
    assert codes(examined(tree)) == [("warning", "parent-without-types", CARD_NAME)]
    tree.remove(f"{tree.resolve(CARD)}/mdev_supported_types")
    assert codes(examined(tree)) == [("warning", "parent-without-types", CARD_NAME)]


def test_parent_that_the_class_does_not_list_is_found(tree: Tree) -> None:
    """Libvirt and mdevctl cannot find it."""
    tree.remove(f"/sys/class/mdev_bus/{CARD}")
    assert codes(examined(tree)) == [("warning", "parent-not-listed", CARD_NAME)]


def test_link_of_the_class_that_leads_nowhere_is_found(tree: Tree) -> None:
    """The class lists a device that is not in the tree."""
    tree.link("/sys/class/mdev_bus/gone", "../../devices/gone")
    (finding,) = examined(tree)
    assert (finding.severity, finding.code) == ("warning", "parent-dangling")
    assert "/sys/devices/gone" in finding.text


def test_older_card_and_other_devices_need_no_virtual_functions(tree: Tree) -> None:
    """An older card is a parent itself; a network card may be used without."""
    tree.sriov(CARD, total=16)
    tree.pci("0000:01:00.0", vendor=0x15B3, device=1, class_=0x020000, iommu_group=3)
    tree.sriov("0000:01:00.0", total=8)
    assert examined(tree) == ()


# -- PCI functions ---------------------------------------------------------------------


@pytest.mark.parametrize(("driver", "severity"), [("vfio-pci", "problem"), ("nvidia", "note")])
def test_function_that_does_not_answer_is_found(
    tmp_path: Path, driver: str, severity: Severity
) -> None:
    """Its configuration space reads all ones: a guest fails with it, a host may have it asleep."""
    tree = Tree(tmp_path)
    config = b"\xff" * 256
    tree.pci(CARD, driver=driver, iommu_group=1, config=config, **NVIDIA_CARD)
    (found,) = examined(tree)
    code = "function-dead" if severity == "problem" else "attribute-unreadable"
    assert (found.severity, found.code, found.device) == (severity, code, CARD_NAME)
    assert any("/remove" in command for command in found.mend) is (severity == "problem")


def test_unsafe_mode_without_iommu_is_found(tree: Tree) -> None:
    """It gives a guest the whole memory of the host."""
    path = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
    tree.file(path, "N\n")
    assert examined(tree) == ()
    tree.file(path, "Y\n")
    found = {one.code: one for one in examined(tree)}
    assert found["unsafe-noiommu"].mend == (f"echo N > {path}",)
    assert [one.severity for one in found.values()] == ["warning", "note"]
    tree.directory("/sys/class/iommu/dmar0")
    assert codes(examined(tree)) == [("note", "unsafe-noiommu", None)]


# -- mdevs and definitions -------------------------------------------------------------


def test_half_made_mdev_is_found(tree: Tree) -> None:
    """It has no type; the remedy names the file that removes it."""
    path = tree.mdev(CARD, UUID, None)
    (finding,) = examined(tree)
    assert (finding.severity, finding.code, finding.device) == ("warning", "mdev-incomplete", MDEV)
    assert finding.mend == (f"echo 1 > {path}/remove",)


def test_mdev_whose_removal_does_not_end_is_found(tree: Tree) -> None:
    """A VM has it open: by now it is gone from its bus, and has neither type nor driver."""
    path = tree.mdev(CARD, UUID, "nvidia-1", driver="nvidia", iommu_group=2)
    tree.definition(CARD, UUID, "nvidia-1", start="auto")
    gone = ("remove", "mdev_type", "driver")
    for one in (f"/sys/bus/mdev/devices/{UUID}", *(f"{path}/{name}" for name in gone)):
        tree.remove(one)
    tree.remove(f"{tree.resolve(CARD)}/mdev_supported_types/nvidia-1/devices/{UUID}")
    (found,) = examined(tree)
    assert (found.severity, found.code) == ("warning", "mdev-removing")
    assert (found.device, found.card) == (MDEV, CARD_NAME)
    assert found.mend == (f"nodedevctl in-use {MDEV}",)


def test_mdev_without_a_driver_is_found(tree: Tree) -> None:
    """The kernel does not bind it again."""
    path = tree.mdev(CARD, UUID, "nvidia-1", iommu_group=2)
    (finding,) = examined(tree)
    assert (finding.severity, finding.code) == ("warning", "mdev-without-driver")
    assert (finding.card, finding.mend) == (CARD_NAME, (f"echo 1 > {path}/remove",))


@pytest.mark.parametrize(("start", "severity"), [("auto", "warning"), ("manual", "note")])
@pytest.mark.parametrize(
    ("parent", "type_id", "code"),
    [
        ("0000:99:00.0", "nvidia-1", "definition-without-parent"),
        (CARD, "nvidia-2", "definition-without-type"),
        (CARD, "nvidia-3", "definition-without-capacity"),
    ],
)
def test_definition_that_cannot_be_started_is_found(
    tree: Tree, start: str, severity: Severity, parent: str, type_id: str, code: Code
) -> None:
    """With autostart it is a warning, otherwise a note."""
    tree.mdev_type(CARD, "nvidia-3", available=0)
    tree.definition(parent, UUID, type_id, start=start)
    assert codes(examined(tree)) == [(severity, code, MDEV)]


def test_definition_that_was_not_started_is_found(tree: Tree) -> None:
    """It has autostart, and its parent is present."""
    tree.definition(CARD, UUID, "nvidia-1", start="auto")
    (finding,) = examined(tree)
    assert (finding.severity, finding.code) == ("warning", "definition-not-started")
    assert f"mdevctl start -u {UUID} -p {CARD}" in finding.mend
    tree.definition(CARD, UUID, "nvidia-1", start="manual")
    assert examined(tree) == ()


# -- what cannot be read ---------------------------------------------------------------


def test_attribute_that_cannot_be_read_is_found(tree: Tree) -> None:
    """For a parent or an mdev it is a warning, for other devices a note."""
    for name in ("a", "b", "c", "d"):
        tree.mdev_type(CARD, name, available="many")
    other = tree.pci("0000:01:00.0", vendor=0x15B3, device=1, class_=0x020000, iommu_group=3)
    tree.file(f"{other}/numa_node", "far\n")
    warning, note = examined(tree)
    assert codes([warning, note]) == [
        ("warning", "attribute-unreadable", CARD_NAME),
        ("note", "attribute-unreadable", "pci_0000_01_00_0"),
    ]
    assert warning.text.endswith(
        "mdev_supported_types/c/available_instances is malformed (many); and 1 more"
    )
    assert note.text == "numa_node is malformed (far)"


def test_directory_that_cannot_be_listed_is_found(tree: Tree) -> None:
    """Devices may be missing."""
    sysroot = FaultySysroot(tree.root, errors={"/sys/class/net": 13})
    snapshot = scan(sysroot)
    found = diagnose(snapshot, read_host(sysroot))
    assert codes(found) == [("warning", "directory-unreadable", None)]


def test_attributes_that_only_root_may_read_are_a_note(tree: Tree) -> None:
    """For a user it is a note; for root the driver refuses it, which is a warning."""
    attribute = f"{tree.resolve(CARD)}/mdev_supported_types/nvidia-1/available_instances"
    sysroot = FaultySysroot(tree.root, errors={attribute: 13})
    snapshot = scan(sysroot)
    facts = read_host(sysroot)
    user = diagnose(snapshot, msgspec.structs.replace(facts, root=False))
    assert codes(user) == [("note", "not-root", None)]
    assert user[0].text == "not root: 1 attributes cannot be read"
    root = diagnose(snapshot, msgspec.structs.replace(facts, root=True))
    assert codes(root) == [("warning", "attribute-unreadable", CARD_NAME)]


def test_defect_is_a_problem(tree: Tree) -> None:
    """A defect of nodedevd is reported as such."""
    snapshot = scan(Sysroot(tree.root))
    card = snapshot.lookup(CARD)
    broken = msgspec.structs.replace(card, errors=(Fault("pci", "internal", "KeyError()"),))
    facts = read_host(Sysroot(tree.root))
    assert codes(diagnose(Snapshot([broken]), facts)) == [("problem", "defect", CARD_NAME)]


def test_read_that_hangs_is_found_and_the_rest_is_read(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scan continues without the device, and reports it once."""
    path = tree.resolve(CARD)
    stuck = StuckAttribute(tree.at(f"{path}/numa_node"))
    HangingClock(monkeypatch).watch(stuck)
    snapshot, hanging = scan_in_time(Sysroot(tree.root), stuck_seconds=0.05)
    facts = read_host(Sysroot(tree.root))
    found = diagnose(snapshot, facts, hanging=hanging)
    stuck.free()
    assert ("problem", "read-hangs", CARD_NAME) in codes(found)
    assert "computer" in snapshot.names


# -- the daemon ------------------------------------------------------------------------

HEALTHY = HostFacts(
    mdev=True,
    listed_parents=frozenset(),
    iommus=True,
    gvt=False,
    udevd=True,
    root=True,
)


def status_with(**fields: object) -> Status:
    """Return the status of a healthy daemon, except for these fields."""
    times = ScanTimes(finished=now(), seconds=0.1)
    status = build_status(Snapshot(), sysroot="/", started=now(), last_scan=times)
    healthy: dict[str, object] = {"event_source": "udev", "privileged": True}
    return msgspec.structs.replace(status, **{**healthy, **fields})


def findings_for(view: DaemonView) -> list[tuple[Severity, Code, str | None]]:
    """Return the findings for a daemon on a healthy host."""
    return codes(diagnose(Snapshot(), HEALTHY, daemon=view))


def test_healthy_daemon_has_no_findings() -> None:
    """It runs as root, receives events of udevd, and has the same devices."""
    assert findings_for(DaemonView(("/run/s",), status_with())) == []


@pytest.mark.parametrize(
    ("fields", "severity", "code"),
    [
        ({"version": "0.0.1"}, "warning", "daemon-other-version"),
        ({"sysroot": "/srv/host"}, "warning", "daemon-other-host"),
        ({"privileged": False}, "note", "daemon-not-root"),
        ({"event_source": "none"}, "warning", "no-events"),
        ({"event_source": "kernel"}, "warning", "kernel-events"),
        ({"overflows": 1}, "note", "events-lost"),
        ({"monitor_errors": 1}, "note", "events-lost"),
        ({"missed_changes": 3}, "note", "events-missed"),
        ({"unanswered_reads": (UnansweredRead("/sys/devices/x", 9.0),)}, "problem", "read-hangs"),
    ],
)
def test_daemon_in_trouble_is_found(
    fields: dict[str, object], severity: Severity, code: Code
) -> None:
    """Each finding comes from a field of its status."""
    assert findings_for(DaemonView(("/run/s",), status_with(**fields))) == [(severity, code, None)]


def test_kernel_events_are_right_without_udevd() -> None:
    """In a container there is no other source of events."""
    view = DaemonView(("/run/s",), status_with(event_source="kernel"))
    facts = msgspec.structs.replace(HEALTHY, udevd=False)
    found = diagnose(Snapshot(), facts, daemon=view)
    assert codes(found) == [("warning", "udevd-not-running", None)]


def test_daemon_that_does_not_answer_is_found() -> None:
    """There is no daemon, or this user may not ask it; or there are two."""
    assert findings_for(DaemonView(("/run/s",), reason="no such file")) == [
        ("warning", "no-daemon", None)
    ]
    barred = DaemonView(("/run/s",), reason="permission denied", refused=True)
    assert findings_for(barred) == [("warning", "socket-refused", None)]
    two = DaemonView(("/run/s", "/run/user/s"), status_with(), others=("/run/user/s",))
    assert findings_for(two) == [("note", "several-daemons", None)]


def test_devices_that_the_daemon_serves_differently_are_found(tree: Tree) -> None:
    """The daemon lacks a device, still has one, or has another state of one."""
    before = scan(Sysroot(tree.root))
    assert differences(before, before) == ()
    tree.mdev(CARD, UUID, "nvidia-1", driver="nvidia", iommu_group=2)
    after = scan(Sysroot(tree.root))
    changed = (CARD_NAME, "and a new scan differ in its capabilities")
    assert differences(after, before) == ((MDEV, "does not have it, but a new scan does"), changed)
    assert differences(before, after) == ((MDEV, "still has it, but a new scan does not"), changed)
    view = DaemonView(("/run/s",), status_with(), differences=differences(after, before))
    assert findings_for(view) == [
        ("warning", "daemon-differs", MDEV),
        ("warning", "daemon-differs", CARD_NAME),
    ]


def test_device_that_was_not_read_whole_is_not_compared(tree: Tree) -> None:
    """A daemon that is root reads more than other users."""
    before = scan(Sysroot(tree.root))
    tree.file(f"{tree.resolve(CARD)}/numa_node", "far\n")
    assert differences(scan(Sysroot(tree.root)), before) == ()


def test_long_work_is_done_in_steps() -> None:
    """The daemon finds the problems for a picture: other clients have their turns in between."""
    steps = diagnose_in_steps(gpu_host(8, 32).snapshot, HostFacts(True, frozenset(), True, False))
    assert sum(1 for _ in steps) > 8 * 32 / 4
