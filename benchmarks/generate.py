"""Makes a sysroot of a large virtualization host: python -m benchmarks.generate DIR --units N.

A host of one unit has a graphics card with virtual functions that offer mdev types, network
cards with virtual functions that offer none, a SCSI adapter with disks, and interfaces; a
larger one has as many units. Numbers are made up, shapes are those of the recorded hosts.
"""

from __future__ import annotations

import argparse
import uuid
from pathlib import Path

from tests.support import scsi
from tests.support.trees import Express, Tree

PORT, ENDPOINT = 4, 0
VFS_OF_A_CARD = 22
PARENTS = 12
"""Virtual functions of a graphics card that offer types."""
TYPES = 12
LUNS = 12


def generate(root: Path, units: int) -> None:
    """Write a host of so many units; each has some 220 node devices."""
    tree = Tree(root)
    tree.dmi(
        product_name="Bench",
        sys_vendor="nodedevd",
        product_uuid="5c1c7a0e-8d52-4f0b-9a3e-6b2d4e8f1a01",
        bios_vendor="nodedevd",
    )
    tree.pci_ids(
        {
            (0x10DE, "NVIDIA Corporation"): {0x25B6: "GA107GL [A2 / A16]"},
            (0x8086, "Intel Corporation"): {0x154C: "Ethernet Virtual Function 700 Series"},
        }
    )
    for unit in range(units):
        _unit(tree, unit)


def _unit(tree: Tree, unit: int) -> None:
    domain = f"{unit // 16:04x}"
    first = 1 + unit % 16 * 12
    numa = unit % 2
    for card in range(8):
        _network_card(tree, domain, first + card, numa)
    graphics = _card(tree, domain, first + 8, numa, 0x10DE, 0x25B6, 0x030200, "nvidia")
    for index, function in enumerate(graphics[1:][:PARENTS]):
        for number in range(TYPES):
            tree.mdev_type(
                function,
                f"nvidia-{742 + number}",
                name=f"NVIDIA A2-{number + 1}Q",
                available=0 if index < 4 and number else 1,
                description=f"num_heads=4, frl_config=60, framebuffer={number + 1}024M, "
                f"max_resolution=5120x2880, max_instance={16 // (number + 1)}",
            )
        tree.mdev_parent(function)
        if index < 4:
            made = str(uuid.UUID(int=(unit << 8 | index) + (0xA2 << 120)))
            group = 100_000 + unit * 4 + index
            tree.mdev(function, made, "nvidia-742", driver="nvidia", iommu_group=group, vfio=group)
    _disks(tree, unit, domain, first + 9)


def _card(
    tree: Tree, domain: str, bus: int, numa: int, vendor: int, device: int, class_: int, driver: str
) -> list[str]:
    """Make a card behind a port of its own; return the addresses of its functions."""
    port = f"{domain}:00:{bus >> 3:02x}.{bus & 7}"
    group = (int(domain, 16) << 8 | bus) * 64
    tree.pci(
        port,
        parent=f"pci{domain}:00",
        vendor=0x8086,
        device=0x2030,
        class_=0x060400,
        driver="pcieport",
        iommu_group=group,
        express=Express(PORT, 4, 16, 0, 3, 16),
    )
    functions = [f"{domain}:{bus:02x}:{number >> 3:02x}.{number & 7}" for number in range(23)]
    for number, address in enumerate(functions):
        tree.pci(
            address,
            parent=port,
            vendor=vendor,
            device=device,
            class_=class_,
            subsystem=(vendor, 0x157E),
            driver=driver,
            numa_node=numa,
            iommu_group=group + 1 + number,
            express=Express(ENDPOINT, 4, 16, 0, 3, 16) if number == 0 else None,
        )
    tree.sriov(functions[0], functions[1:])
    return functions


def _network_card(tree: Tree, domain: str, bus: int, numa: int) -> None:
    functions = _card(tree, domain, bus, numa, 0x8086, 0x154C, 0x020000, "iavf")
    index = int(domain, 16) << 8 | bus
    mac = f"02:00:{index >> 16:02x}:{index >> 8 & 0xFF:02x}:{index & 0xFF:02x}:00"
    tree.net(f"eno{index}", parent=functions[0], address=mac, attributes={"speed": 25000})


def _disks(tree: Tree, unit: int, domain: str, bus: int) -> None:
    adapter = tree.pci(
        f"{domain}:{bus:02x}:00.0",
        parent=f"pci{domain}:00",
        vendor=0x1000,
        device=0x00CE,
        class_=0x010400,
        driver="megaraid_sas",
    )
    host = scsi.host(tree, unit, above=adapter, unique_id=unit)
    for lun in range(LUNS):
        target = scsi.target(tree, host, f"{unit}:0:{lun}")
        device = scsi.unit(tree, target, 0, driver="sd", vendor="SEAGATE", model="ST16000NM")
        number = unit * LUNS + lun
        name = f"sd{_letters(number)}"
        disk = tree.block(
            name,
            above=f"{device}/block",
            device=device,
            size=31251759104,
            number=(8 + number // 16 % 8, number % 16 * 16 + number // 128 * 256),
        )
        serial = f"35000c500{number:08x}"
        properties = {"ID_TYPE": "disk", "ID_BUS": "scsi", "ID_SERIAL": serial}
        tree.udev(disk, properties, [f"disk/by-id/scsi-{serial}"])


def _letters(number: int) -> str:
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def main() -> None:
    """Write a host."""
    parser = argparse.ArgumentParser(
        description="Make a sysroot of a large virtualization host.",
        epilog="Example: python -m benchmarks.generate /tmp/large --units 40",
    )
    parser.add_argument("directory", type=Path, help="where to; must not exist")
    parser.add_argument("--units", type=int, default=3, help="220 node devices each (default: 3)")
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True)
    generate(arguments.directory, arguments.units)


if __name__ == "__main__":
    main()
