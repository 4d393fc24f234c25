"""group: the other devices of a function's IOMMU group, which go to the guest with it or to none.

A group is assigned as a whole: each of its devices has a VFIO driver or none; bridges do not
count. That cannot be done for a function that exists only as long as another member keeps its
driver, and it need not be done for members that disappear with the function.

ABI    Documentation/driver-api/vfio.rst; Documentation/ABI/testing/sysfs-kernel-iommu_groups
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nodedevd.kinds.pci import IommuGroup, Pci
from nodedevd.kinds.shared.vfio import is_vfio_driver
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.hostdev.facts import HostDevFacts
from nodedevd.questions.hostdev.losses import loses
from nodedevd.questions.hostdev.refusal import not_assignable

_VMD = "vmd"


class Group(NamedTuple):
    """A function, and the other members of its IOMMU group."""

    device: Device
    pci: Pci
    others: Sequence[Device]
    """members of the tree that VFIO does not ignore, and that do not disappear with the function"""
    strangers: Sequence[str]
    """kernel names of members that are not in the tree"""

    @classmethod
    def of(cls, snapshot: Snapshot, device: Device, pci: Pci) -> Group:
        """Return the group of a function."""
        others, strangers = [], []
        for sysname in () if pci.iommu_group is None else pci.iommu_group.devices:
            named = [one for one in snapshot.by_sysname(sysname) if sysname != device.sysname]
            if not named and sysname != device.sysname:
                strangers.append(sysname)
            others += [one for one in named if not _is_ignored(one) and not _is_below(one, device)]
        return cls(device, pci, others, strangers)

    @property
    def leaving(self) -> list[Device]:
        """The members whose driver the host has to give up, first the function itself."""
        return [one for one in (self.device, *self.others) if _has_host_driver(one)]


def check_group(snapshot: Snapshot, group: Group, facts: HostDevFacts) -> None:
    """Refuse a function that cannot be assigned because of its group, or for want of one."""
    device, pci = group.device, group.pci
    for above in _ancestors(snapshot, device):
        if above.capability(Pci) is None or _is_ignored(above):
            continue
        if above in group.others or above.driver == _VMD:
            raise not_assignable(device.name, "behind-controller", _behind(above))
    if pci.physical_function is not None:
        for other in group.others:
            if other.sysname == pci.physical_function:
                detail = (
                    f"its IOMMU group also has its physical function {other.name}, without whose"
                    f" driver {other.driver or ''} it does not exist; use a slot or a host whose"
                    " bridges have ACS, which puts every function in a group of its own"
                )
                raise not_assignable(device.name, "behind-controller", detail)
    if pci.iommu_group is None:
        if not device.is_unknown("iommu_group"):
            raise not_assignable(device.name, "no-iommu-group", _no_iommu(snapshot))
    elif pci.iommu_group.number in facts.host.noiommu_groups:
        detail = (
            "VFIO has it in its no-IOMMU mode (enable_unsafe_noiommu_mode), which QEMU and libvirt"
            f" cannot use; {_ENABLE}"
        )
        raise not_assignable(device.name, "no-iommu", detail)


_ENABLE = (
    "enable VT-d or AMD-Vi in the firmware, boot Intel hosts with intel_iommu=on, and check that"
    " /sys/kernel/iommu_groups has groups"
)


def _behind(controller: Device) -> str:
    if controller.driver == _VMD:
        return (
            f"it is behind the VMD controller {controller.name}, without whose driver it does not"
            f" exist; assign {controller.name} instead, or switch VMD off in the firmware"
        )
    return (
        f"it is behind {controller.name}, which is in its IOMMU group and without whose driver"
        f" {controller.driver or ''} it does not exist; assign {controller.name} instead"
    )


def _no_iommu(snapshot: Snapshot) -> str:
    functions = (pci for device in snapshot if (pci := device.capability(Pci)) is not None)
    if any(pci.iommu_group is not None for pci in functions):
        return "it is in no IOMMU group, although other devices are: the IOMMU does not cover it"
    return f"it is in no IOMMU group, because the IOMMU is off; {_ENABLE}"


def note_group(snapshot: Snapshot, group: Group, facts: HostDevFacts, notes: list[str]) -> None:
    """Note the other members: what has to be done with them, and which devices the host loses."""
    number = group.pci.iommu_group
    if number is None:
        notes.append("its IOMMU group cannot be read: other devices of the group are unknown")
        return
    _note_members(number, group, notes)
    for other in group.others:
        names = loses(snapshot, other, facts.host) if _has_host_driver(other) else []
        if names:
            notes.append(f"without the driver of {other.name}, the host loses {', '.join(names)}")


def _note_members(number: IommuGroup, group: Group, notes: list[str]) -> None:
    members = [f"{one.name} ({one.driver or 'no driver'})" for one in group.others]
    members += group.strangers
    if not members:
        return
    text = f"IOMMU group {number.number} also has {', '.join(members)}"
    bound = [one.name for one in group.others if _has_host_driver(one)] + [*group.strangers]
    if bound:
        which = "each of them" if len(bound) == len(members) else ", ".join(bound)
        text += f": bind {which} to vfio-pci, or to no driver, before the guest starts"
    else:
        text += ": this guest may have them, too, but no other guest"
    notes.append(text)


def _is_ignored(device: Device) -> bool:
    """Return whether VFIO ignores a member: a bridge, by its header."""
    pci = device.capability(Pci)
    return pci is not None and pci.bridge is not None


def _has_host_driver(device: Device) -> bool:
    """Return whether a driver has to leave; that of a vGPU is its VFIO driver."""
    if device.driver is None or is_vfio_driver(device.driver):
        return False
    return device.capability(Vgpu) is None


def _is_below(device: Device, other: Device) -> bool:
    return (device.path or "").startswith(f"{other.path}/")


def _ancestors(snapshot: Snapshot, device: Device) -> list[Device]:
    found = []
    above = snapshot.get(device.parent or "")
    while above is not None:
        found.append(above)
        above = snapshot.get(above.parent or "")
    return found
