"""vfio: the character device through which a process uses a device with VFIO.

Reads  vfio-dev/vfio<N>/dev
ABI    Documentation/ABI/testing/sysfs-devices-vfio-dev, Documentation/driver-api/vfio.rst
"""

from __future__ import annotations

import msgspec

from nodedevd.host.node import Node
from nodedevd.text import printable_path
from nodedevd.xml_writer import Out


class VfioDevice(msgspec.Struct, frozen=True, gc=False):
    """The VFIO device of a PCI function or an mdev (kernel 6.1 and later)."""

    name: str
    """vfio-dev/<name>"""
    node: str | None
    """/dev/vfio/devices/<name>; None if the kernel creates no such node (before 6.6)"""


def is_vfio_driver(driver: str | None) -> bool:
    """Return whether a driver is VFIO's, by its name: vfio-pci, mlx5_vfio_pci, vfio_mdev."""
    return driver is not None and "vfio" in driver


def read_vfio_device(node: Node) -> VfioDevice | None:
    """Return the VFIO device; None while no VFIO driver is bound, and before Linux 6.1."""
    for name in node.names("vfio-dev"):
        has_node = node.exists(f"{node.path}/vfio-dev/{name}/dev")
        name = printable_path(name)
        return VfioDevice(name=name, node=f"/dev/vfio/devices/{name}" if has_node else None)
    return None


def write_vfio_device(value: VfioDevice | None, out: Out) -> None:
    """Write `<vfioDevice …/>`; nothing for None."""
    if value is None:
        return
    attributes = {} if value.node is None else {"node": value.node}
    out.empty("vfioDevice", name=value.name, **attributes)
