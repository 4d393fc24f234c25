"""Every capability kind there is, in the order of XML and JSON.

A new kind is one file, and its name here, twice: in the tuple and in the union that
msgspec decodes and describes. `tests/test_registry.py` holds the two together.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from nodedevd.capabilities import mdev_child, mdev_parent, net, pci, storage, system
from nodedevd.capabilities.base import Capability, Kind
from nodedevd.capabilities.mdev_child import MdevChild
from nodedevd.capabilities.mdev_parent import MdevParent
from nodedevd.capabilities.net import Net
from nodedevd.capabilities.pci import Pci
from nodedevd.capabilities.storage import Storage
from nodedevd.capabilities.system import System

KINDS: tuple[Kind[Any], ...] = (
    system.KIND,
    pci.KIND,
    mdev_parent.KIND,
    mdev_child.KIND,
    net.KIND,
    storage.KIND,
)

AnyCapability: TypeAlias = System | Pci | MdevParent | MdevChild | Net | Storage

KIND_OF: dict[type[Capability], Kind[Any]] = {kind.capability: kind for kind in KINDS}

WORDS: dict[str, str] = {
    **{word: kind.name for kind in KINDS for word in (kind.name, *kind.words)},
    **{word: word for kind in KINDS for word in kind.nested},
}
"""Every word a filter takes, with the kind or the nested part it stands for."""
