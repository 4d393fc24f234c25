"""kept_closed: keeps others from opening a device through VFIO while it is being removed.

Reads  <device>/iommu_group, /sys/kernel/iommu_groups/<N>/devices; opens /dev/vfio/<N>
ABI    Documentation/driver-api/vfio.rst

The kernel gives a VFIO group to one process at a time, and while it is open nobody can open its
devices, be it through the group or through /dev/vfio/devices. So who gets the group knows that the
device is closed, and that it stays so. An open group alone does not delay the removal.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from nodedevd.control.steps.base import InUseNow
from nodedevd.host.listing import names_in, target_of
from nodedevd.host.sysroot import Sysroot

_GROUPS = "/sys/kernel/iommu_groups"


def keeper(
    host: Sysroot, nodes: str = "/dev/vfio"
) -> Callable[[str], AbstractContextManager[None]]:
    """Return the context manager that keeps a device, given by sysfs path, closed.

    It does nothing for a device that is not bound to VFIO, that shares its group with others, since
    one of these may rightly be open, or whose node this process may not open: the plan has looked
    at all processes before. It raises InUseNow if somebody has the group or the device open.

    Args:
        host: The host.
        nodes: Where the nodes of its groups are.
    """

    @contextmanager
    def kept_closed(path: str) -> Iterator[None]:
        descriptor = None
        sysroot = Sysroot(host.root)  # one belongs to one thread
        group = (target_of(sysroot, f"{path}/iommu_group") or "").rpartition("/")[2]
        if group and len(names_in(sysroot, f"{_GROUPS}/{group}/devices")) == 1:
            descriptor = _open(path, f"{nodes}/{group}")
        try:
            yield
        finally:
            if descriptor is not None:
                with suppress(OSError):
                    os.close(descriptor)

    return kept_closed


def _open(path: str, node: str) -> int | None:
    try:
        return os.open(node, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise InUseNow(path, f"a process has opened it meanwhile ({node} is busy)") from None
        return None
