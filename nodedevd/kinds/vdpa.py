"""vdpa: a vDPA device, whose data path is virtio's.

Reads  the name of the child vhost-vdpa-<N>
ABI    Documentation/ABI/testing/sysfs-bus-vdpa; drivers/vhost/vdpa.c, vhost_vdpa_probe
"""

from __future__ import annotations

import re

from nodedevd.host.node import Node
from nodedevd.kinds.base import Capability, Kind, LibvirtForm
from nodedevd.xml_writer import Out

_VHOST = re.compile("vhost-vdpa-[0-9]+")


class Vdpa(Capability, frozen=True, gc=False, tag="vdpa"):
    """A vDPA device."""

    chardev: str | None
    """/dev/<name of the child vhost-vdpa-*>; None unless the driver vhost_vdpa is bound"""


def read(node: Node) -> Vdpa:
    """Read a device of the bus; each has the capability."""
    for name in sorted(node.entries):
        if _VHOST.fullmatch(name) and node.has(name):
            return Vdpa(chardev=f"/dev/{name}")
    return Vdpa(chardev=None)


def write(cap: Vdpa, out: Out) -> None:
    """Write as libvirt does."""
    if cap.chardev is not None:
        out.text("chardev", cap.chardev)


KIND = Kind(
    capability=Vdpa,
    read=read,
    write=write,
    subsystems=frozenset({"vdpa"}),
    libvirt=LibvirtForm("vdpa", bit=17, write=write),
)
