"""The words that a filter by capability takes, for commands that load no kinds.

`kinds.WORDS` has what each stands for, and a test compares the two.
"""

from __future__ import annotations

from typing import Final

CAPABILITY_WORDS: Final = (
    "system",
    "pci",
    "css",
    "ap_matrix",
    "mdev_parent",
    "mdev_types",
    "mdev_child",
    "mdev",
    "vgpu",
    "net",
    "infiniband",
    "storage",
    "usb_device",
    "usb",
    "drm",
    "accel",
    "scsi_generic",
    "vdpa",
    "ccw",
    "ccwgroup",
    "ap_card",
    "ap_queue",
    "scsi_host",
    "scsi_target",
    "scsi",
    "vpd",
    "ccwgroup_member",
    "fc_host",
    "vports",
    "fc_remote_port",
)
"""Kinds, and the nested parts of some, in the order of XML and JSON."""
