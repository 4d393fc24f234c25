"""update: reads again only what events can have touched. Blocking; runs off the event loop."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Set
from contextlib import suppress

from nodedevd.host.mdev_paths import MDEV_BUS, MDEV_DEVICES, MDEV_TYPES
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds import KIND_OF, KINDS
from nodedevd.kinds.ccwgroup import CcwGroup
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.scsi_host import ScsiHost
from nodedevd.kinds.shared.mdevctl import DIRECTORY as DEFINITIONS
from nodedevd.kinds.shared.mdevctl import definition_path, find_definitions
from nodedevd.model.changes import Change, Changed, Update
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import device_name, is_uuid
from nodedevd.tree.graft import Reading, graft
from nodedevd.tree.read import Job, read_all, without_orphans

_SUBSYSTEMS = frozenset(
    subsystem for kind in KINDS if kind.subsystems is not None for subsystem in kind.subsystems
)


def update(
    sysroot: Sysroot,
    old: Snapshot,
    touched: Set[str],
    *,
    recount: Set[str] = frozenset(),
    job: Job | None = None,
    unanswered: Set[str] = frozenset(),
) -> Update:
    """Read the devices at these paths, and those that change with them without an event.

    Of the devices at the paths `recount` only what changes without an event is read.

    A path may be that of the device's link in /sys/class, or that of mdevctl's directory.
    """
    job = job or Job()
    sysroot.forget()
    touched = {path for one in touched for path in _devices(sysroot, old, one)}
    readings, doubtful = _recount(sysroot, old, recount - touched - unanswered, job)
    touched |= doubtful
    first = _read(sysroot, old, touched, job, unanswered, readings)
    # Events tell of a device; what hangs on it, the kernel changes in silence.
    silent = {path for change in first.changes for path in _silent(change, first.snapshot)}
    silent -= touched
    if not silent:
        return first
    second = _read(sysroot, first.snapshot, silent, job, unanswered)
    return Update(second.snapshot, (*first.changes, *second.changes))


def _recount(
    sysroot: Sysroot, old: Snapshot, paths: Iterable[str], job: Job
) -> tuple[list[Reading], set[str]]:
    """Read counts; return the devices with other ones, and the paths to be read as a whole."""
    readings = []
    doubtful = set()
    for path in paths:
        job.begin(path)
        device = old.at(path)
        if device is None:
            continue
        capabilities = []
        for capability in device.capabilities:
            recount = KIND_OF[type(capability)].recount
            counted = capability if recount is None else recount(sysroot, path, capability)
            if counted is None:
                doubtful.add(path)
                break
            capabilities.append(counted)
        else:
            if any(map(operator.is_not, capabilities, device.capabilities)):
                readings.append(Reading.of(device, tuple(capabilities)))
    return readings, doubtful


def _silent(change: Change, snapshot: Snapshot) -> set[str]:
    paths = set(neighbours(change.device, snapshot))
    if isinstance(change, Changed):
        before = set(neighbours(change.before, snapshot))
        if change.before.path == change.device.path:
            # To those it got, or lost: a virtual function gets its link late.
            paths ^= before
        else:
            paths |= before
        if "mdev_parent" in change.parts:
            paths.update(_definitions_for(change.device.path or "", snapshot))
        if "vgpu" in change.parts:
            # A profile that is set leaves less for the others of its card.
            paths.update(sharing_functions(change.device, snapshot))
    return paths


def neighbours(device: Device, snapshot: Snapshot) -> Iterator[str]:
    """Return the paths of devices whose description changes when this one comes or goes.

    For an mdev that is there its parent, every parent of the same physical function, as they
    share what is available, and the definitions that wait for it. For a parent its definitions.
    For a virtual function its physical one. For any PCI function its IOMMU group. For a
    group of channel devices its members. For a virtual
    Fibre Channel port its adapter, which counts them.
    """
    child = device.capability(MdevChild)
    if child is not None and child.parent_path is not None and device.active:
        yield child.parent_path
        parent = snapshot.at(child.parent_path)
        for path in () if parent is None else sharing_functions(parent, snapshot):
            yield path
            yield from _definitions_for(path, snapshot)
    if device.capability(MdevParent) is not None:
        yield from _definitions_for(device.path or "", snapshot)
    if device.capability(ScsiHost) is not None:
        above = snapshot.get(device.parent or "")
        if above is not None and above.path is not None and above.capability(ScsiHost) is not None:
            yield above.path
    group = device.capability(CcwGroup)
    for member in () if group is None else group.members:
        found = snapshot.get(member.device)
        if found is not None and found.path is not None:
            yield found.path
    pci = device.capability(Pci)
    if pci is None:
        return
    addresses = [] if pci.physical_function is None else [pci.physical_function]
    if pci.iommu_group is not None:
        addresses += [one for one in pci.iommu_group.devices if one != pci.address]
    for address in addresses:
        found = _pci(address, snapshot)
        if found is not None and found.path is not None:
            yield found.path


def _definitions_for(parent_path: str, snapshot: Snapshot) -> Iterable[str]:
    """Return the paths of the inactive mdevs that are defined for a parent."""
    return snapshot.below(f"{DEFINITIONS}/{parent_path.rpartition('/')[2]}")


def sharing_functions(parent: Device, snapshot: Snapshot) -> Iterator[str]:
    """Return the paths of all functions with vGPUs of a card that one is of, itself included."""
    if parent.path is not None:
        yield parent.path
    pci = parent.capability(Pci)
    function = None if pci is None else _pci(pci.physical_function or pci.address, snapshot)
    physical = None if function is None else function.capability(Pci)
    if physical is None or physical.virtual_functions is None:
        return
    for address in (physical.address, *physical.virtual_functions.addresses):
        found = _pci(address, snapshot)
        if found is not None and found.path is not None and found.is_volatile:
            yield found.path


def _pci(address: str | None, snapshot: Snapshot) -> Device | None:
    return None if address is None else snapshot.get(device_name("pci", address))


def _read(
    sysroot: Sysroot,
    old: Snapshot,
    paths: Iterable[str],
    job: Job,
    unanswered: Set[str],
    besides: Iterable[Reading] = (),
) -> Update:
    listed = {path: _listed_in(sysroot, path) for path in paths}
    found = {path: listed[path] for path in paths if listed[path] or _concerns(sysroot, old, path)}
    read = [one for one in read_all(sysroot, found, old, job, unanswered) if one is not None]
    readings, gone = without_orphans(sysroot, found, read)
    # Of what was below them the kernel may not have told yet.
    below = {one for path in gone for one in old.below(path)}
    return graft(old, gone={*found, *below}, readings=[*besides, *readings])


def _devices(sysroot: Sysroot, old: Snapshot, path: str) -> Iterator[str]:
    """Return the paths of the devices that a path stands for."""
    if path == DEFINITIONS:
        yield from old.below(DEFINITIONS)
        for definition in find_definitions(sysroot, []):
            yield definition
            uuid = definition.rpartition("/")[2]
            yield from _links_to(sysroot, f"{MDEV_DEVICES}/{uuid}")
        # The device of a definition that was deleted.
        for device in old.select(["mdev_child"]):
            child = device.capability(MdevChild)
            if child is not None and child.defined and device.path is not None:
                yield device.path
    elif path.startswith("/sys/class/"):
        # Only what is known: a new interface is told by a uevent, once udevd has named it.
        yield from [one for one in _links_to(sysroot, path) if old.at(one) is not None]
    else:
        yield path
        # What is defined is one device, there or not: it starts and stops in one change.
        parent, _, name = path.rpartition("/")
        if is_uuid(name):
            yield definition_path(parent.rpartition("/")[2], name)
        yield from _definitions_for(path, old)


def _links_to(sysroot: Sysroot, link: str) -> Iterator[str]:
    with suppress(OSError):
        yield sysroot.target(link)


def _concerns(sysroot: Sysroot, old: Snapshot, path: str) -> bool:
    """Tell whether a path is, was or can be a device of the tree."""
    if path.startswith(f"{DEFINITIONS}/"):
        return True
    if old.at(path) is not None or sysroot.exists(f"{path}/{MDEV_TYPES}"):
        return True
    try:
        return sysroot.read_link(f"{path}/subsystem").rpartition("/")[2] in _SUBSYSTEMS
    except OSError:
        return False


def _listed_in(sysroot: Sysroot, path: str) -> list[str]:
    """Tell whether the kernel lists a device as an mdev parent."""
    link = f"{MDEV_BUS}/{path.rpartition('/')[2]}"
    try:
        return [MDEV_BUS] if sysroot.target(link) == path else []
    except OSError:
        return []
