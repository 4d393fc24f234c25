"""function: assigns a PCI function, whole or as a vGPU without an mdev."""

from __future__ import annotations

from nodedevd.errors import DoesNotFit
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci, VirtualFunctions
from nodedevd.kinds.shared.vfio import is_vfio_driver
from nodedevd.kinds.vgpu import CURRENT, Vgpu
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import PciAddress, parse_pci
from nodedevd.questions.hostdev.assignment import Assignment
from nodedevd.questions.hostdev.facts import HostDevFacts
from nodedevd.questions.hostdev.group import Group, check_group, note_group
from nodedevd.questions.hostdev.losses import loses, note_uses
from nodedevd.questions.hostdev.refusal import not_assignable
from nodedevd.questions.hostdev.request import HostDevRequest
from nodedevd.questions.vgpus import type_of
from nodedevd.text import abbreviated


def assign_function(
    snapshot: Snapshot,
    device: Device,
    pci: Pci,
    request: HostDevRequest,
    facts: HostDevFacts,
    notes: list[str],
) -> Assignment:
    """Return the assignment of a PCI function. Raises NotAssignable, DoesNotFit."""
    address = _check_hardware(device, pci)
    group = Group.of(snapshot, device, pci)
    check_group(snapshot, group, facts)
    _check_dependents(snapshot, device, pci)
    _note_unknown(device, pci, notes)
    note_group(snapshot, group, facts, notes)
    if device.capability(MdevParent) is not None:
        notes.append(
            "it is an mdev parent: while a guest has it, this host cannot create mdevs on it"
        )
    if request.iommufd and pci.vfio_device is not None and pci.vfio_device.node is None:
        notes.append(
            "VFIO has no node for it below /dev/vfio/devices, which iommufd needs: use Linux 6.6"
            " or later, built with CONFIG_VFIO_DEVICE_CDEV"
        )
    vgpu = device.capability(Vgpu)
    if vgpu is None:
        managed = request.managed is not False
        _note_driver(snapshot, device, facts, notes, managed=managed)
        note_uses(snapshot, group.leaving, facts.host, notes)
        return Assignment(device.name, address, None, managed=managed)
    note_uses(snapshot, group.leaving, facts.host, notes)
    if not request.managed_by_hook:
        _check_vgpu(device, vgpu, notes)
    if request.managed:
        detail = (
            f"the vGPU must stay with its driver {device.driver}, and cannot be bound to vfio-pci;"
            " omit --managed, or use --managed no"
        )
        raise DoesNotFit(device.name, "managed", detail)
    return Assignment(device.name, address, None, vgpu=True)


def _check_hardware(device: Device, pci: Pci) -> PciAddress:
    """Return the address of a function that answers, and is no bridge."""
    address = None if pci.address is None else parse_pci(pci.address)
    if address is None:
        detail = f"its kernel name {device.sysname!r} is no PCI address"
        raise not_assignable(device.name, "no-address", detail)
    if is_dead(device):
        detail = (
            "its configuration space reads all ones: the function does not answer, and libvirt"
            " refuses it (unknown PCI header type 127). Have the kernel find it anew:"
            f" echo 1 > /sys/bus/pci/devices/{address}/remove; echo 1 > /sys/bus/pci/rescan."
            " If it still does not answer, switch the host off and on"
        )
        raise not_assignable(device.name, "no-answer", detail)
    if pci.bridge is not None or (pci.class_code or "").startswith("0x06"):
        detail = "it is a bridge; assign the devices behind it instead"
        raise not_assignable(device.name, "bridge", detail)
    return address


def is_dead(device: Device) -> bool:
    """Return whether a function's configuration space reads all ones."""
    return any(
        (one.attribute, one.code) == ("config", "unreadable") and one.detail.startswith("all ones")
        for one in device.errors
    )


def _check_dependents(snapshot: Snapshot, device: Device, pci: Pci) -> None:
    """Refuse a function on which virtual functions or mdevs depend."""
    if pci.virtual_functions is not None and pci.virtual_functions.addresses:
        detail = (
            f"it has virtual functions, {abbreviated(pci.virtual_functions.addresses)}, which"
            f" need its driver; assign one of these, or {_how_to_disable(snapshot, device, pci)}"
        )
        raise not_assignable(device.name, "vfs-enabled", detail)
    parent = device.capability(MdevParent)
    if parent is not None and parent.children:
        detail = (
            f"it is the parent of the mdevs {abbreviated(parent.children)}; assign one of these,"
            f" or remove them first: nodedevctl remove {parent.children[0]}"
        )
        raise not_assignable(device.name, "mdevs-active", detail)


def _how_to_disable(snapshot: Snapshot, device: Device, pci: Pci) -> str:
    """Return how to disable the virtual functions."""
    vgpus = [] if pci.virtual_functions is None else _with_vgpus(snapshot, pci.virtual_functions)
    first = f"shut down the guests with vGPUs on {abbreviated(vgpus)}, and " if vgpus else ""
    return f"{first}disable them: nodedevctl vfs {device.name} 0"


def _with_vgpus(snapshot: Snapshot, functions: VirtualFunctions) -> list[str]:
    """Return the virtual functions that hold a vGPU, or mdevs."""
    found = []
    for address in functions.addresses:
        for device in snapshot.by_sysname(address):
            parent = device.capability(MdevParent)
            if type_of(device) is not None or (parent is not None and parent.children):
                found.append(address)
    return found


def _check_vgpu(device: Device, vgpu: Vgpu, notes: list[str]) -> None:
    if vgpu.current is not None:
        name = "" if vgpu.current.name is None else f", {vgpu.current.name}"
        notes.append(f"its vGPU profile is {vgpu.current.id}{name}")
        return
    if device.is_unknown(CURRENT):
        notes.append("its vGPU profile cannot be read: whether one is set is not checked")
        return
    if vgpu.creatable:
        one = vgpu.creatable[0]
        detail = (
            f"no vGPU profile is set; set one, for example {one.name}:"
            f" nodedevctl create {one.id} {device.name}"
        )
    elif vgpu.creatable is None:
        detail = f"no vGPU profile is set; set one: nodedevctl create TYPE {device.name}"
    else:
        detail = (
            "no vGPU profile is set, and none fits now; `nodedevctl fits` shows what each card has"
            " room for"
        )
    raise not_assignable(device.name, "no-profile", detail)


def _note_unknown(device: Device, pci: Pci, notes: list[str]) -> None:
    if pci.class_code is None:
        notes.append("its class cannot be read: whether it is a bridge is not checked")
    if any(one.attribute == "config" and one.code != "refused" for one in device.errors):
        notes.append("its configuration space cannot be read in full: it may not work")


def _note_driver(
    snapshot: Snapshot, device: Device, facts: HostDevFacts, notes: list[str], *, managed: bool
) -> None:
    """Note which devices the host loses when the function leaves its driver."""
    if device.driver is None or is_vfio_driver(device.driver):
        return
    names = loses(snapshot, device, facts.host)
    loss = f"; the host loses {', '.join(names)}" if names else ""
    if managed:
        notes.append(f"libvirt unbinds it from its driver {device.driver}{loss}")
    else:
        notes.append(
            f"unbind it from its driver {device.driver} before the guest starts:"
            f" virsh nodedev-detach {device.name}{loss}"
        )
