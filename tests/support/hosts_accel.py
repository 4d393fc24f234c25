"""The sample host accel-npu."""

from __future__ import annotations

from tests.support.trees import Attributes, Express, Tree

NPU, NPU_PORT = "0000:c2:00.1", "0000:00:08.2"
CARD, CARD_PORT = "0000:01:00.0", "0000:00:01.1"


def accel_npu(tree: Tree) -> None:
    """A workstation with the NPU of its processor, and a card for AI training."""
    # fmt: off
    tree.pci(NPU_PORT, vendor=0x1022, device=0x1484, class_=0x060400, iommu_group=5,
             express=Express(4, 4, 16, 0, 4, 16), driver="pcieport")
    tree.pci(NPU, parent=NPU_PORT, vendor=0x1022, device=0x17F0, class_=0x118000,
             subsystem=(0x1022, 0x17F0), revision=0x10, iommu_group=20,
             express=Express(0, 4, 16, 0, 4, 16), driver="amdxdna",
             attributes={"vbnv": "RyzenAI-npu4", "device_type": 1, "fw_version": "1.0.0.63"})
    tree.pci(CARD_PORT, vendor=0x1022, device=0x1483, class_=0x060400, iommu_group=1,
             express=Express(4, 4, 16, 1, 4, 16), driver="pcieport")
    tree.pci(CARD, parent=CARD_PORT, vendor=0x1DA3, device=0x1000, class_=0x120000,
             subsystem=(0x1DA3, 0x1000), revision=0x01, iommu_group=12,
             express=Express(0, 4, 16, 0, 4, 16), driver="habanalabs",
             attributes={"device_type": "GAUDI", "cpucp_ver": "hl-gaudi-1.10.0-fw-43.2.1"})
    # fmt: on
    for number, address in enumerate((CARD, NPU)):
        tree.udev(
            accelerator(tree, tree.resolve(address), number),
            links=[f"accel/by-path/pci-{address}-accel"],
        )
    tree.pci_ids(
        {
            (0x1022, "Advanced Micro Devices, Inc. [AMD]"): {
                0x1483: "Starship/Matisse GPP Bridge",
                0x1484: "Starship/Matisse Internal PCIe GPP Bridge 0 to bus[E:B]",
                0x17F0: "Strix/Krackan/Strix Halo Neural Processing Unit",
            },
            (0x1DA3, "Habana Labs Ltd."): {0x1000: "HL-2000 AI Training Accelerator [Gaudi]"},
        }
    )


def accelerator(
    tree: Tree, above: str, number: int, *, attributes: Attributes | None = None
) -> str:
    """Make the device of class accel of a device, and return its path."""
    path = tree.device(
        f"{above}/accel/accel{number}",
        class_="accel",
        uevent={
            "MAJOR": 261,
            "MINOR": number,
            "DEVNAME": f"accel/accel{number}",
            "DEVTYPE": "accel_minor",
        },
        attributes={"dev": f"261:{number}"},
    )
    tree.kernel_link(f"{path}/device", above)
    tree.attributes(above, attributes or {})
    return path
