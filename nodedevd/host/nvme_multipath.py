"""nvme_multipath: the controllers by which NVMe reaches a disk that has several paths.

With nvme_core.multipath, the disk lies below its subsystem, and every path to it below the
controller of that path, hidden: nvme1n1 has the paths nvme1c1n1 and nvme1c2n1.

Reads  /sys/devices/virtual/nvme-subsystem/<subsystem>/nvme<N> (a link to each controller), and
       the names in these
ABI    drivers/nvme/host/{core,multipath}.c: nvme_init_subsystem, nvme_mpath_set_disk_name
"""

from __future__ import annotations

import re

from nodedevd.host.tolerant import TolerantReads

_SUBSYSTEMS = "/sys/devices/virtual/nvme-subsystem/"
_DISK = re.compile("(?:nvme|ng)([0-9]+)n([0-9]+)")
_CONTROLLER = re.compile("nvme[0-9]+")


def is_multipath(path: str | None) -> bool:
    """Return whether the device at a sysfs path lies below an NVMe subsystem."""
    return path is not None and path.startswith(_SUBSYSTEMS)


def controllers_of(reads: TolerantReads, path: str) -> tuple[str, ...]:
    """Return the paths of the controllers of a disk, or of what lies below it; none for others."""
    if not is_multipath(path):
        return ()
    subsystem, _, disk = path.removeprefix(_SUBSYSTEMS).partition("/")
    match = _DISK.fullmatch(disk.partition("/")[0])
    if match is None:
        return ()
    hidden = re.compile(f"nvme{match[1]}c[0-9]+n{match[2]}")
    directory = _SUBSYSTEMS + subsystem
    controllers, leading = [], []
    for name in _names(reads, directory):
        if _CONTROLLER.fullmatch(name):
            controller = reads.target(f"{directory}/{name}")
            if controller is None:
                continue
            controllers.append(controller)
            if any(map(hidden.fullmatch, _names(reads, controller))):
                leading.append(controller)
    # A namespace need not be attached to every controller.
    return tuple(leading or controllers)


def _names(reads: TolerantReads, directory: str) -> list[str]:
    """List a directory, once for all disks of a subsystem."""
    known: list[str] | None = reads.sysroot.alike.get(directory)
    if known is None:
        known = reads.names(directory)
        reads.sysroot.keep(directory, known)
    return known
