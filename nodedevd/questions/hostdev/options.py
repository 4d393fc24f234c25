"""options: which options libvirt accepts for a device.

Source: libvirt's schema `domain.rng`; "Host device assignment" in
https://libvirt.org/formatdomain.html; the checks of its QEMU driver, src/qemu/qemu_validate.c.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from nodedevd.errors import DoesNotFit
from nodedevd.kinds.shared.ccw import CcwAddress
from nodedevd.names import PciAddress
from nodedevd.questions.hostdev.assignment import Assignment
from nodedevd.questions.hostdev.request import HostDevRequest, Model


class _Options(NamedTuple):
    """The options that libvirt accepts for a kind of device."""

    what: str
    display: bool
    address: Literal["pci", "ccw"] | None
    boot: bool


# domain.rng accepts nearly everything. libvirt checks the address when a domain is defined; only
# its QEMU driver checks display and boot order (qemuValidateDomainMdevDef).
_OF_MDEV: dict[Model, _Options] = {
    "vfio-pci": _Options("an mdev of vfio-pci", display=True, address="pci", boot=False),
    "vfio-ccw": _Options("an mdev of vfio-ccw", display=False, address="ccw", boot=True),
    "vfio-ap": _Options("an mdev of vfio-ap", display=False, address=None, boot=False),
}
# libvirt accepts a display for any function; QEMU refuses one that has none.
_OF_FUNCTION = _Options("a PCI function without a vGPU", display=False, address="pci", boot=True)
_OF_VGPU = _Options("a PCI function with a vGPU", display=True, address="pci", boot=True)


def check_options(
    request: HostDevRequest, assigned: Assignment, address: PciAddress | CcwAddress | None
) -> None:
    """Raise DoesNotFit for the first option that the device cannot have."""
    accepted = _accepted(assigned)

    def refuse(parameter: str, detail: str) -> None:
        raise DoesNotFit(assigned.name, parameter, detail)

    if assigned.model is None and request.model is not None:
        refuse("model", "it is a PCI function, and only mdevs have a model; omit it")
    if assigned.model is not None and request.managed is not None:
        refuse("managed", "libvirt binds PCI functions to vfio-pci, but not mdevs; omit it")
    if assigned.model is not None and request.iommufd is not None:
        refuse("iommufd", "libvirt uses iommufd for PCI functions, but not for mdevs; omit it")
    for option, given in (("display", request.display is not None), ("ramfb", request.ramfb)):
        if given and not accepted.display:
            refuse(option, f"it is {accepted.what}, and only vGPUs have a display; omit it")
    if request.ramfb and not request.display:
        refuse("ramfb", "ramfb needs the display; add --display on")
    if not accepted.boot and request.boot_order is not None:
        refuse("boot_order", f"it is {accepted.what}, and libvirt cannot boot from it; omit it")
    if address is not None:
        bus = "pci" if isinstance(address, PciAddress) else "ccw"
        if bus != accepted.address:
            if accepted.address is None:
                refuse(
                    "address", f"it is {accepted.what}, which has no address in a guest; omit it"
                )
            refuse("address", f"it is {accepted.what}; give an address {accepted.address}:…")


def _accepted(assigned: Assignment) -> _Options:
    if assigned.model is not None:
        return _OF_MDEV[assigned.model]
    return _OF_VGPU if assigned.vgpu else _OF_FUNCTION


def note_domain(request: HostDevRequest, assigned: Assignment, notes: list[str]) -> None:
    """Note what libvirt, QEMU and the rest of the domain must have for the options."""
    if assigned.model == "vfio-ap":
        notes.append("a domain takes no more than one vfio-ap device")
    if request.display is not None and assigned.model is None:
        notes.append("the display of a PCI function needs libvirt 10.3.0 or later")
    if request.display:
        notes.append("the domain needs a <graphics> device for the display")
    if request.ramfb:
        notes.append("a domain takes no more than one device with ramfb")
    if request.iommufd is not None:
        notes.append("the choice of iommufd needs libvirt 12.1.0 or later")
    if request.boot_order is not None:
        notes.append("with a boot order the domain must have no <boot dev='…'/> in <os>")
