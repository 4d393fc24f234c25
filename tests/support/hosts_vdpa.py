"""The recorded host vdpa-smartnic."""

from __future__ import annotations

import struct

from tests.support.trees import Express, Tree

PORT, NIC = "0000:3a:00.0", "0000:3b:00.0"
FUNCTIONS = ["0000:3b:00.2", "0000:3b:00.3", "0000:3b:00.4", "0000:3b:00.5"]


def vdpa_smartnic(tree: Tree) -> None:
    """A ConnectX-6 Dx: two of its virtual functions have a vDPA device, of either driver."""
    link = Express(cap_speed=4, cap_width=16, sta_speed=3, sta_width=16)
    port = Express(4, cap_speed=4, cap_width=16, port=3, sta_speed=3, sta_width=16)
    # fmt: off
    tree.pci(PORT, vendor=0x8086, device=0x2030, class_=0x060400, parent="pci0000:3a",
             numa_node=0, iommu_group=27, express=port, driver="pcieport")
    tree.pci(NIC, vendor=0x15B3, device=0x101D, class_=0x020000, parent=PORT, numa_node=0,
             subsystem=(0x15B3, 0x0058), iommu_group=28, express=link, driver="mlx5_core",
             attributes={"vpd": _vpd()})
    for number, address in enumerate(FUNCTIONS):
        tree.pci(address, vendor=0x15B3, device=0x101E, class_=0x020000, parent=PORT, numa_node=0,
                 subsystem=(0x15B3, 0x0058), iommu_group=29 + number, express=Express(),
                 driver="mlx5_core" if number < 3 else "vfio-pci")
    # fmt: on
    tree.sriov(NIC, FUNCTIONS, total=8)
    tree.pci_ids(
        {
            (0x15B3, "Mellanox Technologies"): {
                0x101D: "MT2892 Family [ConnectX-6 Dx]",
                0x101E: "ConnectX Family mlx5Gen Virtual Function",
            },
            (0x8086, "Intel Corporation"): {0x2030: "Sky Lake-E PCI Express Root Port A"},
        }
    )
    tree.net("ens1f0np0", parent=NIC, address="02:00:00:00:3b:00", attributes={"speed": 100000})

    for number, driver in enumerate(["vhost_vdpa", "virtio_vdpa", None]):
        above = tree.resolve(FUNCTIONS[number])
        path = tree.device(f"{above}/vdpa{number}", bus="vdpa", driver=driver)
        if driver == "vhost_vdpa":
            _vhost(tree, path)
        elif driver == "virtio_vdpa":
            virtio = tree.device(f"{path}/virtio0", bus="virtio", driver="virtio_net")
            tree.net("eth1", parent=virtio, address="02:00:00:00:3b:01", operstate="down")


def _vhost(tree: Tree, path: str) -> None:
    """Make the child that has the node; it is of no class, so the kernel sends no uevents."""
    tree.device(
        f"{path}/vhost-vdpa-0",
        uevent={"MAJOR": 508, "MINOR": 0, "DEVNAME": "vhost-vdpa-0"},
        attributes={"dev": "508:0"},
    )


def _vpd() -> bytes:
    """Return vital product data: PCI Local Bus 3.0, appendix I."""
    name = b"ConnectX-6 Dx EN adapter card, 100GbE, Dual-port QSFP56, PCIe 4.0 x16"
    fields = {
        b"PN": b"MCX623106AN-CDAT",
        b"EC": b"A6",
        b"SN": b"MT0000X00001",
        b"V0": b"PCIeGen4 x16",
        b"V3": b"0000000000000000000000000000000b",
        b"VA": b"MLX:MN=MLNX:CSKU=V2:UUID=V3:PCI=V0",
    }
    data = b"".join(key + bytes([len(value)]) + value for key, value in fields.items())
    data = _resource(0x82, name) + _resource(0x90, data + b"RV\x01\x00")
    return data[:-1] + bytes([-sum(data) & 0xFF]) + b"\x78"


def _resource(tag: int, data: bytes) -> bytes:
    return struct.pack("<BH", tag, len(data)) + data
