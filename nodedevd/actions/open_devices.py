"""open_devices: refuses to take away what a VM, or another user of VFIO, has open.

The kernel waits in `remove` and `unbind` until such a device is closed, and the process that has
written there cannot even be killed.
"""

from __future__ import annotations

from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.ownership import Claim
from nodedevd.errors import DeviceInUse
from nodedevd.model.device import Device
from nodedevd.questions.in_use import REASONS, Use


def refuse_if_open(device: Device, facts: ActionFacts, claim: Claim) -> None:
    """Refuse a device that is open, or of which that is unknown, unless the client forces it.

    Raises DeviceInUse.
    """
    use = facts.usage.use(device.name, device.path)
    if claim.force or use.open == "no":
        return
    if use.open == "yes":
        detail = f"{_holders(use, facts)} has it open; have it closed first, or use force"
        raise DeviceInUse(device.name, True, detail)
    why = "nothing is known of the processes" if use.reason is None else REASONS[use.reason]
    if use.holders and facts.names_processes:
        why += f": {_holders(use, facts)}"
    detail = f"{why}; if you are sure that nobody uses it, use force"
    raise DeviceInUse(device.name, False, detail)


def note_if_open(device: Device, facts: ActionFacts) -> tuple[str, ...]:
    """Return what a client should know who forces the change of a device."""
    use = facts.usage.use(device.name, device.path)
    if use.open == "no":
        return ()
    may = "has" if use.open == "yes" else "may have"
    return (
        f"{_holders(use, facts)} {may} {device.name} open: the kernel may wait until it is closed",
    )


def _holders(use: Use, facts: ActionFacts) -> str:
    """Name the processes to root; other users may not see those of each other."""
    if not facts.names_processes or not use.holders:
        return "a process"
    return ", ".join(f"{one.process} (pid {one.pid})" for one in use.holders)
