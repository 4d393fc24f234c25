"""private_proc: a recording shows what the host uses, and neither its places nor its addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodedevd.host.assignment import AssignmentFacts, read_assignment_facts
from nodedevd.host.sysroot import Sysroot
from nodedevd.tree.record import record
from tests.support.trees import Tree

MOUNTINFO = """\
21 1 253:0 / / rw,relatime shared:1 - ext4 /dev/mapper/acme-root rw,errors=remount-ro
22 21 0:20 / /sys rw,nosuid - sysfs sysfs rw
23 21 253:0 /home/jane /srv/jane\\040doe rw - ext4 /dev/mapper/acme-root rw
24 21 0:41 / /mnt/secret rw - nfs4 files.acme.example:/export rw,addr=192.0.2.77
25 21 8:1 / /boot/efi rw - vfat /dev/sda1 rw
"""
SWAPS = """\
Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority
/dev/dm-1                               partition\t8388604\t\t0\t\t-2
/dev/mapper/acme-more                   partition\t8388604\t\t0\t\t-3
/home/jane/swapfile                     file\t\t8388604\t\t0\t\t-4
"""
ROUTE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
"""
IF_INET6 = "20010db8000000000000000000001234 02 40 00 80     eth0\n"
PRIVATE = ("acme", "jane", "secret", "192.0.2", "C0", "1234", "export", "vendor-key")


@pytest.fixture
def host(tmp_path: Path) -> Tree:
    """Return a host with a volume, an interface, and everything private in /proc."""
    tree = Tree(tmp_path / "host")
    hba = tree.pci("0000:00:03.0", vendor=1, device=1, class_=0x010700, driver="ahci")
    disk = tree.block("sda", above=f"{hba}/block", number=(8, 0))
    part = tree.partition(disk, "sda1")
    tree.file(f"{part}/dev", "8:1\n")
    for number, name in enumerate(("root", "swap", "more")):
        volume = tree.block(
            f"dm-{number}",
            number=(253, number),
            attributes={"dm/name": f"acme-{name}", "dm/uuid": f"LVM-vendor-key-{name}"},
        )
        tree.udev(
            volume, {"DM_NAME": f"acme-{name}", "DM_VG_NAME": "acme"}, [f"mapper/acme-{name}"]
        )
        tree.kernel_link(f"{volume}/slaves/sda1", part)
    nic = tree.pci("0000:00:04.0", vendor=1, device=1, class_=0x020000, driver="e1000e")
    tree.kernel_link(f"{tree.net('eth0', parent=nic)}/upper_br0", tree.net("br0"))
    tree.file("/proc/self/mountinfo", MOUNTINFO)
    tree.file("/proc/swaps", SWAPS)
    tree.file("/proc/net/route", ROUTE)
    tree.file("/proc/net/if_inet6", IF_INET6)
    return tree


def facts_of(root: str) -> AssignmentFacts:
    """Read a host."""
    return read_assignment_facts(Sysroot(root))


def test_raw_recording_has_everything(host: Tree, tmp_path: Path) -> None:
    """It gives the same facts."""
    record(host.root, str(tmp_path / "raw.ttar"), raw=True)
    assert facts_of(str(tmp_path / "raw.ttar")) == facts_of(host.root)


def test_recording_gives_the_same_facts_without_names(host: Tree, tmp_path: Path) -> None:
    """What lies on what, what is mounted or swap space, and which interface has an address."""
    record(host.root, str(tmp_path / "host.ttar"))
    text = (tmp_path / "host.ttar").read_text(encoding="utf-8")
    assert [word for word in PRIVATE if word in text] == []
    before, found = facts_of(host.root), facts_of(str(tmp_path / "host.ttar"))
    assert found.interfaces == before.interfaces
    assert found.interfaces["eth0"].has_address
    assert found.blocks.keys() == before.blocks.keys()
    for path, block in found.blocks.items():
        assert block.below == before.blocks[path].below
        assert block.swap == before.blocks[path].swap
        assert len(block.mounts) == len(before.blocks[path].mounts)
    mounts = {one.mounts for one in found.blocks.values() if one.mounts}
    assert mounts == {("/",), ("/boot/efi",)}
    assert [one.swap for one in found.blocks.values()].count(True) == 2


def test_recording_without_proc_has_none(tmp_path: Path) -> None:
    """Unknown stays unknown."""
    tree = Tree(tmp_path / "host")
    tree.pci("0000:00:03.0", vendor=1, device=1, class_=0x010700)
    record(tree.root, str(tmp_path / "host.ttar"))
    found = facts_of(str(tmp_path / "host.ttar"))
    assert (found.mounts_known, found.swaps_known, found.addresses_known) == (False,) * 3
