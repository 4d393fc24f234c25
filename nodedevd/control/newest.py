"""newest: reads what the kernel changes without an event, right before a plan is made of it.

The daemon has such values read again when they are a second old; a plan needs those of now.
"""

from __future__ import annotations

from collections.abc import Set

import msgspec

from nodedevd.follow.in_time import in_time
from nodedevd.host.job import Job
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds import KIND_OF
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot


def with_newest_values(
    root: str, snapshot: Snapshot, left_out: Set[str]
) -> tuple[Snapshot, frozenset[str]]:
    """Return a tree with its volatile values as they are now, and the paths whose read hangs.

    What cannot be read stays as it was, and is left to the write to fail. `left_out` are paths
    that are not read. Blocks. Raises TooManyHang.
    """
    volatile = [
        one for one in snapshot if one.is_volatile and one.path is not None and not one.errors
    ]
    if not volatile:
        return snapshot, frozenset()

    def read(job: Job) -> list[Device]:
        sysroot = Sysroot(root).during(job)
        changed = []
        for device in volatile:
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
    if all(new is old for new, old in zip(capabilities, device.capabilities, strict=True)):
        return device
    return msgspec.structs.replace(device, capabilities=tuple(capabilities))
