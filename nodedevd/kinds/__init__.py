"""kinds: every kind of capability, a file each, and the list of them in the order of XML and JSON.

A new kind is one file, and its name here, twice: in the tuple and in the union that
msgspec decodes and describes. `tests/test_registry.py` holds the two together.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from nodedevd.kinds import (
    ap_card,
    ap_matrix,
    ap_queue,
    ccw,
    ccwgroup,
    css,
    drm,
    mdev_child,
    mdev_parent,
    net,
    pci,
    scsi,
    scsi_generic,
    scsi_host,
    scsi_target,
    storage,
    system,
    usb,
    usb_device,
    vdpa,
    vgpu,
)
from nodedevd.kinds.ap_card import ApCard
from nodedevd.kinds.ap_matrix import ApMatrix
from nodedevd.kinds.ap_queue import ApQueue
from nodedevd.kinds.base import Capability, Kind
from nodedevd.kinds.ccw import Ccw
from nodedevd.kinds.ccwgroup import CcwGroup
from nodedevd.kinds.css import Css
from nodedevd.kinds.drm import Drm
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

KINDS: tuple[Kind[Any], ...] = (
    system.KIND,
    pci.KIND,
    css.KIND,
    ap_matrix.KIND,
    mdev_parent.KIND,
    mdev_child.KIND,
    vgpu.KIND,
    net.KIND,
    storage.KIND,
    usb_device.KIND,
    usb.KIND,
    drm.KIND,
    scsi_generic.KIND,
    vdpa.KIND,
    ccw.KIND,
    ccwgroup.KIND,
    ap_card.KIND,
    ap_queue.KIND,
    scsi_host.KIND,
    scsi_target.KIND,
    scsi.KIND,
)

AnyCapability: TypeAlias = (
    System
    | Pci
    | Css
    | ApMatrix
    | MdevParent
    | MdevChild
    | Vgpu
    | Net
    | Storage
    | UsbDevice
    | Usb
    | Drm
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

KIND_OF: dict[type[Capability], Kind[Any]] = {kind.capability: kind for kind in KINDS}

WORDS: dict[str, str] = {
    **{word: kind.name for kind in KINDS for word in (kind.name, *kind.words)},
    **{word: word for kind in KINDS for word in kind.nested},
}
"""Every word a filter takes, with the kind or the nested part it stands for."""
