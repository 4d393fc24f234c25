"""A host with nothing but a card that is an mdev parent with one type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.trees import Tree

CARD, CARD_NAME = "0000:3b:00.0", "pci_0000_3b_00_0"
UUID = "5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01"
MDEV = "mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3d1e01"
NVIDIA_CARD: dict[str, Any] = {"vendor": 0x10DE, "device": 0x2235, "class_": 0x030200}


def mdev_card(directory: Path) -> Tree:
    """Make the host below a directory."""
    tree = Tree(directory)
    tree.pci(CARD, driver="nvidia", iommu_group=1, **NVIDIA_CARD)
    tree.mdev_parent(CARD)
    tree.mdev_type(CARD, "nvidia-1")
    return tree
