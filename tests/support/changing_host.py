"""A host of files that changes while a daemon looks at it, each change one call of the kernel's."""

from __future__ import annotations

from pathlib import Path

from tests.support.trees import Tree

GPU, NIC = "0000:01:00.0", "0000:02:00.0"
GPU_NAME, NIC_NAME = "pci_0000_01_00_0", "pci_0000_02_00_0"
NET_NAME = "net_eth0_52_54_00_12_34_56"
UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
MDEV_NAME = "mdev_27b42a51_9f6b_4c0b_8f5f_4f3a1d0e8c01"
TYPE, TYPE_NAME = "nvidia-746", "NVIDIA A2-4Q"


class Host:
    """A host of files: what is made before the daemon starts comes and goes by its link."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tree = Tree(directory / "host")
        self.gpu = self.tree.pci(GPU, vendor=0x10DE, device=0x25B6, class_=0x030200)
        self.tree.mdev_type(GPU, TYPE, name=TYPE_NAME, available=1)
        self.tree.mdev_parent(GPU)
        self.nic = self.tree.pci(NIC, vendor=0x10EC, device=0x8168, class_=0x020000)
        self.net = self.tree.net("eth0", parent=NIC)
        self.mdev = self.tree.mdev(GPU, UUID, TYPE, driver="nvidia-vgpu-vfio", vfio=0)
        self.hide_mdev()

    def hide_nic(self) -> None:
        """Have the network card go; what lies below it stays."""
        self.tree.remove(f"/sys/bus/pci/devices/{NIC}")

    def show_nic(self) -> None:
        """Have it come again."""
        self.tree.kernel_link(f"/sys/bus/pci/devices/{NIC}", self.nic)

    def hide_mdev(self) -> None:
        """Have the mdev go; the links to it stay."""
        Path(self.tree.at(self.mdev)).rename(self.directory / UUID)

    def show_mdev(self) -> None:
        """Have it come."""
        (self.directory / UUID).rename(self.tree.at(self.mdev))

    def bind(self) -> None:
        """Bind a driver to the network card."""
        self.tree.kernel_link(f"{self.nic}/driver", "/sys/bus/pci/drivers/r8169")

    def offer(self, available: int) -> None:
        """Have so many instances of the type left."""
        new = self.directory / "new"
        new.write_text(f"{available}\n")
        path = f"{self.gpu}/mdev_supported_types/{TYPE}/available_instances"
        new.rename(self.tree.at(path))
