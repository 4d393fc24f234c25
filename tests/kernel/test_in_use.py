"""in_use: from the nodes of a host, and who holds them, to yes, no or unknown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from click.testing import CliRunner

from nodedevd.cli import main
from nodedevd.client import Client
from nodedevd.follow import shared_look
from nodedevd.host.processes import Holding, Process, Seen
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.in_use import REASONS, InUse, Look, Use, UseReason, look
from nodedevd.tree.read import scan
from tests.support.holder import STAND_IN, can_make_nodes, holding, needs_nodes
from tests.support.running import REPOSITORY, started
from tests.support.this_host import nodedevctl, on
from tests.support.trees import Tree

CARD, SOUND, BRIDGE, NIC = "0000:01:00.0", "0000:01:00.1", "0000:00:01.0", "0000:02:00.0"
UUID = "5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01"
QEMU = Process(100, "qemu-system-x86")
OTHER = Process(200, "qemu-system-x86")
ROOT = "/sys/devices/pci0000:00"

needs_root = pytest.mark.skipif(not can_make_nodes(), reason=needs_nodes)


def held(
    *nodes: str, devices: tuple[str, ...] = (), untold: int = 0, by: Process = QEMU
) -> Holding:
    """Return what a process holds, by the ends of the nodes' paths."""
    paths = frozenset(f"/dev/vfio/{node}" for node in nodes)
    return Holding(by, paths, frozenset(devices), untold)


class Host:
    """A host with an mdev, a card with sound in one group, and a NIC alone in another."""

    def __init__(self, root: Path) -> None:
        tree = self.tree = Tree(root)
        tree.pci(BRIDGE, vendor=0x8086, device=1, class_=0x060400, driver="pcieport", iommu_group=1)
        group = {"driver": "vfio-pci", "iommu_group": 1, "parent": BRIDGE}
        self.card = tree.pci(CARD, vendor=0x10DE, device=2, class_=0x030000, **group)  # type: ignore[arg-type]
        self.sound = tree.pci(SOUND, vendor=0x10DE, device=3, class_=0x040300, **group)  # type: ignore[arg-type]
        self.nic = tree.pci(
            NIC, vendor=0x8086, device=4, class_=0x020000, driver="mlx5_vfio_pci", iommu_group=2
        )
        tree.vfio_group(1)
        tree.vfio_group(2)
        self.parent = tree.device("/sys/devices/virtual/mtty/mtty", class_="mtty")
        tree.mdev_parent(self.parent)
        tree.mdev_type(self.parent, "mtty-1")
        self.mdev = tree.mdev(self.parent, UUID, "mtty-1", driver="mtty", iommu_group=3, vfio=7)
        tree.vfio_group(3)

    @property
    def sysroot(self) -> Sysroot:
        """The host."""
        return Sysroot(self.tree.root)

    def look(self, *holdings: Holding, unseen: int = 0, hidden: bool = False) -> Look:
        """Look at its nodes, as if these were held."""
        return Look(look(self.sysroot).nodes, Seen(holdings, unseen, hidden))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return the host."""
    return Host(tmp_path / "host")


def answer(look: Look, path: str) -> tuple[str, str | None, tuple[Process, ...]]:
    """Return what is told of a device."""
    use = look.use("it", path)
    return use.open, use.reason, use.holders


def test_mdev_whose_group_is_held_is_open(host: Host) -> None:
    """The group is the mdev's own."""
    seen = host.look(held("3"))
    assert answer(seen, host.mdev) == ("yes", None, (QEMU,))
    assert answer(seen, host.nic) == ("no", None, ())


def test_mdev_whose_own_node_is_held_is_open(host: Host) -> None:
    """Newer QEMU opens /dev/vfio/devices/vfioN and no group."""
    assert answer(host.look(held("devices/vfio7")), host.mdev) == ("yes", None, (QEMU,))


def test_device_with_two_holders_names_both(host: Host) -> None:
    """Who passes the node on may keep it, too."""
    assert answer(host.look(held("3"), held("3", by=OTHER)), host.mdev)[2] == (QEMU, OTHER)


def test_device_that_nobody_holds_is_not_open(host: Host) -> None:
    """All processes were looked at, and none has it."""
    seen = host.look()
    for path in (host.mdev, host.card, host.nic):
        assert answer(seen, path) == ("no", None, ())


@pytest.mark.parametrize("view", [{"unseen": 3}, {"hidden": True}])
def test_device_that_nobody_seen_holds_is_unknown_while_some_are_unseen(
    host: Host, view: dict[str, Any]
) -> None:
    """Who may not be looked into may have it; what is found is found all the same."""
    seen = host.look(held("3"), **view)
    assert answer(seen, host.nic) == ("unknown", "processes-unseen", ())
    assert answer(seen, host.mdev) == ("yes", None, (QEMU,))


def test_device_that_is_not_bound_to_vfio_is_not_open(host: Host) -> None:
    """A bridge in a group that VFIO hands out is not handed out itself."""
    for path in (host.parent, f"{ROOT}/{BRIDGE}"):
        assert answer(host.look(held("1"), unseen=1), path) == ("no", "no-node", ())


def test_device_of_a_shared_group_that_is_held_is_unknown(host: Host) -> None:
    """The group has two devices that can be had from it: which one is, its node does not tell."""
    seen = host.look(held("1", untold=1))
    for path in (host.card, host.sound):
        assert answer(seen, path) == ("unknown", "group-shared", (QEMU,))
    assert answer(host.look(held("1")), host.card) == ("unknown", "group-shared", (QEMU,))


def test_device_of_a_shared_group_is_told_where_the_kernel_names_it(host: Host) -> None:
    """By fdinfo the one is open, and the other is not."""
    seen = host.look(held("1", devices=(host.card,)))
    assert answer(seen, host.card) == ("yes", None, (QEMU,))
    assert answer(seen, host.sound) == ("no", None, ())


def test_device_alone_in_its_group_but_for_bridges_is_told(host: Host) -> None:
    """What the kernel's own drivers have cannot be had from the group."""
    host.tree.link(f"{host.sound}/driver", "../../../../bus/pci/drivers/snd_hda_intel")
    assert answer(host.look(held("1")), host.card) == ("yes", None, (QEMU,))
    assert answer(host.look(held("1")), host.sound) == ("no", "no-node", ())


def test_device_got_from_a_group_that_is_closed_is_untold(host: Host) -> None:
    """A process with a VFIO device, and no node, may have any."""
    seen = host.look(held(untold=1))
    assert answer(seen, host.nic) == ("unknown", "device-untold", (QEMU,))
    assert answer(seen, host.parent) == ("no", "no-node", ())


def test_device_besides_those_of_the_groups_held_is_untold(host: Host) -> None:
    """A process with more devices than its nodes give it may have any besides."""
    assert answer(host.look(held("3", untold=1)), host.nic) == ("no", None, ())
    seen = host.look(held("3", "devices/vfio7", untold=2))
    assert answer(seen, host.nic) == ("unknown", "device-untold", (QEMU,))
    assert answer(seen, host.mdev) == ("yes", None, (QEMU,))


def test_device_of_a_group_without_an_iommu_has_its_node(host: Host) -> None:
    """VFIO names such a node noiommu-N."""
    host.tree.remove("/sys/class/vfio/2")
    host.tree.kernel_link("/sys/class/vfio/noiommu-2", "/sys/devices/virtual/vfio/2")
    assert answer(host.look(held("noiommu-2")), host.nic) == ("yes", None, (QEMU,))


def test_device_without_group_and_node_has_nothing_to_open(host: Host) -> None:
    """Before Linux 6.6 vfio-dev has no node of its own."""
    host.tree.remove("/sys/class/vfio")
    host.tree.remove(f"{host.mdev}/vfio-dev/vfio7/dev")
    assert answer(host.look(), host.mdev) == ("no", "no-node", ())


def test_without_names_all_that_vfio_drives_is_told_of(host: Host) -> None:
    """Mdevs and functions bound to VFIO; no bridge, no parent, no mdev that is not there."""
    host.tree.definition("mtty", "83c32df7-d52e-4ec1-9668-1f3c7e4df107", "mtty-1")
    snapshot = scan(host.sysroot)
    told = host.look(held("3"), unseen=2).of(snapshot, None)
    assert [(use.device, use.open) for use in told.devices] == [
        ("mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3d1e01", "yes"),
        ("pci_0000_01_00_0", "unknown"),
        ("pci_0000_01_00_1", "unknown"),
        ("pci_0000_02_00_0", "unknown"),
    ]
    assert (told.generation, told.unseen_processes) == (snapshot.generation, 2)
    assert told.without_holders().devices[0].holders == ()


def test_devices_of_a_recorded_host_are_unknown(host: Host) -> None:
    """Its processes are not here, so nothing can be said of any device."""
    seen = look(host.sysroot)
    for path in (host.mdev, host.parent):
        assert answer(seen, path) == ("unknown", "other-host", ())


def test_every_reason_has_a_sentence() -> None:
    """The words that go over the wire are those that are explained."""
    assert set(REASONS) == set(get_args(UseReason))


def test_host_without_vfio_has_no_nodes(tmp_path: Path) -> None:
    """No module, no classes, no devices."""
    tree = Tree(tmp_path)
    tree.directory("/sys")
    assert look(Sysroot(tree.root)).nodes == {}
    assert Look(seen=Seen((), 0, hidden=False)).of(Snapshot(), None) == InUse(1, 0, ())


# -- this machine's processes ----------------------------------------------------------


@contextmanager
def stand_in(host: Host) -> Iterator[int]:
    """Give the mdev's group the stand-in's number, and have a process hold such a node.

    It runs in a mount namespace of its own, and as another user, as QEMU does.
    """
    host.tree.vfio_group(3, (os.major(STAND_IN), os.minor(STAND_IN)))
    script = "mount -t tmpfs -o dev,mode=755 tmpfs /mnt; mknod -m 666 /mnt/3 c 1 7;"
    script += 'exec setpriv --reuid=65534 --regid=65534 --clear-groups "$0" "$@"'
    with holding("/mnt/3", before=["unshare", "--mount", "sh", "-ec", script]) as pid:
        yield pid


@needs_root
def test_real_process_that_holds_the_group_is_told(host: Host) -> None:
    """From the number in sysfs to a process in a mount namespace of its own, and back."""
    with stand_in(host) as pid:
        (holder,) = look(host.sysroot, proc="/proc").use("it", host.mdev).holders
        assert holder.pid == pid
    assert look(host.sysroot, proc="/proc").use("it", host.mdev).open != "yes"


def in_use(host: Host, *arguments: str, before: tuple[str, ...] = ()) -> dict[str, Any]:
    """Ask for the mdev by nodedevctl, with the fake host as this one."""
    told = nodedevctl(host.tree, *arguments, "in-use", "--json", UUID, before=before)
    (device,) = told["devices"]
    assert isinstance(device, dict)
    return device


@needs_root
def test_command_without_a_daemon_tells_who_has_the_device_open(host: Host) -> None:
    """`nodedevctl --sysroot / in-use` scans, and looks at the processes itself."""
    with stand_in(host) as pid:
        device = in_use(host, "--sysroot", "/")
    assert device["open"] == "yes"
    assert [one["pid"] for one in device["holders"]] == [pid]


WITHOUT = ("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", "--")


def bounded(*units: str) -> tuple[str, ...]:
    """Return what has a command run with the capabilities that these units leave."""
    text = "".join((REPOSITORY / "systemd" / unit).read_text() for unit in units)
    names = " ".join(re.findall("^CapabilityBoundingSet=(.*)$", text, re.MULTILINE)).split()
    kept = [f"+{name.removeprefix('CAP_').lower()}" for name in names]
    return ("setpriv", f"--bounding-set={','.join(['-all', *kept])}", "--inh-caps=-all", "--")


# Modules may lie where nobody else can go: they are imported first.
SOMEBODY = f"""
import os, sys, msgspec, nodedevd.client
os.setuid(65534)
with nodedevd.client.Client(sys.argv[1]) as client:
    print(msgspec.json.encode(client.in_use([{UUID!r}]).devices[0]).decode())
"""


@needs_root
def test_daemon_that_may_not_look_leaves_it_to_the_command(host: Host, tmp_path: Path) -> None:
    """In its unit the daemon answers unknown; root asks by the command, and is told."""
    path = str(tmp_path / "socket")
    command = [*on(host.tree, *bounded("nodedevd.service")), sys.executable, "-m", "nodedevd"]
    with (
        stand_in(host) as pid,
        started(tmp_path, "--socket", path, "--events", "none", command=command) as daemon,
    ):
        daemon.wait_notified("READY=1")
        device = in_use(host, "--socket", path)
        assert [one["pid"] for one in device["holders"]] == [pid]
        unable = in_use(host, "--socket", path, before=WITHOUT)
        assert (unable["open"], unable["reason"]) == ("unknown", "processes-unseen")


@needs_root
def test_daemon_with_the_drop_in_tells_who_has_the_device_open(host: Host, tmp_path: Path) -> None:
    """What the unit and its drop-in leave of root's capabilities is enough to see."""
    path = str(tmp_path / "socket")
    before = bounded("nodedevd.service", "nodedevd-in-use.conf")
    command = [*on(host.tree, *before), sys.executable, "-m", "nodedevd"]
    with (
        stand_in(host) as pid,
        started(tmp_path, "--socket", path, "--events", "none", command=command) as daemon,
    ):
        daemon.wait_notified("READY=1")
        with Client(path) as client:
            (use,) = client.in_use([UUID]).devices
    assert [one.pid for one in use.holders] == [pid]


@needs_root
def test_user_is_told_that_a_device_is_open_but_not_by_whom(host: Host, tmp_path: Path) -> None:
    """The socket is every user's; other users' processes are not."""
    command = [*on(host.tree), sys.executable, "-m", "nodedevd"]
    with tempfile.TemporaryDirectory(prefix="nodedevd-") as directory:
        os.chmod(directory, 0o755)
        path = f"{directory}/socket"
        with (
            stand_in(host) as pid,
            started(tmp_path, "--socket", path, "--events", "none", command=command) as daemon,
        ):
            daemon.wait_notified("READY=1")
            with Client(path) as client:
                (use,) = client.in_use([UUID]).devices
            assert [one.pid for one in use.holders] == [pid]
            told = subprocess.run(
                [sys.executable, "-W", "error", "-c", SOMEBODY, path],
                cwd=REPOSITORY,
                check=True,
                capture_output=True,
            ).stdout
        assert msgspec.json.decode(told, type=Use) == msgspec.structs.replace(use, holders=())


# -- what people see -------------------------------------------------------------------


def test_table_has_a_line_for_each_holder(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several may have one device open; what is unknown is explained below."""
    seen = host.look(held("3"), held("3", by=OTHER), held("1"), unseen=4)
    monkeypatch.setattr(shared_look, "look_in_time", lambda sysroot, progress: seen)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = CliRunner().invoke(main.main, ["--sysroot", host.tree.root, "in-use"])
    assert result.exit_code == 0
    assert (
        result.stdout
        == """\
DEVICE                                     OPEN     PID  PROCESS
mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3d1e01  yes      100  qemu-system-x86
mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3d1e01  yes      200  qemu-system-x86
pci_0000_01_00_0                           unknown  100  qemu-system-x86
pci_0000_01_00_1                           unknown  100  qemu-system-x86
pci_0000_02_00_0                           unknown  -    -
"""
    )
    assert result.stderr.splitlines() == [
        "unknown for pci_0000_01_00_0, pci_0000_01_00_1: " + REASONS["group-shared"],
        f"unknown for pci_0000_02_00_0: {REASONS['processes-unseen']} (4 could not; ask as root)",
    ]


def test_command_on_a_recorded_host_says_why_nothing_is_known(host: Host) -> None:
    """It looks at no process of this host for another one's devices."""
    result = CliRunner().invoke(main.main, ["--sysroot", host.tree.root, "in-use", UUID])
    assert result.exit_code == 0
    assert result.stdout.split()[4:] == [f"mdev_{UUID.replace('-', '_')}", "unknown", "-", "-"]
    assert REASONS["other-host"] in result.stderr


def test_command_takes_no_device_that_is_not_there(host: Host) -> None:
    """A wrong name is a failure, not a device that nobody has open."""
    result = CliRunner().invoke(main.main, ["--sysroot", host.tree.root, "in-use", "mdev_1"])
    assert result.exit_code == 1
    assert "no device named 'mdev_1'" in result.stderr
