"""doctor: every problem that it can find, on a host that has it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from click.testing import CliRunner

from nodedevd.cli.main import main
from nodedevd.follow.supervisor import scan_in_time
from nodedevd.host.facts import HostFacts, read_host
from nodedevd.host.faults import Fault
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import ScanTimes, Status, UnansweredRead, build_status, now
from nodedevd.questions.doctor import (
    Code,
    DaemonView,
    Finding,
    Report,
    Severity,
    diagnose,
    differences,
)
from nodedevd.tree.read import scan
from tests.support.faulty import FaultySysroot
from tests.support.holder import can_make_nodes, needs_nodes
from tests.support.hosts import HOSTS, host_file
from tests.support.running import REPOSITORY, running, started
from tests.support.stuck import StuckAttribute
from tests.support.this_host import nodedevctl, on
from tests.support.trees import Tree

PAGE = (REPOSITORY / "docs" / "doctor.md").read_text(encoding="utf-8")
CARD, VF = "0000:3b:00.0", "0000:3b:00.4"
CARD_NAME = "pci_0000_3b_00_0"
UUID = "5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01"
MDEV = "mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3d1e01"
OPTIONS: dict[str, Any] = {"vendor": 0x10DE, "device": 0x2235, "class_": 0x030200}

needs_root = pytest.mark.skipif(not can_make_nodes(), reason=needs_nodes)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a host with one card, which is an mdev parent with one type."""
    tree = Tree(tmp_path / "host")
    tree.pci(CARD, driver="nvidia", iommu_group=1, **OPTIONS)
    tree.mdev_parent(CARD)
    tree.mdev_type(CARD, "nvidia-1")
    return tree


def examined(tree: Tree, **facts: bool) -> tuple[Finding, ...]:
    """Return the findings for a host; `facts` replace those in its files."""
    sysroot = Sysroot(tree.root)
    snapshot = scan(sysroot)
    known = msgspec.structs.replace(read_host(sysroot), **facts)
    return diagnose(snapshot, known)


def codes(findings: Iterable[Finding]) -> list[tuple[Severity, Code, str | None]]:
    """Return severity, code and device of each finding."""
    return [(one.severity, one.code, one.device) for one in findings]


def test_healthy_host_has_no_findings(tree: Tree) -> None:
    """An mdev exists, and a definition has no autostart."""
    tree.mdev(CARD, UUID, "nvidia-1", driver="nvidia", iommu_group=2)
    tree.definition(CARD, UUID, "nvidia-1", start="auto")
    tree.definition(CARD, "83c32df7-d52e-4ec1-9668-1f3c7e4df107", "nvidia-1")
    assert examined(tree, udevd=True, root=True) == ()


# -- the host --------------------------------------------------------------------------


def test_definition_on_a_host_without_mdev_is_found(tree: Tree) -> None:
    """A definition needs mdev, but the kernel does not have it."""
    for path in (f"{tree.resolve(CARD)}/mdev_supported_types", "/sys/class/mdev_bus"):
        tree.remove(path)
    assert examined(tree) == ()
    tree.definition(CARD, UUID, "nvidia-1")
    assert codes(examined(tree)) == [
        ("warning", "no-mdev", None),
        ("note", "definition-without-parent", MDEV),
    ]
    tree.directory("/sys/module/mdev")
    assert codes(examined(tree)) == [("note", "definition-without-parent", MDEV)]


@pytest.mark.parametrize(("value", "found"), [("Y", True), ("1", True), ("N", False)])
def test_gvt_without_its_module_is_found(tmp_path: Path, value: str, found: bool) -> None:
    """i915.enable_gvt=1 alone makes no parent."""
    tree = Tree(tmp_path)
    gpu = {"vendor": 0x8086, "device": 0x3E98, "class_": 0x030000, "iommu_group": 1}
    tree.pci("0000:00:02.0", driver="i915", **gpu)  # type: ignore[arg-type]
    tree.file("/sys/module/i915/parameters/enable_gvt", f"{value}\n")
    assert (codes(examined(tree)) == [("warning", "no-mdev", None)]) is found


def test_nvidia_virtual_function_that_takes_no_vgpu_is_found(tmp_path: Path) -> None:
    """With neither types nor vendor VFIO, the host driver is missing."""
    tree = Tree(tmp_path)
    tree.pci(CARD, driver="nvidia", iommu_group=1, **OPTIONS)
    vf = tree.pci(VF, driver="nvidia", iommu_group=2, **OPTIONS)
    tree.sriov(CARD, [VF])
    (finding,) = examined(tree)
    assert (finding.severity, finding.code) == ("warning", "no-mdev")
    assert "pci_0000_3b_00_4" in finding.text
    tree.file(f"{vf}/nvidia/current_vgpu_type", "0\n")
    tree.file(f"{vf}/nvidia/creatable_vgpu_types", "ID : vGPU Name\n")
    assert examined(tree) == ()


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
    if want != "driver":
        tree.pci(VF, **card)  # type: ignore[arg-type]
        tree.sriov(CARD, [VF])
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


@pytest.mark.parametrize(
    ("driver", "severity"), [("nvidia", "warning"), ("nouveau", "note"), ("vfio-pci", None)]
)
def test_card_without_virtual_functions_is_found(
    tmp_path: Path, driver: str, severity: Severity | None
) -> None:
    """Cards since Ampere need virtual functions, unless they are assigned as a whole."""
    tree = Tree(tmp_path)
    tree.pci(CARD, driver=driver, iommu_group=1, **OPTIONS)
    tree.sriov(CARD, total=16)
    found = examined(tree)
    assert codes(found) == (
        [] if severity is None else [(severity, "no-virtual-functions", CARD_NAME)]
    )
    assert all(f"sriov-manage -e {CARD}" in one.advice for one in found)


def test_older_card_and_other_devices_need_no_virtual_functions(tree: Tree) -> None:
    """An older card is a parent itself; a network card may be used without."""
    tree.sriov(CARD, total=16)
    tree.pci("0000:01:00.0", vendor=0x15B3, device=1, class_=0x020000, iommu_group=3)
    tree.sriov("0000:01:00.0", total=8)
    assert examined(tree) == ()


# -- mdevs and definitions -------------------------------------------------------------


def test_half_made_mdev_is_found(tree: Tree) -> None:
    """It has no type; the remedy names the file that removes it."""
    path = tree.mdev(CARD, UUID, None)
    (finding,) = examined(tree)
    assert (finding.severity, finding.code, finding.device) == ("warning", "mdev-incomplete", MDEV)
    assert f"{path}/remove" in finding.advice


def test_mdev_whose_removal_does_not_end_is_found(tree: Tree) -> None:
    """A VM has it open."""
    tree.remove(f"{tree.mdev(CARD, UUID, 'nvidia-1')}/remove")
    assert codes(examined(tree)) == [("warning", "mdev-removing", MDEV)]


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
    assert f"mdevctl start -u {UUID} -p {CARD}" in finding.advice
    tree.definition(CARD, UUID, "nvidia-1", start="manual")
    assert examined(tree) == ()


def test_definition_that_cannot_be_read_is_found(tree: Tree) -> None:
    """Truncated files, and one with a name that mdevctl does not accept."""
    tree.mdev(CARD, UUID, "nvidia-1", driver="nvidia", iommu_group=2)
    other = "83c32df7-d52e-4ec1-9668-1f3c7e4df107"
    for uuid in (UUID, other):
        tree.file(f"/etc/mdevctl.d/{CARD}/{uuid}", "{")
    tree.file(f"/etc/mdevctl.d/{CARD}/{other.upper()}", "{}")
    assert codes(examined(tree)) == [
        ("warning", "definition-unreadable", None),
        ("warning", "definition-unreadable", MDEV),
        ("warning", "definition-unreadable", f"mdev_{other.replace('-', '_')}"),
    ]


# -- read errors -----------------------------------------------------------------------


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


def test_read_that_hangs_is_found_and_the_rest_is_read(tree: Tree) -> None:
    """The scan continues without the device, and reports it once."""
    path = tree.resolve(CARD)
    stuck = StuckAttribute(tree.at(f"{path}/numa_node"))
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


# -- the command -----------------------------------------------------------------------


def run(*arguments: str, status: int) -> str:
    """Run nodedevctl, which must exit with this status, and return its output."""
    result = CliRunner().invoke(main, arguments, prog_name="nodedevctl")
    assert result.exit_code == status, result.output
    return result.stdout


def test_command_on_a_healthy_host_prints_one_line(tree: Tree) -> None:
    """There is nothing else to read."""
    out = run("--sysroot", tree.root, "doctor", status=0)
    assert out == "No problems found, 2 devices checked.\n"


def test_notes_alone_are_no_problem(tmp_path: Path) -> None:
    """They are printed, and the exit status is that of a healthy host."""
    tree = Tree(tmp_path)
    tree.pci(CARD, vendor=0x8086, device=1, class_=0x020000)
    first, advice, last = run("--sysroot", tree.root, "doctor", status=0).splitlines()
    assert first == "note: no IOMMU: PCI devices cannot be assigned to a VM [iommu-off]"
    assert "intel_iommu=on" in advice
    assert last == "No problems found, 2 devices checked."


def test_same_finding_of_many_devices_is_printed_once(tmp_path: Path) -> None:
    """The text has one line for all functions of a card; JSON has each of them."""
    tree = Tree(tmp_path)
    for number in range(6):
        parent = tree.device(f"/sys/devices/virtual/mtty/mtty{number}", class_="mtty")
        tree.mdev_parent(parent)
    out = run("--sysroot", tree.root, "doctor", status=5)
    assert out.splitlines()[0] == (
        "warning: mtty_mtty0, mtty_mtty1, mtty_mtty2, mtty_mtty3 and 2 more: it is listed as an"
        " mdev parent, but offers no types [parent-without-types]"
    )
    assert len(out.splitlines()) == 2
    report = json.loads(run("--sysroot", tree.root, "doctor", "--json", status=5))
    assert [one["device"] for one in report["findings"]] == [f"mtty_mtty{n}" for n in range(6)]


def test_control_characters_of_a_host_stay_out_of_the_terminal(tree: Tree) -> None:
    """They are printed escaped."""
    tree.mdev_type(CARD, "a", available="\x1b[2J")
    out = run("--sysroot", tree.root, "doctor", status=5)
    assert "\x1b" not in out
    assert r"\x1b[2J" in out


@pytest.mark.parametrize("host", HOSTS)
def test_sample_host_is_checked_without_its_processes(host: str) -> None:
    """There are no findings about udevd, root or a daemon; the JSON is the report."""
    result = CliRunner().invoke(main, ["--sysroot", str(host_file(host)), "doctor", "--json"])
    report = msgspec.json.decode(result.stdout, type=Report, strict=True)
    live = {"udevd-not-running", "not-root", "no-daemon"}
    assert live.isdisjoint(one.code for one in report.findings)
    order = [get_args(Severity).index(one.severity) for one in report.findings]
    assert order == sorted(order)
    assert result.exit_code == (0 if report.healthy else 5)


HOSTS_WITH_FINDINGS: dict[str, set[str]] = {
    "vgpu-pf": set(),
    "igpu-gvtg": set(),
    "s390x-ap-ccw": set(),
    "s390x-full": set(),
    "server-storage-fc": set(),
    "laptop-usb-wifi": {"iommu-off"},
    "vgpu-sriov": {
        "definition-not-started",
        "definition-without-parent",
        "definition-without-capacity",
    },
    "samples": {"definition-not-started", "definition-without-type", "iommu-off"},
}


@pytest.mark.parametrize("host", HOSTS_WITH_FINDINGS)
def test_sample_host_has_exactly_its_built_in_findings(host: str) -> None:
    """Every problem of the host is found, and no other."""
    report = CliRunner().invoke(main, ["--sysroot", str(host_file(host)), "doctor", "--json"])
    found = {one["code"] for one in json.loads(report.stdout)["findings"]}
    assert found == HOSTS_WITH_FINDINGS[host]


def test_this_machine_without_a_daemon_is_examined(tmp_path: Path) -> None:
    """Among the findings of this machine is the missing daemon."""
    path = str(tmp_path / "socket")
    report = json.loads(run("--socket", path, "doctor", "--json", status=5))
    (finding,) = [one for one in report["findings"] if one["code"] == "no-daemon"]
    assert path in finding["text"]
    assert report["sysroot"] == "/"


def test_this_machine_with_a_daemon_is_as_the_daemon_shows_it(tmp_path: Path) -> None:
    """It was just scanned, so there is no difference; it receives no events."""
    path = tmp_path / "nodedevd.sock"
    with running(tmp_path, Path("/"), "--events", "none"):
        report = json.loads(run("--socket", str(path), "doctor", "--json", status=5))
    found = {one["code"] for one in report["findings"]}
    assert "no-events" in found
    assert found.isdisjoint({"no-daemon", "daemon-differs", "daemon-other-version"})


def test_daemon_of_another_host_is_no_answer_for_this_one(tmp_path: Path) -> None:
    """Its devices are not compared."""
    path = tmp_path / "nodedevd.sock"
    with running(tmp_path, host_file("vgpu-pf")):
        report = json.loads(run("--socket", str(path), "doctor", "--json", status=5))
    found = {one["code"] for one in report["findings"]}
    assert "daemon-other-host" in found
    assert "daemon-differs" not in found


@needs_root
def test_daemon_that_missed_a_change_is_found(tree: Tree, tmp_path: Path) -> None:
    """It received no event, and a new scan has an mdev that it lacks."""
    path = str(tmp_path / "socket")
    options = ("--socket", path, "--events", "none", "--reconcile", "0")
    command = [*on(tree), sys.executable, "-m", "nodedevd"]
    with started(tmp_path, *options, command=command) as daemon:
        daemon.wait_notified("READY=1")
        tree.mdev(CARD, UUID, "nvidia-1", driver="nvidia", iommu_group=2)
        report = nodedevctl(tree, "--socket", path, "doctor", "--json", status=5)
    differences = {one["device"] for one in report["findings"] if one["code"] == "daemon-differs"}
    assert differences == {MDEV, CARD_NAME}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_socket_that_is_not_for_this_user_is_found(tmp_path: Path) -> None:
    """The finding says that there is a daemon, and how to get access."""
    # Modules may lie where nobody else can go: they are imported first.
    code = (
        "import os, sys, nodedevd.cli.main, nodedevd.follow.supervisor, nodedevd.host.events.udev\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "nodedevd.cli.main.main(sys.argv[1:])"
    )
    with running(tmp_path, Path("/"), "--events", "none"):
        done = subprocess.run(
            [
                *(sys.executable, "-c", code),
                *("--socket", str(tmp_path / "nodedevd.sock"), "doctor", "--json"),
            ],
            cwd=REPOSITORY,
            capture_output=True,
        )
    assert done.returncode == 5, done.stderr
    found = {one["code"] for one in json.loads(done.stdout)["findings"]}
    assert {"socket-refused", "not-root"} <= found


# -- the page --------------------------------------------------------------------------


def test_page_lists_exactly_the_codes() -> None:
    """Every code has a row, and every row a code."""
    rows = re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE)
    assert rows == list(get_args(Code))


def test_page_shows_what_the_command_prints() -> None:
    """The example is real output."""
    (example,) = re.findall(r"^```\n\$ nodedevctl (.*)\n((?:.*\n)*?)```", PAGE, re.MULTILINE)
    assert run(*example[0].split(), status=0) == example[1]


def test_page_explains_the_severities_and_the_exit_status() -> None:
    """Scripts depend on both."""
    for severity in get_args(Severity):
        assert f"`{severity}`" in PAGE
    assert "exit status is 5" in PAGE
