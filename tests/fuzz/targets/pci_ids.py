"""The database of PCI ids."""

from __future__ import annotations

from nodedevd.host.pci_ids import PciIds
from tests.fuzz.target import Target


def check(data: bytes) -> None:
    """A name is a part of one line of the file."""
    ids = PciIds(data)
    lines = data.decode("utf-8", "backslashreplace").split("\n")
    for name in (
        ids.vendor(0x10DE),
        ids.device(0x10DE, 0x2236),
        ids.subsystem(0x10DE, 0x2236, 0x10DE, 0x1482),
        ids.subsystem(0x10DE, 0x2236, 0x10DE, 0x2236),
    ):
        assert name is None or any(line.endswith(name) for line in lines)


TARGET = Target(
    "pci-ids",
    check,
    reads=("nodedevd/host/pci_ids.py",),
    words=(
        b"10de  NVIDIA\n\t2236  GA102GL\n\t\t10de 1482  A10\n",
        b"\n#",
        b"\t\t10de 1482  ",
        b"\xff",
    ),
    most_bytes=512,
    share=2.0,
)
