"""answer: the domain XML that assigns a device to a guest, libvirt's `<hostdev>`.

The XML names an mdev by its UUID, with the device_api of its type as the model, and a PCI
function by its address. A pure function of a snapshot and the facts of its host.
"""

from __future__ import annotations

from nodedevd.errors import InvalidParameter
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.pci import Pci
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.hostdev.assignment import Assignment
from nodedevd.questions.hostdev.facts import HostDevFacts
from nodedevd.questions.hostdev.function import assign_function
from nodedevd.questions.hostdev.managed import check_managed, write_metadata
from nodedevd.questions.hostdev.mdev import assign_mdev
from nodedevd.questions.hostdev.new_mdev import assign_new_mdev
from nodedevd.questions.hostdev.options import check_options, note_domain
from nodedevd.questions.hostdev.other_kind import why_not
from nodedevd.questions.hostdev.refusal import not_assignable
from nodedevd.questions.hostdev.request import HostDev, HostDevRequest, parse_address
from nodedevd.questions.hostdev.xml import write_hostdev
from nodedevd.questions.in_use import Use
from nodedevd.steps import Steps, finish


def hostdev(snapshot: Snapshot, request: HostDevRequest, facts: HostDevFacts) -> HostDev:
    """Return the XML that assigns a device, if it can be assigned with these options.

    Raises NoSuchDevice, NoSuchType, NotAssignable, DoesNotFit, InvalidParameter.
    """
    return finish(hostdev_in_steps(snapshot, request, facts))


def hostdev_in_steps(
    snapshot: Snapshot, request: HostDevRequest, facts: HostDevFacts
) -> Steps[HostDev]:
    """Do the same as `hostdev`, in steps."""
    address = None if request.address is None else parse_address(request.address)
    notes: list[str] = []
    use = None
    check_managed(request)
    if request.is_uuid:
        assigned = yield from assign_new_mdev(snapshot, request, facts, notes)
    else:
        if request.type is not None and not request.managed_by_hook:
            raise InvalidParameter("type", "needs not_created or managed_by_hook")
        if request.arch is not None:
            raise InvalidParameter("arch", "needs not_created")
        device = snapshot.lookup(request.name)
        use = facts.use(device.name, device.path)
        assigned = _assign(snapshot, device, request, facts, notes)
    check_options(request, assigned, address)
    if use is not None and (note := open_note(use, show_holders=facts.show_holders)) is not None:
        notes.append(note)
    note_domain(request, assigned, notes)
    metadata = None
    if request.managed_by_hook:
        metadata = yield from write_metadata(snapshot, request, assigned)
    return HostDev(
        generation=snapshot.generation,
        type="pci" if assigned.model is None else "mdev",
        model=assigned.model,
        # An mdev that does not exist yet cannot be open.
        open="no" if request.is_uuid else "unknown" if use is None else use.open,
        xml=write_hostdev(request, assigned, address),
        notes=tuple(notes),
        metadata=metadata,
    )


def _assign(
    snapshot: Snapshot,
    device: Device,
    request: HostDevRequest,
    facts: HostDevFacts,
    notes: list[str],
) -> Assignment:
    mdev, pci = device.capability(MdevChild), device.capability(Pci)
    if mdev is not None:
        return assign_mdev(snapshot, device, mdev, request, notes)
    if pci is not None:
        return assign_function(snapshot, device, pci, request, facts, notes)
    raise not_assignable(device.name, "kind", why_not(snapshot, device, facts.host))


def open_note(use: Use, *, show_holders: bool = True) -> str | None:
    """Return a note for a device that is open, or may be; None for others."""
    names = [f"{one.process} ({one.pid})" for one in use.holders] if show_holders else []
    by = f": {', '.join(names)}" if names else ""
    if use.open == "yes":
        return f"a process has it open{by}; a second guest cannot open it"
    if use.reason in ("group-shared", "device-untold"):
        return f"a process may have it open{by}; see nodedevctl in-use {use.name}"
    return None
