"""assignment: what decides whether a device can be given to a guest, and what the host loses.

Read when a client asks for it, and never by a scan.

Reads  /sys/class/vfio, and what `blocks` and `interfaces` read
ABI    Documentation/driver-api/vfio.rst, enable_unsafe_noiommu_mode
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from nodedevd.host.assignment.blocks import BlockDevice, read_blocks
from nodedevd.host.assignment.interfaces import Interface, read_elsewhere, read_interfaces
from nodedevd.host.assignment.mounts import read_mounts, read_swaps
from nodedevd.host.node import parse_number
from nodedevd.host.sysroot import Sysroot
from nodedevd.host.tolerant import TolerantReads

_GROUPS = "/sys/class/vfio"
_NOIOMMU = "noiommu-"
"""prefix of a group's number when VFIO runs without an IOMMU"""


class AssignmentFacts(msgspec.Struct, frozen=True):
    """The block devices and interfaces of a host, and their uses."""

    noiommu_groups: frozenset[int] = frozenset()
    """numbers of the groups that VFIO uses without an IOMMU"""
    blocks: Mapping[str, BlockDevice] = {}
    """by sysfs path"""
    interfaces: Mapping[str, Interface] = {}
    """by name"""
    elsewhere: frozenset[str] = frozenset()
    """sysfs paths of the devices whose interfaces are all in other network namespaces"""
    mounts_known: bool = False
    swaps_known: bool = False
    addresses_known: bool = False


def read_assignment_facts(sysroot: Sysroot) -> AssignmentFacts:
    """Read the facts. What cannot be read is unknown. Blocking."""
    sysroot.forget()
    mounts, swaps = read_mounts(sysroot), read_swaps(sysroot)
    reads_of_blocks, reads_of_interfaces = TolerantReads(sysroot), TolerantReads(sysroot)
    interfaces, addresses_known = read_interfaces(reads_of_interfaces)
    elsewhere = read_elsewhere(reads_of_interfaces)
    blocks = read_blocks(reads_of_blocks, mounts or (), swaps or ())
    # A block device that cannot be read may lie between a disk and what is mounted.
    blocks_known = not reads_of_blocks.faults
    return AssignmentFacts(
        noiommu_groups=_read_noiommu_groups(TolerantReads(sysroot)),
        blocks=blocks,
        interfaces=interfaces,
        elsewhere=elsewhere,
        mounts_known=mounts is not None and blocks_known,
        swaps_known=swaps is not None and blocks_known,
        addresses_known=addresses_known and not reads_of_interfaces.faults,
    )


def _read_noiommu_groups(reads: TolerantReads) -> frozenset[int]:
    names = [
        name
        for name in reads.names(_GROUPS)
        if name.startswith(_NOIOMMU) and reads.exists(f"{_GROUPS}/{name}")
    ]
    numbers = [parse_number(name.removeprefix(_NOIOMMU)) for name in names]
    return frozenset([number for number in numbers if number is not None])
