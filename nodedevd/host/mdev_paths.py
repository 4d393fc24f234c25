"""Paths of the kernel's mdev core.

ABI    Documentation/ABI/testing/sysfs-bus-vfio-mdev
"""

from __future__ import annotations

MDEV_BUS = "/sys/class/mdev_bus"
"""Links to the parents. Two parents of one kernel name cannot both have theirs."""
MDEV_DEVICES = "/sys/bus/mdev/devices"
"""Links to the mdevs, each named by its uuid."""
MDEV_TYPES = "mdev_supported_types"
"""Below a parent: a directory for each type."""
