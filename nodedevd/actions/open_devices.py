"""open_devices: refuses to change a device that a process has open through VFIO, or may have."""

from __future__ import annotations

from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.ownership import Claim
from nodedevd.errors import DeviceInUse
from nodedevd.model.device import Device
from nodedevd.questions.in_use import REASONS


def refuse_if_open(device: Device, facts: ActionFacts, claim: Claim) -> None:
    """Refuse it, unless the claim is forced. Raises DeviceInUse."""
    if claim.force:
        return
    use = facts.usage.use(device.name, device.path)
    if use.open == "yes":
        holders = ", ".join(f"{one.process} ({one.pid})" for one in use.holders)
        raise DeviceInUse(device.name, True, f"{holders} has it open")
    if use.open == "unknown":
        raise DeviceInUse(device.name, False, REASONS[use.reason] if use.reason else "")
