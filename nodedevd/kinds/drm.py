"""drm: a device node of a graphics or compute device; connectors are not devices of the tree.

Reads  the device's name: card<N>, controlD<N> or renderD<N>
ABI    drivers/gpu/drm/drm_sysfs.c, drm_sysfs_minor_alloc; Documentation/gpu/drm-uapi.rst

The type of a node is in its name. It is not in the minor number: from 192 on the kernel assigns
the next free one.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from nodedevd.host.node import Node
from nodedevd.kinds.base import Capability, Kind, LibvirtForm
from nodedevd.xml_writer import Out

MinorType: TypeAlias = Literal["primary", "control", "render"]

_NAME = re.compile("(card|controlD|renderD)[0-9]+")
_TYPES: dict[str, MinorType] = {"card": "primary", "controlD": "control", "renderD": "render"}


class Drm(Capability, frozen=True, gc=False, tag="drm"):
    """A DRM minor."""

    minor_type: MinorType
    """primary: modesetting and all else; render: only rendering; control: before Linux 4.11"""


def read(node: Node) -> Drm | None:
    """Read a minor; None for a connector, such as card0-HDMI-A-1."""
    match = _NAME.fullmatch(node.sysname)
    return None if match is None else Drm(minor_type=_TYPES[match[1]])


def write(cap: Drm, out: Out) -> None:
    """Write as libvirt does."""
    out.text("type", cap.minor_type)


KIND = Kind(
    capability=Drm,
    read=read,
    write=write,
    subsystems=frozenset({"drm"}),
    libvirt=LibvirtForm("drm", bit=12, write=write),
)
