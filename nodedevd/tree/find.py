"""find: which devices a host has, by their sysfs paths. Blocking; runs off the event loop.

Reads  /sys/bus/*/devices, /sys/class/*, /sys/class/mdev_bus, /etc/mdevctl.d

Most kinds are found by the bus or class of their subsystem. An mdev parent can be of any
subsystem, and a definition is of none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nodedevd.host.faults import Faults
from nodedevd.host.listing import readable_names_in, target_of
from nodedevd.host.mdev_paths import MDEV_BUS, MDEV_DEVICES, MDEV_TYPES
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds import SUBSYSTEMS
from nodedevd.kinds.base import Capability
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.shared.mdevctl import DIRECTORY as DEFINITIONS
from nodedevd.kinds.shared.mdevctl import find_definitions
from nodedevd.names import is_uuid


def find(sysroot: Sysroot, faults: Faults) -> dict[str, set[str]]:
    """Return the path of every device to read, with the directories that list it.

    Directories that cannot be listed, and links that cannot be followed, are added to `faults`:
    devices may be missing.
    """
    found: dict[str, set[str]] = {}
    searched: list[str] = []
    for subsystem in sorted(SUBSYSTEMS):
        searched += [f"/sys/bus/{subsystem}/devices", f"/sys/class/{subsystem}"]
    searched.append(MDEV_BUS)
    for directory in searched:
        for path in _links(sysroot, directory, faults):
            found.setdefault(path, set()).add(directory)
    for directory in _device_directories(sysroot, faults):
        if directory not in searched:
            for path in _unlisted_parents(sysroot, directory, faults):
                found.setdefault(path, set()).add(directory)
    # What an mdev lies in is its parent, even if no directory lists it.
    for path in [path for path in found if MDEV_DEVICES in found[path]]:
        parent = path.rpartition("/")[0]
        if parent not in found and _exists(sysroot, f"{parent}/{MDEV_TYPES}", faults):
            found[parent] = set()
    found.update((path, set()) for path in find_definitions(sysroot, faults))
    return found


def is_definition(path: str) -> bool:
    """Return whether this is the path of a definition, not of a device in sysfs."""
    return path.startswith(f"{DEFINITIONS}/")


def mdevs_below(path: str, capabilities: Iterable[Capability]) -> Iterator[str]:
    """Return the paths of the mdevs that a device has by its directory, listed by their bus or not.

    The kernel takes an mdev off its bus first, and then waits until no process has it open.
    """
    for capability in capabilities:
        if isinstance(capability, MdevParent):
            yield from [f"{path}/{uuid}" for uuid in capability.children]


def listed_in(sysroot: Sysroot, path: str) -> list[str]:
    """Return which directory of the mdev core lists the device at a path, if any.

    An mdev that is being removed counts as listed: its own directory no longer has the subsystem.
    Raises OSError if that cannot be told.
    """
    parent, _, name = path.rpartition("/")
    if is_uuid(name):
        return [MDEV_DEVICES] if sysroot.exists(f"{parent}/{MDEV_TYPES}") else []
    return [MDEV_BUS] if target_of(sysroot, f"{MDEV_BUS}/{name}") == path else []


def may_be_device(sysroot: Sysroot, path: str) -> bool:
    """Return whether a path could be a device of some kind: it need not be read otherwise.

    Raises OSError if that cannot be told.
    """
    if is_definition(path) or sysroot.exists(f"{path}/{MDEV_TYPES}"):
        return True
    return _subsystem(sysroot, path) in SUBSYSTEMS


def is_listed(sysroot: Sysroot, path: str) -> bool:
    """Return whether a scan finds the device at a path: its bus or class lists it, or it has types.

    A directory between two devices is in no list. Raises OSError if that cannot be told.
    """
    if sysroot.exists(f"{path}/{MDEV_TYPES}"):
        return True
    subsystem = _subsystem(sysroot, path)
    name = path.rpartition("/")[2]
    links = (f"/sys/bus/{subsystem}/devices/{name}", f"/sys/class/{subsystem}/{name}")
    return subsystem in SUBSYSTEMS and path in [target_of(sysroot, link) for link in links]


def _subsystem(sysroot: Sysroot, path: str) -> str | None:
    target = target_of(sysroot, f"{path}/subsystem")
    return None if target is None else target.rpartition("/")[2]


def _device_directories(sysroot: Sysroot, faults: Faults) -> list[str]:
    buses = readable_names_in(sysroot, "/sys/bus", faults)
    classes = readable_names_in(sysroot, "/sys/class", faults)
    return [f"/sys/bus/{name}/devices" for name in buses] + [
        f"/sys/class/{name}" for name in classes
    ]


def _unlisted_parents(sysroot: Sysroot, directory: str, faults: Faults) -> list[str]:
    """Return the mdev parents in a directory, which /sys/class/mdev_bus may lack.

    Of two parents with one kernel name, it has a link to one.
    """
    parents = []
    for name in readable_names_in(sysroot, directory, faults):
        link = f"{directory}/{name}"
        if _exists(sysroot, f"{link}/{MDEV_TYPES}", faults):
            path = _device(sysroot, link, faults)
            if path is not None:
                parents.append(path)
    return parents


def _links(sysroot: Sysroot, directory: str, faults: Faults) -> list[str]:
    names = readable_names_in(sysroot, directory, faults)
    targets = [_device(sysroot, f"{directory}/{name}", faults) for name in names]
    return [path for path in targets if path is not None]


def _device(sysroot: Sysroot, link: str, faults: Faults) -> str | None:
    """Return the device that a link in a directory of devices leads to, None if there is none."""
    try:
        path = target_of(sysroot, link)
    except OSError as error:
        faults.add(link, error)
        return None
    return path if path is not None and path.startswith("/sys/devices/") else None


def _exists(sysroot: Sysroot, path: str, faults: Faults) -> bool:
    try:
        return sysroot.exists(path)
    except OSError as error:
        faults.add(path, error)
        return False
