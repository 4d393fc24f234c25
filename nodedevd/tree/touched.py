"""touched: the devices that events are about, by path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nodedevd.host.events.uevent import Uevent
from nodedevd.kinds.shared.mdevctl import DIRECTORY as DEFINITIONS
from nodedevd.model.definitions import is_definable
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot

_WITH_DESCENDANTS = frozenset({"remove", "move", "bind", "unbind"})
_NO_DEVICES = "queues"
"""SUBSYSTEM of kobjects that are no devices: the queues of a network interface, of which there can
be hundreds. Source: net/core/net-sysfs.c"""


def is_about_a_device(uevent: Uevent) -> bool:
    """Return whether a uevent can change the tree at all."""
    return uevent.subsystem != _NO_DEVICES


def touched_paths(uevents: Iterable[Uevent], snapshot: Snapshot) -> set[str]:
    """Return the paths of the devices to read again after these uevents.

    These are the device; its descendants if it was removed, moved, bound or unbound; the parent
    of an mdev; the mdev of a VFIO device.
    """
    touched: set[str] = set()
    for uevent in uevents:
        touched.update(_touched(uevent, snapshot))
        old_path = uevent.old_path
        if old_path is not None and old_path != uevent.path:
            # Devices that were just added below the old path are not in the snapshot yet.
            below = [path for path in touched if path.startswith(f"{old_path}/")]
            touched.update(uevent.path + path[len(old_path) :] for path in below)
    return touched


def _touched(uevent: Uevent, snapshot: Snapshot) -> Iterator[str]:
    yield uevent.path
    if uevent.subsystem == "mdev":
        yield uevent.path.rpartition("/")[0]
    elif uevent.subsystem == "vfio-dev":
        # <mdev>/vfio-dev/vfio<N>
        yield uevent.path.rpartition("/")[0].rpartition("/")[0]
    if uevent.action in _WITH_DESCENDANTS:
        yield from snapshot.below(uevent.path)
    if uevent.old_path is not None and uevent.old_path != uevent.path:
        yield uevent.old_path
        yield from snapshot.below(uevent.old_path)


def reporting_paths(device: Device) -> set[str]:
    """Return the paths that events about a device can have.

    These are its own, its link in /sys/class for rtnetlink, and for a device that mdevctl can
    define, the directory of definitions for inotify.
    """
    paths = {device.path or "", f"/sys/class/{device.subsystem}/{device.sysname}"}
    if is_definable(device):
        paths.add(DEFINITIONS)
    return paths
