"""newest: reads what the daemon may not know yet, right before a plan is made of it.

The daemon has what the kernel changes without an event read again when it is a second old, and the
event of a driver's change reaches it late, through udevd; a plan needs both as they are now.
"""

from __future__ import annotations

from collections.abc import Set
from operator import is_

from nodedevd.follow.in_time import in_time
from nodedevd.host.job import Job
from nodedevd.host.sysroot import Sysroot, is_absence
from nodedevd.kinds import KIND_OF
from nodedevd.kinds.base import Capability
from nodedevd.kinds.pci import Pci
from nodedevd.model.device import Device, replaced
from nodedevd.model.snapshot import Snapshot


def with_newest_values(
    root: str, snapshot: Snapshot, left_out: Set[str]
) -> tuple[Snapshot, frozenset[str]]:
    """Return a tree with volatile values and drivers of functions as they are now.

    Also returns the paths whose read hangs.

    What cannot be read stays as it was, and is left to the write to fail. `left_out` are paths
    that are not read. Blocks. Raises TooManyHang.
    """
    read_again = [
        one
        for one in snapshot
        if one.path is not None
        and (one.capability(Pci) is not None or (one.is_volatile and not one.errors))
    ]
    if not read_again:
        return snapshot, frozenset()

    def read(job: Job) -> list[Device]:
        sysroot = Sysroot(root).during(job)
        changed = []
        for device in read_again:
            path = device.path or ""
            if path not in left_out and path not in job.unanswered:
                newest = job.run(path, _reread, sysroot, device)
                if newest is not device:
                    changed.append(newest)
        return changed

    changed, unanswered = in_time(read)
    newest = snapshot.replaced(
        removed=(),
        devices=changed,
        changes=0,
        errors=snapshot.errors,
        shared_names=snapshot.shared_names,
    )
    return newest, frozenset(one.path for one in unanswered)


def _reread(sysroot: Sysroot, device: Device) -> Device:
    capabilities = device.capabilities if device.errors else _capabilities(sysroot, device)
    driver = device.driver if device.capability(Pci) is None else _driver(sysroot, device)
    if driver == device.driver and all(map(is_, capabilities, device.capabilities)):
        return device
    return replaced(device, capabilities, driver)


def _capabilities(sysroot: Sysroot, device: Device) -> tuple[Capability, ...]:
    capabilities = []
    for capability in device.capabilities:
        reread = KIND_OF[type(capability)].reread_volatile
        new = None
        if reread is not None:
            try:
                new = reread(sysroot, device.path or "", capability)
            except OSError:
                new = None
        capabilities.append(capability if new is None else new)
    return tuple(capabilities)


def _driver(sysroot: Sysroot, device: Device) -> str | None:
    """Return the name of the driver that a function has now; the former if it cannot be read."""
    try:
        return sysroot.target_name(f"{device.path}/driver")
    except OSError as error:
        return None if is_absence(error) else device.driver
