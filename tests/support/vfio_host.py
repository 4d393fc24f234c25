"""A host whose devices VFIO hands out: an mdev, a card, its sound device, and a NIC."""

from __future__ import annotations

from pathlib import Path

from nodedevd.host.processes import OpenFiles, Process, ProcessScan, Vm
from nodedevd.host.sysroot import Sysroot
from nodedevd.questions.in_use import VfioUsage, read_usage
from tests.support.trees import Tree

CARD, SOUND, BRIDGE, NIC = "0000:01:00.0", "0000:01:00.1", "0000:00:01.0", "0000:02:00.0"
UUID = "5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01"
QEMU = Process(100, "qemu-system-x86")
OTHER = Process(200, "qemu-system-x86", Vm("web-01", None))


def held(
    *nodes: str, devices: tuple[str, ...] = (), unidentified: int = 0, by: Process = QEMU
) -> OpenFiles:
    """Return what a process holds, by the ends of the nodes' paths."""
    paths = frozenset(f"/dev/vfio/{node}" for node in nodes)
    return OpenFiles(by, paths, frozenset(devices), unidentified)


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

    def look(self, *open_files: OpenFiles, unseen: int = 0, hidden: bool = False) -> VfioUsage:
        """Look at its nodes, as if these were held."""
        return VfioUsage(read_usage(self.sysroot).nodes, ProcessScan(open_files, unseen, hidden))
