"""Generates a sysroot of a large virtualization host: python -m benchmarks.generate DIR.

It has graphics cards whose virtual functions offer mdev types, network cards with virtual
functions, mdevs, SCSI adapters with disks, network interfaces, and plain PCI functions. The
values are invented; the structure is that of the sample hosts.
"""

from __future__ import annotations

import argparse
import errno
import os
import uuid
from pathlib import Path
from typing import NamedTuple

from tests.support import scsi
from tests.support.trees import Express, Tree
from tests.support.vpd import vital_product_data

PORT, ENDPOINT = 4, 0
FUNCTIONS = 16
"""virtual functions of a card"""
TYPES = 12
LUNS = 16
"""disks of an adapter"""
CARDS_OF_A_DOMAIN = 200
FIRST_INDEX = 1000
"""index of the first network interface"""


class Shape(NamedTuple):
    """The numbers of devices of a host. Those not counted here are plain PCI functions.

    Attributes:
        devices: all node devices.
        graphics: graphics cards, whose virtual functions are mdev parents.
        networks: network cards with virtual functions.
        mdevs: mediated devices, spread over the parents.
        luns: disks.
        interfaces: network interfaces.
    """

    devices: int
    graphics: int
    networks: int
    mdevs: int
    luns: int
    interfaces: int

    @property
    def adapters(self) -> int:
        """Number of SCSI adapters."""
        return -(-self.luns // LUNS)

    @property
    def plain(self) -> int:
        """Number of PCI functions outside cards with virtual functions."""
        cards = (self.graphics + self.networks) * (FUNCTIONS + 2)
        disks = self.luns * 4 + self.adapters
        return self.devices - 1 - cards - self.mdevs - disks - self.interfaces


SMALL = Shape(620, graphics=8, networks=2, mdevs=64, luns=48, interfaces=35)
"""A host with more graphics than network functions: 128 parents of 12 types."""
LARGE = Shape(9573, graphics=33, networks=255, mdevs=2000, luns=512, interfaces=257)
"""A host full of network functions: 528 parents of 12 types, 4,608 virtual functions."""


def shape(devices: int) -> Shape:
    """Return a shape with this number of devices; an unknown number scales LARGE."""
    for known in (SMALL, LARGE):
        if devices == known.devices:
            return known
    scaled = [max(1, round(number * devices / LARGE.devices)) for number in LARGE[1:]]
    found = Shape(devices, *scaled)
    while found.plain < found.adapters + found.interfaces - found.networks:
        found = found._replace(networks=found.networks - 1)
        if found.networks < 0:
            raise ValueError(f"{devices} devices are too few for one of each kind")
    return found


class SharingTree(Tree):
    """A tree that hard-links files with the same content, and makes each directory once."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._made: set[str] = set()
        self._files: dict[bytes, str] = {}
        super().__init__(root)

    def directory(self, path: str) -> str:
        if path not in self._made:
            super().directory(path)
            self._made.add(path)
        return path

    def file(self, path: str, content: str | bytes = b"") -> str:
        data = os.fsencode(content) if isinstance(content, str) else content
        where = self.at(path)
        first = self._files.get(data)
        if first is None or os.path.lexists(where):
            if os.path.lexists(where):
                os.unlink(where)
            self._files[data] = where
            return super().file(path, data)
        self.directory(os.path.dirname(path))
        try:
            os.link(first, where)
        except OSError as error:
            if error.errno != errno.EMLINK:
                raise
            self._files[data] = where
            super().file(path, data)
        return path


def generate(root: Path, wanted: Shape) -> None:
    """Write a host to a directory."""
    tree = SharingTree(root)
    tree.dmi(
        product_name="Bench",
        sys_vendor="nodedevd",
        product_uuid="5c1c7a0e-8d52-4f0b-9a3e-6b2d4e8f1a01",
        bios_vendor="nodedevd",
    )
    tree.pci_ids(
        {
            (0x1000, "Broadcom / LSI"): {0x00CE: "MegaRAID SAS-3 3316 [Intruder]"},
            (0x10DE, "NVIDIA Corporation"): {0x25B6: "GA107GL [A2 / A16]"},
            (0x8086, "Intel Corporation"): {
                0x154C: "Ethernet Virtual Function 700 Series",
                0x2030: "Sky Lake-E PCI Express Root Port A",
                0x2014: "Sky Lake-E Ubox Registers",
            },
        }
    )
    parents: list[str] = []
    above: list[str] = []
    for card in range(wanted.graphics):
        parents += _card(tree, card, 0x10DE, 0x25B6, 0x030200, "nvidia")[1:]
    for card in range(wanted.graphics, wanted.graphics + wanted.networks):
        above.append(_card(tree, card, 0x8086, 0x154C, 0x020000, "iavf")[0])
    plain = [_plain(tree, number) for number in range(wanted.plain)]
    above += plain[wanted.adapters :]
    for parent in parents:
        _mdev_types(tree, parent)
    for number in range(wanted.mdevs):
        _mdev(tree, parents[number % len(parents)], number)
    for number in range(wanted.interfaces):
        _interface(tree, above[number], number)
    for adapter in range(wanted.adapters):
        luns = min(LUNS, wanted.luns - adapter * LUNS)
        _disks(tree, adapter, plain[adapter], luns)


def _card(tree: Tree, card: int, vendor: int, device: int, class_: int, driver: str) -> list[str]:
    """Make a card behind a port of its own; return the paths of its functions."""
    domain, bus = divmod(card, CARDS_OF_A_DOMAIN)
    port = f"{domain:04x}:00:{bus >> 3:02x}.{bus & 7}"
    tree.pci(
        port,
        parent=f"pci{domain:04x}:00",
        vendor=0x8086,
        device=0x2030,
        class_=0x060400,
        driver="pcieport",
        iommu_group=card * 32,
        express=Express(PORT, 4, 16, 0, 3, 16),
    )
    functions = []
    for number in range(FUNCTIONS + 1):
        address = f"{domain:04x}:{bus + 1:02x}:{number >> 3:02x}.{number & 7}"
        functions.append(
            tree.pci(
                address,
                parent=port,
                vendor=vendor,
                device=device,
                class_=class_,
                subsystem=(vendor, 0x157E),
                driver=driver,
                numa_node=card % 2,
                iommu_group=card * 32 + 1 + number,
                express=None if number else Express(ENDPOINT, 4, 16, 0, 3, 16),
                attributes=None if number else {"vpd": _vpd(card)},
            )
        )
    tree.sriov(functions[0], functions[1:])
    return functions


def _vpd(card: int) -> bytes:
    return vital_product_data("Card", {"PN": "BENCH-1", "EC": "A01", "SN": f"B{card:07}"})


def _plain(tree: Tree, number: int) -> str:
    domain, rest = divmod(number, 0x2000)
    address = f"{domain:04x}:{0xE0 + (rest >> 8):02x}:{rest >> 3 & 0x1F:02x}.{rest & 7}"
    return tree.pci(
        address,
        parent=f"pci{address[:7]}",
        vendor=0x8086,
        device=0x2014,
        class_=0x088000,
        subsystem=(0x8086, 0x2014),
        numa_node=0,
        iommu_group=1_000_000 + number,
    )


def _mdev_types(tree: Tree, parent: str) -> None:
    for number in range(TYPES):
        tree.mdev_type(
            parent,
            f"nvidia-{742 + number}",
            name=f"NVIDIA A2-{number + 1}Q",
            available=16 // (number + 1),
            description=f"num_heads=4, frl_config=60, framebuffer={number + 1}024M, "
            f"max_resolution=5120x2880, max_instance={16 // (number + 1)}",
        )
    tree.mdev_parent(parent)


def _mdev(tree: Tree, parent: str, number: int) -> None:
    made = str(uuid.UUID(int=number + (0xA2 << 120)))
    group = 2_000_000 + number
    tree.mdev(parent, made, "nvidia-742", driver="nvidia", iommu_group=group, vfio=group)


def _interface(tree: Tree, above: str, number: int) -> None:
    name = f"eno{number}"
    mac = f"02:00:00:{number >> 16:02x}:{number >> 8 & 0xFF:02x}:{number & 0xFF:02x}"
    path = tree.net(name, parent=above, address=mac, attributes={"speed": 25000})
    tree.file(f"{path}/uevent", f"INTERFACE={name}\nIFINDEX={FIRST_INDEX + number}\n")


def _disks(tree: Tree, number: int, adapter: str, luns: int) -> None:
    host = scsi.host(tree, number, above=adapter, unique_id=number)
    for lun in range(luns):
        target = scsi.target(tree, host, f"{number}:0:{lun}")
        device = scsi.unit(tree, target, 0, driver="sd", vendor="SEAGATE", model="ST16000NM")
        index = number * LUNS + lun
        disk = tree.block(
            f"sd{_letters(index)}",
            above=f"{device}/block",
            device=device,
            size=31251759104,
            number=(8 + index // 16 % 8, index % 16 * 16 + index // 128 * 256),
        )
        serial = f"35000c500{index:08x}"
        properties = {"ID_TYPE": "disk", "ID_BUS": "scsi", "ID_SERIAL": serial}
        tree.udev(disk, properties, [f"disk/by-id/scsi-{serial}"])
        tree.device(
            f"{device}/scsi_generic/sg{index}",
            class_="scsi_generic",
            uevent={"MAJOR": 21, "MINOR": index, "DEVNAME": f"sg{index}"},
            attributes={"dev": f"21:{index}"},
        )


def _letters(number: int) -> str:
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def main() -> None:
    """Write a host to the directory of the command line."""
    parser = argparse.ArgumentParser(
        description="Generate a sysroot of a large virtualization host.",
        epilog="Example: python -m benchmarks.generate /tmp/large --devices 9573",
    )
    parser.add_argument("directory", type=Path, help="directory to create")
    parser.add_argument(
        "--devices", type=int, default=620, help="number of node devices (default: 620)"
    )
    arguments = parser.parse_args()
    try:
        wanted = shape(arguments.devices)
    except ValueError as error:
        parser.error(str(error))
    arguments.directory.mkdir(parents=True)
    generate(arguments.directory, wanted)


if __name__ == "__main__":
    main()
