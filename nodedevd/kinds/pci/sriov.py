"""sriov: the functions of one card, which share its memory and its vGPUs.

ABI    Documentation/PCI/pci-iov-howto.rst, Documentation/ABI/testing/sysfs-bus-pci
"""

from __future__ import annotations

from collections.abc import Iterator

from nodedevd.kinds.base import DeviceLike, TreeLike
from nodedevd.kinds.pci import Pci, find_function


def sharing_functions(device: DeviceLike, tree: TreeLike) -> Iterator[str]:
    """Return the paths of a device and of all functions of its card that offer vGPUs.

    A vGPU on one of them leaves less for the others.
    """
    if device.path is not None:
        yield device.path
    pci = device.capability(Pci)
    function = None if pci is None else find_function(pci.physical_function or pci.address, tree)
    physical = None if function is None else function.capability(Pci)
    if physical is None or physical.virtual_functions is None:
        return
    for address in (physical.address, *physical.virtual_functions.addresses):
        found = find_function(address, tree)
        if found is not None and found.path is not None and found.is_volatile:
            yield found.path
