"""mdev_paths: the directories of the kernel's mdev core.

ABI    Documentation/ABI/testing/sysfs-bus-vfio-mdev
"""

from __future__ import annotations

MDEV_BUS = "/sys/class/mdev_bus"
"""Links to the parents. Of two parents with one kernel name, only one has a link."""
MDEV_DEVICES = "/sys/bus/mdev/devices"
"""Links to the mdevs, each named by its uuid."""
MDEV_TYPES = "mdev_supported_types"
"""Below a parent, with a directory for each type."""
