"""host_use: refuses to take PCI functions away that somebody uses, or that hold something.

These are the host itself (a mounted disk, an interface with an address), processes that have the
function open through VFIO, or the node of a device below it, and vGPUs on it. `force` skips all
of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.open_devices import note_if_open, refuse_if_open
from nodedevd.actions.open_nodes import refuse_if_nodes_are_open
from nodedevd.actions.ownership import Claim
from nodedevd.errors import DeviceInUse
from nodedevd.host.assignment import AssignmentFacts
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.shared.vfio import is_vfio_driver
from nodedevd.kinds.vgpu import CURRENT, Vgpu
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.hostdev.losses import unknown_uses, uses_of
from nodedevd.text import abbreviated


def refuse_if_used(
    snapshot: Snapshot, functions: Sequence[Device], facts: ActionFacts, claim: Claim
) -> None:
    """Refuse to take functions away from the host that are in use, or may be.

    Raises DeviceInUse.
    """
    if claim.force:
        return
    for function in functions:
        below = list(_with_all_below(snapshot, function))
        for device in below:
            refuse_if_open_by_anyone(device, facts, claim)
        for device in below:
            _refuse_if_it_holds_vgpus(device)
    _refuse_if_host_uses(snapshot, functions, facts)
    refuse_if_nodes_are_open(snapshot, functions, facts)


def refuse_if_open_by_anyone(device: Device, facts: ActionFacts, claim: Claim) -> None:
    """Refuse a device that is open through VFIO; others have nothing to be opened.

    Raises DeviceInUse.
    """
    if _can_be_open(device):
        refuse_if_open(device, facts, claim)


def notes_on_open(
    snapshot: Snapshot, functions: Iterable[Device], facts: ActionFacts
) -> Iterator[str]:
    """Yield notes on what is open, or may be, of functions that are taken away by force."""
    for function in functions:
        for device in _with_all_below(snapshot, function):
            if _can_be_open(device):
                yield from note_if_open(device, facts)


def _with_all_below(snapshot: Snapshot, function: Device) -> Iterator[Device]:
    yield function
    for path in snapshot.below(function.path or ""):
        device = snapshot.at(path)
        if device is not None:
            yield device


def _can_be_open(device: Device) -> bool:
    """Return whether VFIO has a node for a device."""
    pci = device.capability(Pci)
    return (
        is_vfio_driver(device.driver)
        or device.capability(MdevChild) is not None
        or device.capability(Vgpu) is not None
        or (pci is not None and pci.vfio_device is not None)
    )


def _refuse_if_it_holds_vgpus(device: Device) -> None:
    mdev, vgpu = device.capability(MdevChild), device.capability(Vgpu)
    parent = device.capability(MdevParent)
    if parent is not None and parent.children:
        detail = (
            f"it holds the mdevs {abbreviated(parent.children)}; remove them first:"
            f" nodedevctl remove {parent.children[0]}"
        )
        raise DeviceInUse(device.name, True, detail)
    if mdev is not None:  # which its parent no longer lists: the kernel is removing it
        raise DeviceInUse(device.name, True, "it is an mdev that still exists")
    if vgpu is None:
        return
    if vgpu.current is not None:
        name = "" if vgpu.current.name is None else f", {vgpu.current.name}"
        detail = (
            f"it has the vGPU profile {vgpu.current.id}{name}; remove it first:"
            f" nodedevctl remove {device.name}"
        )
        raise DeviceInUse(device.name, True, detail)
    if device.is_unknown(CURRENT):
        raise DeviceInUse(device.name, False, "its vGPU profile cannot be read")


def _refuse_if_host_uses(
    snapshot: Snapshot, functions: Iterable[Device], facts: ActionFacts
) -> None:
    names = {one.path: one.name for one in functions if one.path is not None}
    found = _uses(names, facts.assignment)
    if found:
        # A disk with several paths is lost with all of them, and with none of them alone.
        name = next((names[one] for one in names if _uses([one], facts.assignment)), "")
        name = name or next(iter(names.values()))
        raise DeviceInUse(name, True, f"the host uses what it would lose: {'; '.join(found)}")
    for unknown in unknown_uses(snapshot, list(names), facts.assignment):
        raise DeviceInUse(next(iter(names.values())), False, unknown)


def _uses(paths: Iterable[str], assignment: AssignmentFacts) -> Sequence[str]:
    uses = uses_of(list(paths), assignment)
    return uses.used or uses.stacked or uses.degraded
