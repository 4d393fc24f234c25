"""nvidia: cards of NVIDIA that should offer vGPUs, and offer none.

Since Ampere, the virtual functions take the vGPUs: as mdev parents, or by vendor VFIO. Both need
NVIDIA's vGPU host driver, whose module is nvidia_vgpu_vfio, and a function bound to `nvidia`.
A card with the plain driver, for CUDA, is none of this module's business.

Source  NVIDIA vGPU software user guide, "Installing and Configuring the NVIDIA Virtual GPU Manager"
"""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from nodedevd.kinds.pci import Pci
from nodedevd.kinds.shared.vfio import is_vfio_driver
from nodedevd.model.device import Device
from nodedevd.questions.cards_without_vgpus import CardWithoutVgpus
from nodedevd.questions.doctor.examined import NVIDIA, Examined, bound, takes_vgpus
from nodedevd.questions.doctor.finding import Finding, Severity
from nodedevd.questions.vgpus import card_of

DRIVER = "nvidia"
HOST_MODULE = "nvidia_vgpu_vfio"
_SERVICES = "systemctl status --no-pager nvidia-vgpud nvidia-vgpu-mgr"
_LOG = "dmesg | grep -i -e nvrm -e nvidia | tail -n 30"
_DISPLAY = "0x0300"
_OF_VIRTUAL_FUNCTIONS = ("vfs-on-other-driver", "vfs-without-driver", "vfs-without-interface")


def check(host: Examined) -> Iterator[Finding]:
    """Yield findings about virtual functions and cards that should offer vGPUs."""
    for one in host.without_vgpus:
        if one.reason in _OF_VIRTUAL_FUNCTIONS:
            yield from _virtual(host, one)
    devices = list(host.graphics(NVIDIA))
    cards = [one for one in devices if card_of(one) == one.name]
    offered = any(map(takes_vgpus, devices))
    # A virtual function proves the host driver, too: no other driver of NVIDIA enables them.
    if HOST_MODULE in host.facts.modules or offered or len(cards) < len(devices):
        for card in cards:
            yield from _without_functions(host, card, offered=offered)


def bind(device: Device) -> tuple[str, ...]:
    """Return the commands that bind a function to NVIDIA's driver."""
    address = quote(device.sysname or "")
    path = f"/sys/bus/pci/devices/{address}"
    unbind = () if device.driver is None else (f"echo {address} > {path}/driver/unbind",)
    return (
        f"echo {DRIVER} > {path}/driver_override",
        *unbind,
        f"echo {address} > /sys/bus/pci/drivers_probe",
    )


def enable_functions(device: Device) -> str:
    """Return the command that enables the virtual functions of a card."""
    return f"/usr/lib/nvidia/sriov-manage -e {quote(device.sysname or '')}"


def _virtual(host: Examined, idle: CardWithoutVgpus) -> Iterator[Finding]:
    card = host.snapshot.get(idle.card)
    if card is not None and card.driver is None:
        return  # `functions` reports it
    if card is not None and card.driver != DRIVER:
        yield host.finding(
            "warning",
            "card-wrong-driver",
            card,
            f"it is {bound(card)}, not to {DRIVER}: its virtual functions take no vGPUs",
            f"Bind the card to {DRIVER}, and enable its virtual functions again.",
            *bind(card),
            enable_functions(card),
        )
        return
    for device in map(host.snapshot.lookup, idle.functions):
        if idle.reason == "vfs-without-interface":
            yield _without_types(host, device)
        else:
            yield host.finding(
                "warning",
                "function-wrong-driver",
                device,
                f"{bound(device)}, not to {DRIVER}: a virtual function takes a vGPU only while"
                f" it is bound to {DRIVER}, also when a VM uses the vGPU",
                f"Bind it to {DRIVER}; remove what binds it elsewhere, such as driverctl or"
                " vfio-pci's ids=. Enabling the virtual functions anew also binds them:"
                " /usr/lib/nvidia/sriov-manage -e.",
                *bind(device),
            )


def _without_types(host: Examined, device: Device) -> Finding:
    loaded = HOST_MODULE in host.facts.modules
    return host.finding(
        "warning",
        "function-without-types",
        device,
        f"bound to {DRIVER}, but takes no vGPUs: it has neither mdev types nor vendor VFIO"
        + ("" if loaded else f", and the module {HOST_MODULE} is not loaded"),
        "See whether both services of the vGPU host driver run, whether its release supports the"
        " card, and what the kernel's log says."
        if loaded
        else "Load the module; if it is missing, install NVIDIA's vGPU host driver, not the one"
        " for CUDA or for guests.",
        *(() if loaded else (f"modprobe {HOST_MODULE}",)),
        _SERVICES,
        _LOG,
    )


def _without_functions(host: Examined, device: Device, *, offered: bool) -> Iterator[Finding]:
    """Yield why a card without virtual functions offers nothing, unless it is assigned whole."""
    pci = device.capability(Pci)
    if pci is None or takes_vgpus(device) or is_vfio_driver(device.driver):
        return
    functions = pci.virtual_functions
    if functions is not None and functions.addresses:
        return
    if functions is not None and functions.maximum:
        severity: Severity = "warning" if device.driver == DRIVER else "note"
        also = "" if device.driver == DRIVER else f", and it is {bound(device)}, not to {DRIVER}"
        yield host.finding(
            severity,
            "no-virtual-functions",
            device,
            f"none of its {functions.maximum} virtual functions is enabled: it cannot create"
            f" vGPUs{also}",
            "Enable them, at every boot.",
            enable_functions(device),
        )
    elif HOST_MODULE in host.facts.modules:
        display = (pci.class_code or "").startswith(_DISPLAY)
        # A second card for the console is usual.
        severity = "note" if display and offered else "warning"
        yield host.finding(
            severity,
            "card-without-types",
            device,
            f"it is {bound(device)} and offers no vGPUs, although the vGPU host driver is loaded",
            (
                f"Bind it to {DRIVER}."
                if device.driver != DRIVER
                else "See whether the release of the driver supports the card. It is a display"
                " controller: cards with several display modes offer vGPUs only without"
                " displays, see NVIDIA's displaymodeselector."
                if display
                else "See whether both services of the vGPU host driver run, whether its release"
                " supports the card, whether SR-IOV is enabled in the firmware, and what the"
                " kernel's log says."
            ),
            *(bind(device) if device.driver != DRIVER else (_SERVICES, _LOG)),
        )
