"""definition: how to start an mdev that mdevctl has defined, and what prevents it now."""

from __future__ import annotations

from shlex import quote

from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot


def how_to_start(snapshot: Snapshot, device: Device, mdev: MdevChild) -> str:
    """Return what to do first, and the command that starts the mdev then."""
    # A definition's file can have any name.
    address = quote(mdev.parent_addr)
    start = f"nodedevctl start {mdev.uuid} --parent {address}"
    other = _active_elsewhere(snapshot, device, mdev)
    if other is not None:
        return (
            f"it is defined, but its UUID is in use: {other.name} on {other.parent} has it. Assign"
            f" that one, or remove it first: nodedevctl remove {other.name}; then: {start}"
        )
    parent = _parent(snapshot, mdev)
    if parent is not None and parent.capability(Vgpu) is not None:
        return (
            f"it is defined, but its parent {parent.name} creates vGPUs without mdevs: create"
            f" one with nodedevctl create TYPE {parent.name}, assign {parent.name} instead, and"
            f" remove the definition: nodedevctl undefine {mdev.uuid} --parent {address}"
        )
    obstacle = _obstacle(snapshot, parent, mdev)
    if obstacle is not None:
        return f"it is defined but not started, since {obstacle}; then: {start}"
    return (
        f"it is defined but not started; start it: {start};"
        f" nodedevctl hostdev --not-created {mdev.uuid} prints the XML without starting it"
    )


def _active_elsewhere(snapshot: Snapshot, device: Device, mdev: MdevChild) -> Device | None:
    """Return the active mdev with the same UUID: the kernel creates no second one."""
    for other in snapshot.by_sysname(mdev.uuid):
        if other.name != device.name and other.active and other.capability(MdevChild) is not None:
            return other
    return None


def _parent(snapshot: Snapshot, mdev: MdevChild) -> Device | None:
    """Return the device of the parent's kernel name, whether it is an mdev parent or not."""
    # A CCW device may have the bus id of another subchannel, and has no mdevs.
    named = [one for one in snapshot.by_sysname(mdev.parent_addr) if one.subsystem != "ccw"]
    parents = [one for one in named if one.capability(MdevParent) is not None]
    return next(iter(parents or named), None)


def _obstacle(snapshot: Snapshot, parent: Device | None, mdev: MdevChild) -> str | None:
    """Return what prevents the start, with the remedy; None if nothing does."""
    address = mdev.parent_addr
    if parent is None:
        return f"its parent {address} is not present: load its driver, or enable its functions"
    offers = parent.capability(MdevParent)
    if offers is None:
        return f"its parent {parent.name} is no mdev parent: {_how_to_register(parent)}"
    if mdev.waits_for == "type":
        wanted = "of this definition" if mdev.mdev_type is None else mdev.mdev_type.id
        offered = ", ".join([one.id for one in offers.types]) or "none"
        return (
            f"its parent {parent.name} does not offer the type {wanted}: choose one of {offered}"
            f" (nodedevctl modify {mdev.uuid} --parent {quote(address)} --type TYPE)"
        )
    if mdev.waits_for == "capacity":
        return f"its parent {parent.name} has no free instance of its type: stop another mdev"
    return None


def _how_to_register(parent: Device) -> str:
    if parent.subsystem == "css" and parent.driver != "vfio_ccw":
        return (
            f"it is bound to {parent.driver or 'no driver'}; bind it to vfio_ccw:"
            f" driverctl -b css set-override {quote(parent.sysname or '')} vfio_ccw"
        )
    return f"load the driver that makes it one (its driver is {parent.driver or 'missing'})"
