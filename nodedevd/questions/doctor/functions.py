"""functions: PCI functions that do not answer, and cards without a driver for their VFs.

ABI    Documentation/PCI/pci-iov-howto.rst; Documentation/ABI/testing/sysfs-bus-pci
"""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from nodedevd.host.faults import Fault
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.shared.vfio import is_vfio_driver
from nodedevd.model.device import Device
from nodedevd.questions.doctor.examined import Examined
from nodedevd.questions.doctor.finding import Finding


def check(host: Examined) -> Iterator[Finding]:
    """Yield findings about PCI functions of all vendors."""
    for device, pci in host.having(Pci):
        address = quote(device.sysname or "")
        if is_vfio_driver(device.driver) and any(is_dead(device, one) for one in device.errors):
            yield host.finding(
                "problem",
                "function-dead",
                device,
                "its configuration space reads all ones: the function does not answer, and a"
                " guest that gets it fails (unknown PCI header type 127)",
                "Stop the VM that has it, and have the kernel find it anew. If it still does not"
                " answer, switch the host off and on: a reset of the bus may not reach it.",
                f"echo 1 > /sys/bus/pci/devices/{address}/remove",
                "echo 1 > /sys/bus/pci/rescan",
            )
        functions = pci.virtual_functions
        if functions is not None and functions.addresses and device.driver is None:
            yield host.finding(
                "warning",
                "card-without-driver",
                device,
                f"it has no driver, and virtual functions ({len(functions.addresses)}): they work"
                " only with the driver of the card, and cannot be disabled without it",
                "Bind the card to its driver.",
                f"echo {address} > /sys/bus/pci/drivers_probe",
            )


def is_dead(device: Device, fault: Fault) -> bool:
    """Return whether a fault says that a function bound to VFIO does not answer."""
    return (
        is_vfio_driver(device.driver)
        and (fault.attribute, fault.code) == ("config", "unreadable")
        and fault.detail.startswith("all ones")
    )
