"""The sample host infiniband-hca."""

from __future__ import annotations

from tests.support.trees import Attributes, Express, Tree

CX6_PORT, CX6 = "0000:40:01.1", ["0000:41:00.0", "0000:41:00.1"]
CX3_PORT, CX3 = "0000:80:03.0", "0000:81:00.0"

ACTIVE: Attributes = {
    "state": "4: ACTIVE",
    "phys_state": "5: LinkUp",
    "link_layer": "InfiniBand",
    "lid": "0x12",
    "rate": "200 Gb/sec (4X HDR)",
}
DOWN: Attributes = {
    "state": "1: DOWN",
    "phys_state": "2: Polling",
    "link_layer": "InfiniBand",
    "lid": "0x0",
    "rate": "10 Gb/sec (4X)",
}
FDR: Attributes = {**ACTIVE, "lid": "0x2b", "rate": "56 Gb/sec (4X FDR)"}
ROCE: Attributes = {**ACTIVE, "link_layer": "Ethernet", "lid": "0x0", "rate": "10 Gb/sec (1X QDR)"}


def infiniband_hca(tree: Tree) -> None:
    """A ConnectX-6 with a device for each port, and a ConnectX-3 with one device for both."""
    # fmt: off
    tree.pci(CX6_PORT, parent="pci0000:40", vendor=0x1022, device=0x1483, class_=0x060400,
             iommu_group=40, numa_node=1, driver="pcieport", express=Express(4, 4, 16, 1, 4, 16))
    for number, address in enumerate(CX6):
        path = tree.pci(address, parent=CX6_PORT, vendor=0x15B3, device=0x101B, class_=0x020700,
                        subsystem=(0x15B3, 0x0006), iommu_group=41 + number, numa_node=1,
                        driver="mlx5_core", express=Express(0, 4, 16, 0, 4, 16))
        hca(tree, path, f"mlx5_{number}", [DOWN if number else ACTIVE], attributes={
            "node_guid": f"0200:0003:004a:000{number}", "sys_image_guid": "0200:0003:004a:0000",
            "hca_type": "MT4123", "board_id": "MT_0000000223", "fw_ver": "20.31.1014"})
    tree.pci(CX3_PORT, parent="pci0000:80", vendor=0x1022, device=0x1483, class_=0x060400,
             iommu_group=80, numa_node=2, driver="pcieport", express=Express(4, 4, 16, 3, 3, 8))
    path = tree.pci(CX3, parent=CX3_PORT, vendor=0x15B3, device=0x1003, class_=0x028000,
                    subsystem=(0x15B3, 0x0078), iommu_group=81, numa_node=2,
                    driver="mlx4_core", express=Express(0, 3, 8, 0, 3, 8))
    hca(tree, path, "mlx4_0", [FDR, ROCE], attributes={
        "node_guid": "0200:0003:00b1:0000", "sys_image_guid": "0200:0003:00b1:0003",
        "hca_type": "MT4099", "board_id": "MT_1090120019", "fw_ver": "2.42.5000"})
    # fmt: on
    tree.pci_ids(
        {
            (0x1022, "Advanced Micro Devices, Inc. [AMD]"): {0x1483: "Starship/Matisse GPP Bridge"},
            (0x15B3, "Mellanox Technologies"): {
                0x1003: "MT27500 Family [ConnectX-3]",
                0x101B: "MT28908 Family [ConnectX-6]",
            },
        }
    )


def hca(
    tree: Tree,
    above: str,
    name: str,
    ports: list[Attributes],
    *,
    attributes: Attributes | None = None,
) -> str:
    """Make an RDMA device with ports from 1 on, and return its path."""
    path = tree.device(
        f"{above}/infiniband/{name}",
        class_="infiniband",
        uevent={"NAME": name},
        attributes={"node_type": "1: CA", **(attributes or {})},
    )
    for number, values in enumerate(ports, 1):
        tree.attributes(f"{path}/ports/{number}", values)
    return path
