"""kinds: one file for each kind of capability, and the registry of them.

A new kind is a file, its import, and a line in `AnyCapability`: a type checker and msgspec both
need that union written out, and everything else here is derived from it. `capability_words`
has its words once more, for commands that load no kinds.
"""

from __future__ import annotations

import sys
from typing import Any, TypeAlias, get_args

from nodedevd.kinds.accel import Accel
from nodedevd.kinds.ap_card import ApCard
from nodedevd.kinds.ap_matrix import ApMatrix
from nodedevd.kinds.ap_queue import ApQueue
from nodedevd.kinds.base import Capability, Kind, LibvirtForm
from nodedevd.kinds.ccw import Ccw
from nodedevd.kinds.ccwgroup import CcwGroup
from nodedevd.kinds.css import Css
from nodedevd.kinds.drm import Drm
from nodedevd.kinds.infiniband import Infiniband
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.net import Net
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.scsi import Scsi
from nodedevd.kinds.scsi_generic import ScsiGeneric
from nodedevd.kinds.scsi_host import ScsiHost
from nodedevd.kinds.scsi_target import ScsiTarget
from nodedevd.kinds.storage import Storage
from nodedevd.kinds.system import System
from nodedevd.kinds.usb import Usb
from nodedevd.kinds.usb_device import UsbDevice
from nodedevd.kinds.vdpa import Vdpa
from nodedevd.kinds.vgpu import Vgpu

AnyCapability: TypeAlias = (
    System
    | Pci
    | Css
    | ApMatrix
    | MdevParent
    | MdevChild
    | Vgpu
    | Net
    | Infiniband
    | Storage
    | UsbDevice
    | Usb
    | Drm
    | Accel
    | ScsiGeneric
    | Vdpa
    | Ccw
    | CcwGroup
    | ApCard
    | ApQueue
    | ScsiHost
    | ScsiTarget
    | Scsi
)
"""The kinds, in the order of XML and JSON."""

KIND_OF: dict[type[Capability], Kind[Any]] = {
    capability: sys.modules[capability.__module__].KIND for capability in get_args(AnyCapability)
}
"""The kind of each capability: the `KIND` in the capability's module."""

KINDS: tuple[Kind[Any], ...] = tuple(KIND_OF.values())

SUBSYSTEMS: frozenset[str] = frozenset().union(*(kind.subsystems or () for kind in KINDS))
"""Buses and classes with devices of some kind."""

LIBVIRT_FORMS: dict[type[Capability], LibvirtForm[Any]] = {
    kind.capability: kind.libvirt for kind in KINDS if kind.libvirt is not None
}
"""How libvirt shows the kinds that it has."""

WORDS: dict[str, str] = {
    **{word: kind.name for kind in KINDS for word in kind.words},
    **{word: word for kind in KINDS for word in kind.nested},
}
"""Every word a filter takes, with the kind or the nested part it stands for."""
