"""functions: what the actions on PCI functions have in common: their names, attributes, drivers.

ABI    Documentation/ABI/testing/sysfs-bus-pci: driver_override
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.ownership import Claim, Record, check_claim, living_record
from nodedevd.actions.requests import Bind, Request, SetVirtualFunctions, Unbind
from nodedevd.errors import NotPossible
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.shared.vfio import is_vfio_driver
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot

BUS: Final = "pci"
OVERRIDE: Final = "driver_override"
DRIVERS: Final = f"/sys/bus/{BUS}/drivers"
UNSAFE_NOIOMMU: Final = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"

NO_OVERRIDE: Final = "(null)"
"""What driver_override shows when nothing is set."""
_FOR_GUESTS: Final = frozenset({"pci-stub", "pciback", "xen-pciback", "uio_pci_generic"})
"""Drivers that only keep a function for somebody else, and are not VFIO's."""


class Function(NamedTuple):
    """A PCI function."""

    device: Device
    path: str
    """sysfs path"""
    pci: Pci

    @property
    def name(self) -> str:
        """The name of the device."""
        return self.device.name


def function_named(snapshot: Snapshot, name: str) -> Function:
    """Return the PCI function of any of its names. Raises NoSuchDevice, NotPossible."""
    device = snapshot.lookup(name)
    function = function_of(device)
    if function is None:
        detail = "it is no PCI function, and only their drivers and virtual functions are set here"
        raise NotPossible(device.name, "no-pci", detail)
    return function


def function_of(device: Device | None) -> Function | None:
    """Return a device as the PCI function that it is."""
    pci = None if device is None else device.capability(Pci)
    if device is None or pci is None or device.path is None:
        return None
    return Function(device, device.path, pci)


def functions_at(snapshot: Snapshot, addresses: tuple[str, ...]) -> Iterator[Function]:
    """Yield the PCI functions of these addresses that are in the tree."""
    for address in addresses:
        for device in snapshot.by_sysname(address):
            function = function_of(device)
            if function is not None:
                yield function


def functions_leaving(snapshot: Snapshot, request: Request) -> tuple[str, ...]:
    """Return the sysfs paths of the PCI functions that a request may take from the host."""
    if not isinstance(request, (SetVirtualFunctions, Bind, Unbind)):
        return ()
    function = function_of(snapshot.find(request.name))
    if function is None:
        return ()
    if isinstance(request, SetVirtualFunctions):
        enabled = function.pci.virtual_functions
        found = functions_at(snapshot, () if enabled is None else enabled.addresses)
        return tuple(one.path for one in found)
    group = function.pci.iommu_group
    members = functions_at(snapshot, () if group is None else group.devices)
    return tuple(dict.fromkeys([function.path, *(one.path for one in members)]))


def attributes_for(snapshot: Snapshot, request: Request) -> Iterator[str]:
    """Yield the sysfs paths of the attributes that a plan for a PCI function is made from."""
    if isinstance(request, SetVirtualFunctions):
        # sriov_numvfs is no such attribute: while a write to it waits, a read of it waits, too.
        return
    for path in functions_leaving(snapshot, request):
        yield f"{path}/{OVERRIDE}"
    if isinstance(request, Bind):
        yield UNSAFE_NOIOMMU


def override_of(function: Function, facts: ActionFacts) -> str | None:
    """Return the driver that driver_override asks for. Raises NotPossible."""
    text = facts.attributes.get(f"{function.path}/{OVERRIDE}")
    if text is None:
        detail = f"its {OVERRIDE} cannot be read, and without it no driver can be chosen"
        raise NotPossible(function.name, "no-override", detail)
    text = text.strip()
    return None if text in ("", NO_OVERRIDE) else text


def as_recorded(number: int) -> str:
    """Return what a record says of a number of virtual functions, in place of a type."""
    return f"{number} virtual functions"


def settings_of(device: Device) -> tuple[str, ...]:
    """Return what records can say of a PCI function: its driver, and how many functions it has."""
    pci = device.capability(Pci)
    if pci is None:
        return ()
    enabled = () if pci.virtual_functions is None else pci.virtual_functions.addresses
    return (device.driver or "", as_recorded(len(enabled)))


def is_for_guests(driver: str | None) -> bool:
    """Return whether a driver keeps a function away from the host: VFIO's, or a stub."""
    return is_vfio_driver(driver) or driver in _FOR_GUESTS


def check_binding(function: Function, facts: ActionFacts, claim: Claim) -> None:
    """Refuse to change the driver of a function that was bound, or reserved, for somebody else.

    Raises NotPossible, OwnedByOther, MadeByOther, Changed.
    """
    driver = function.device.driver
    reserved = is_for_guests(driver) or override_of(function, facts) is not None
    if reserved or living_record(facts.records, function.path, driver) is not None:
        check_claim(function.name, function.path, facts.records, claim, type_id=driver)


def record_of(function: Function, what: str, facts: ActionFacts, claim: Claim) -> Record:
    """Return the record of what a client has set on a function: its driver, or `what`."""
    return Record(function.path, claim.origin, claim.owner, facts.uid, what, 0, facts.now)
