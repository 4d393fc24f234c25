"""losses: what this host loses with a PCI function, and what it uses of that."""

from __future__ import annotations

import pytest

from nodedevd.host.assignment import read_assignment_facts
from nodedevd.host.sysroot import Sysroot
from nodedevd.questions.hostdev.answer import hostdev
from nodedevd.questions.hostdev.facts import HostDevFacts
from nodedevd.questions.hostdev.request import HostDevRequest
from nodedevd.tree.read import scan
from tests.support.hostdev_cases import on
from tests.support.trees import Tree

HBA = "0000:00:03.0"
OTHER = "0000:00:04.0"
MOUNTS = "/proc/self/mountinfo"


def notes_of(name: str = HBA) -> list[str]:
    """Return the notes on a function of the host that the test has built."""
    sysroot = Sysroot()
    facts = HostDevFacts(machine="x86_64", host=read_assignment_facts(sysroot))
    return list(hostdev(scan(sysroot), HostDevRequest(name=name), facts).notes)


def used(name: str = HBA) -> list[str]:
    """Return what the host uses of what it loses with a function."""
    start = "the host uses what it loses: "
    return [use for note in notes_of(name) if note.startswith(start) for use in _list(note, start)]


def _list(note: str, start: str) -> list[str]:
    return note.removeprefix(start).split("; ")


def mounted(tree: Tree, *mounts: str) -> None:
    """Mount file systems: number, place, type and source of each; there is no swap space."""
    lines = []
    for mount in mounts:
        number, place, file_system, source = mount.split()
        root = "/" if place.startswith("/") else "/part"
        lines.append(f"30 1 {number} {root} /{place.lstrip('/')} rw - {file_system} {source} rw\n")
    tree.file(MOUNTS, "".join(lines))
    tree.file("/proc/swaps", "Filename Type Size Used Priority\n")


@pytest.fixture
def hba(tree: Tree) -> str:
    """Return a controller with the disks sda and sdb; a second one has sdc."""
    paths = [
        tree.pci(one, vendor=1, device=1, class_=0x010700, driver="mpt3sas", iommu_group=number)
        for number, one in enumerate((HBA, OTHER))
    ]
    for number, (name, path) in enumerate(zip("abc", (paths[0], *paths), strict=True)):
        tree.block(f"sd{name}", above=f"{path}/block", number=(8, 16 * number))
    mounted(tree)
    return paths[0]


def mapper(tree: Tree, number: int, name: str, uuid: str, *slaves: str) -> str:
    """Make a device of the device mapper on others."""
    path = tree.block(
        f"dm-{number}", number=(253, number), attributes={"dm/name": name, "dm/uuid": uuid}
    )
    for slave in slaves:
        tree.kernel_link(f"{path}/slaves/{slave.rpartition('/')[2]}", slave)
    return path


def disk(tree: Tree, name: str) -> str:
    """Return the path of a disk."""
    return Sysroot(tree.root).target(f"/sys/class/block/{name}")


# -- NVMe ------------------------------------------------------------------------------


def test_disk_below_its_nvme_subsystem_is_lost_with_what_is_on_it() -> None:
    """Its path has nothing of the function; a bind mount of a directory is not told again."""
    lost, uses = on("nvme-native-multipath", "0000:af:00.0").notes
    assert lost == (
        "libvirt unbinds it from its driver nvme; the host loses block_dm_0, block_dm_1,"
        " block_nvme7n1_Dell_Ent_NVMe_PM1735_MU_3_2TB_EXS20"
    )
    assert uses == (
        "the host uses what it loses: / is mounted from vg0-root; vg0-swap is swap space;"
        " /boot/efi is mounted from nvme7n1p1"
    )


@pytest.mark.parametrize("name", ["0000:b0:00.0", "0000:b1:00.0"])
def test_disk_with_a_second_path_is_not_lost(name: str) -> None:
    """Its file system goes on."""
    assert on("nvme-native-multipath", name).notes == (
        "libvirt unbinds it from its driver nvme",
        "nvme8n1 loses some of its paths, and works on with the others",
    )


def test_disk_whose_paths_are_all_in_one_group_is_lost(tree: Tree) -> None:
    """A whole group leaves the host."""
    subsystem = "/sys/devices/virtual/nvme-subsystem/nvme-subsys0"
    for number, address in enumerate((HBA, OTHER)):
        path = tree.pci(address, vendor=1, device=1, class_=0x010802, driver="nvme", iommu_group=1)
        controller = tree.device(f"{path}/nvme/nvme{number}", class_="nvme")
        tree.directory(f"{controller}/nvme0c{number}n1")
        tree.kernel_link(f"{subsystem}/nvme{number}", controller)
    tree.block("nvme0n1", above=subsystem, number=(259, 0))
    mounted(tree, "259:0 /srv xfs /dev/nvme0n1")
    assert used() == ["/srv is mounted from nvme0n1"]


def test_namespace_of_another_controller_of_the_subsystem_is_not_lost(tree: Tree) -> None:
    """A namespace need not be attached to each controller."""
    subsystem = "/sys/devices/virtual/nvme-subsystem/nvme-subsys0"
    for number, address in enumerate((HBA, OTHER)):
        path = tree.pci(
            address, vendor=1, device=1, class_=0x010802, driver="nvme", iommu_group=number
        )
        controller = tree.device(f"{path}/nvme/nvme{number}", class_="nvme")
        tree.directory(f"{controller}/nvme0c{number}n{number + 1}")
        tree.kernel_link(f"{subsystem}/nvme{number}", controller)
        tree.block(f"nvme0n{number + 1}", above=subsystem, number=(259, number))
    mounted(tree, "259:0 /one xfs /dev/nvme0n1", "259:1 /two xfs /dev/nvme0n2")
    assert used(HBA) == ["/one is mounted from nvme0n1"]
    assert used(OTHER) == ["/two is mounted from nvme0n2"]


# -- what lies on disks ----------------------------------------------------------------


def test_mounts_of_disk_and_partition_are_named(tree: Tree, hba: str) -> None:
    """By the device number; a disk of another function does not count."""
    part = tree.partition(disk(tree, "sdb"), "sdb1")
    tree.file(f"{part}/dev", "8:17\n")
    mounted(tree, "8:0 /data ext4 /dev/root", "8:17 /boot ext4 /dev/sdb1", "8:32 /old xfs /dev/sdc")
    assert used() == ["/data is mounted from sda", "/boot is mounted from sdb1"]
    assert used(OTHER) == ["/old is mounted from sdc"]


def test_place_of_a_mount_is_shown_without_escapes(tree: Tree, hba: str) -> None:
    """The kernel escapes blanks."""
    tree.file(MOUNTS, "30 1 8:0 / /srv/my\\040disk rw - ext4 /dev/sda rw\nnonsense\n\n")
    assert used() == ["/srv/my disk is mounted from sda"]


def test_encrypted_volume_on_a_partition_is_used(tree: Tree, hba: str) -> None:
    """Through each layer: partition, dm-crypt, LVM."""
    part = tree.partition(disk(tree, "sda"), "sda1")
    crypt = mapper(tree, 0, "luks-made-up", "CRYPT-LUKS2-made-up", part)
    mapper(tree, 1, "vg-home", "LVM-made-up", crypt)
    mounted(tree, "253:1 /home ext4 /dev/mapper/vg-home")
    assert used() == ["/home is mounted from vg-home"]


def test_holders_are_enough(tree: Tree, hba: str) -> None:
    """A recording may have either of the two directories."""
    volume = mapper(tree, 0, "vg-home", "LVM-made-up")
    tree.kernel_link(f"{disk(tree, 'sda')}/holders/dm-0", volume)
    mounted(tree, "253:0 /home ext4 /dev/mapper/vg-home")
    assert used() == ["/home is mounted from vg-home"]


@pytest.mark.parametrize("space", ["/dev/dm-0", "/dev/mapper/vg-swap"])
def test_swap_space_is_named(tree: Tree, hba: str, space: str) -> None:
    """By either name of its node."""
    mapper(tree, 0, "vg-swap", "LVM-made-up", disk(tree, "sda"))
    tree.file("/proc/swaps", f"Filename Type Size Used Priority\n{space} partition 9 0 -2\n")
    assert used() == ["vg-swap is swap space"]


def test_multipath_disk_is_lost_with_its_last_path(tree: Tree, hba: str) -> None:
    """The device mapper's multipath goes on with one path."""
    mapper(tree, 0, "mpatha", "mpath-made-up", disk(tree, "sda"), disk(tree, "sdc"))
    mapper(tree, 1, "mpathb", "mpath-made-up", disk(tree, "sda"), disk(tree, "sdb"))
    mounted(tree, "253:0 /a ext4 /dev/mapper/mpatha", "253:1 /b ext4 /dev/mapper/mpathb")
    assert used() == ["/b is mounted from mpathb"]
    assert "mpatha loses some of its paths, and works on with the others" in notes_of()


@pytest.mark.parametrize(("level", "is_lost"), [("raid1", False), ("raid0", True), (None, True)])
def test_array_is_lost_by_its_level(tree: Tree, hba: str, level: str | None, is_lost: bool) -> None:
    """A mirror works on with the disk of another function."""
    array = tree.block(
        "md0", number=(9, 0), attributes={} if level is None else {"md/level": level}
    )
    for name in ("sda", "sdc"):
        tree.kernel_link(f"{array}/slaves/{name}", disk(tree, name))
    mounted(tree, "9:0 /srv ext4 /dev/md0")
    assert used() == (["/srv is mounted from md0"] if is_lost else [])
    note = "md0 loses some of its members, and works on with the others"
    assert (note in notes_of()) is not is_lost


def test_btrfs_is_used_by_each_of_its_members(tree: Tree, hba: str) -> None:
    """Its mount has a device number of its own, and names one member."""
    members = "/sys/fs/btrfs/00000000-0000-4000-8000-000000000001/devices"
    for name in ("sda", "sdc"):
        tree.kernel_link(f"{members}/{name}", disk(tree, name))
    mounted(tree, "0:35 /pool btrfs /dev/sdc")
    assert used() == ["/pool is mounted from sda"]
    assert used(OTHER) == ["/pool is mounted from sdc"]


def test_bcachefs_names_all_its_members(tree: Tree, hba: str) -> None:
    """In the source of its mount."""
    mounted(tree, "0:36 /pool bcachefs /dev/sda:/dev/sdc")
    assert used() == ["/pool is mounted from sda"]
    assert used(OTHER) == ["/pool is mounted from sdc"]


@pytest.mark.exhaustive
def test_long_stack_of_devices_is_lost_with_its_disk(tree: Tree, hba: str) -> None:
    """A made-up host may have more layers than Python has stack."""
    lower = disk(tree, "sda")
    for number in range(1500):
        upper_path = tree.block(f"dm-{number}", number=(253, number), size=None, block_size=None)
        tree.kernel_link(f"{upper_path}/slaves/{lower.rpartition('/')[2]}", lower)
        lower = upper_path
    mounted(tree, "253:1499 /x ext4 /dev/dm-1499")
    assert used() == ["/x is mounted from dm-1499"]


def test_subvolume_is_named_if_the_whole_is_not_mounted(tree: Tree, hba: str) -> None:
    """Not a bind mount: the file system has no other place."""
    mounted(tree, "0:35 home btrfs /dev/sda")
    assert used() == ["/home is mounted from sda"]


def test_member_of_a_zfs_pool_is_named(tree: Tree, hba: str) -> None:
    """The mounts of ZFS name the pool alone; udev knows its members."""
    tree.udev(disk(tree, "sda"), {"ID_FS_TYPE": "zfs_member"})
    mounted(tree, "0:40 /tank zfs tank")
    assert used() == ["sda is a member of a ZFS pool"]


def test_devices_that_lie_on_each_other_end(tree: Tree, hba: str) -> None:
    """Only a made-up host has them."""
    one, other = mapper(tree, 0, "one", "x"), mapper(tree, 1, "other", "x")
    tree.kernel_link(f"{one}/slaves/dm-1", other)
    tree.kernel_link(f"{other}/slaves/dm-0", one)
    mounted(tree, "253:0 /x ext4 /dev/dm-0")
    assert used() == []


def test_unknown_mounts_are_said_to_be_unknown(tree: Tree, hba: str) -> None:
    """A function without disks needs no word of it."""
    tree.remove(MOUNTS)
    assert "whether the host uses a lost disk is unknown: its mounts cannot be read" in notes_of()
    mounted(tree)
    tree.remove("/proc/swaps")
    assert [one for one in notes_of() if "/proc/swaps cannot be read" in one]
    tree.pci("0000:00:05.0", vendor=1, device=1, class_=0x020000, driver="e1000e", iommu_group=5)
    assert notes_of("0000:00:05.0") == ["libvirt unbinds it from its driver e1000e"]


# -- interfaces ------------------------------------------------------------------------

ROUTES = "/proc/net/route"
HEADING = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"


def routes(tree: Tree, *interfaces: str) -> None:
    """Write routes, by which a recording shows the addresses."""
    lines = [f"{one}\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n" for one in interfaces]
    tree.file(ROUTES, HEADING + "".join(lines))


@pytest.fixture
def nic(tree: Tree) -> str:
    """Return a network card with the interface eth0."""
    path = tree.pci(HBA, vendor=1, device=1, class_=0x020000, driver="e1000e", iommu_group=1)
    return tree.net("eth0", parent=path)


def upper(tree: Tree, name: str, *lower: str) -> None:
    """Make an interface that lies on others."""
    path = tree.net(name)
    for one in lower:
        tree.kernel_link(f"{Sysroot(tree.root).target(f'/sys/class/net/{one}')}/upper_{name}", path)


def test_interface_with_an_address_is_used(tree: Tree, nic: str) -> None:
    """An interface without one is only lost."""
    routes(tree, "eth1")
    assert used() == []
    routes(tree, "eth0", "eth0")
    assert used() == ["eth0 has an address"]


@pytest.mark.parametrize(("scope", "uses"), [("00", ["eth0 has an address"]), ("20", [])])
def test_address_of_the_link_alone_is_no_use(
    tree: Tree, nic: str, scope: str, uses: list[str]
) -> None:
    """Each interface that is up has one."""
    routes(tree)
    tree.file("/proc/net/if_inet6", f"{'20010db8':0<32} 02 40 {scope} 80     eth0\n")
    assert used() == uses


def test_part_of_a_bridge_is_used(tree: Tree, nic: str) -> None:
    """By a bond, which is a port of a bridge, which has the address."""
    upper(tree, "bond0", "eth0")
    upper(tree, "br0", "bond0")
    routes(tree, "br0")
    assert used() == ["eth0 is a part of bond0", "eth0 is a part of br0, which has an address"]


def test_master_is_enough(tree: Tree, nic: str) -> None:
    """A recording may lack the links upper_*."""
    tree.kernel_link(f"{nic}/master", tree.net("br0"))
    routes(tree)
    assert used() == ["eth0 is a part of br0"]


def test_interfaces_that_lie_on_each_other_end(tree: Tree, nic: str) -> None:
    """Only a made-up host has them."""
    upper(tree, "br0", "eth0")
    upper(tree, "br1", "br0")
    upper(tree, "br0", "br1")
    routes(tree)
    assert used() == ["eth0 is a part of br0", "eth0 is a part of br1"]


@pytest.mark.parametrize("below", ["", "/virtio3"])
def test_interface_in_another_namespace_is_used(tree: Tree, nic: str, below: str) -> None:
    """Sysfs keeps the directory of a device's interfaces, and lists those of one namespace."""
    routes(tree)
    path = tree.resolve(HBA) + below
    if below:
        tree.device(path, bus="virtio")
    tree.directory(f"{path}/net")
    if not below:
        assert used() == []  # one interface is here
        tree.remove(nic)
    name = path.rpartition("/")[2]
    assert used() == [f"an interface of {name} is in another network namespace"]


def test_unknown_addresses_are_said_to_be_unknown(tree: Tree, nic: str) -> None:
    """An unknown address is not a missing one."""
    note = "whether the host uses a lost interface is unknown: addresses cannot be read"
    assert note in notes_of()
    routes(tree)
    assert note not in notes_of()


# -- the group -------------------------------------------------------------------------


def test_losses_with_other_members_of_the_group_are_named(tree: Tree) -> None:
    """The advice to take their driver away must not cost a disk without a word."""
    tree.pci(HBA, vendor=1, device=1, class_=0x020000, driver="vfio-pci", iommu_group=1)
    path = tree.pci(OTHER, vendor=1, device=1, class_=0x010700, driver="mpt3sas", iommu_group=1)
    tree.block("sda", above=f"{path}/block", number=(8, 0))
    mounted(tree, "8:0 / ext4 /dev/sda")
    group, *others = notes_of()
    assert group.startswith("IOMMU group 1 also has pci_0000_00_04_0 (mpt3sas): bind each of them")
    assert others == [
        "without the driver of pci_0000_00_04_0, the host loses block_sda",
        "the host uses what it loses: / is mounted from sda",
    ]
