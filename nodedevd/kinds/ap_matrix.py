"""ap_matrix: the device whose mdevs assign AP queues to guests; `mdev_parent` has their types.

Reads  features
ABI    Documentation/arch/s390/vfio-ap.rst; drivers/s390/crypto/vfio_ap_drv.c
"""

from __future__ import annotations

from nodedevd.host.lines import fields_of
from nodedevd.host.node import Node
from nodedevd.kinds.base import Capability, Kind, LibvirtForm
from nodedevd.xml_writer import Out


class ApMatrix(Capability, frozen=True, gc=False, tag="ap_matrix"):
    """The AP matrix device, /sys/devices/vfio_ap/matrix."""

    features: tuple[str, ...]
    """features of the driver, such as dyn, sorted; empty before Linux 6.10"""


def read(node: Node) -> ApMatrix:
    """Read the one device of its bus."""
    return ApMatrix(features=tuple(sorted(set(fields_of(node.read("features") or "")))))


def write(cap: ApMatrix, out: Out) -> None:
    """Write the features of the driver."""
    for feature in cap.features:
        out.empty("feature", name=feature)


KIND = Kind(
    capability=ApMatrix,
    read=read,
    write=write,
    subsystems=frozenset({"matrix"}),
    # libvirt shows nothing but the mdev types.
    libvirt=LibvirtForm("ap_matrix", bit=20, write=lambda cap, out: None),
)
