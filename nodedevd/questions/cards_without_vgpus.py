"""cards_without_vgpus: cards that should offer vGPUs and offer none, each with the reason.

A pure function of the devices. It knows NVIDIA's cards, whose functions have no other use on a
host than vGPUs, and mdev parents of any driver.

Source: NVIDIA vGPU software user guide, "Preparing the Virtual Function for an NVIDIA vGPU that
Supports SR-IOV on a Linux with KVM Hypervisor" and "Configuring a GPU for MIG-Backed vGPUs";
Documentation/ABI/testing/sysfs-bus-vfio-mdev.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.shared.vfio import is_vfio_driver
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.device import Device
from nodedevd.questions.vgpus import VgpuFunction, card_of, functions_in_steps
from nodedevd.steps import Steps, finish, groups

NoVgpusReason: TypeAlias = Literal[
    "no-vf-enabled",
    "vfs-on-other-driver",
    "vfs-without-driver",
    "vfs-without-interface",
    "no-types",
    "none-creatable",
]
"""Why a card offers no vGPUs.

no-vf-enabled: the card needs virtual functions, and none is enabled.
vfs-on-other-driver: its virtual functions are bound to another driver than NVIDIA's, such as
vfio-pci, which cannot make a vGPU of them.
vfs-without-driver: its virtual functions are bound to no driver.
vfs-without-interface: its virtual functions are bound to NVIDIA's driver, and have neither mdev
types nor vendor VFIO: the host driver's services do not run, or do not support the card.
no-types: it is an mdev parent without types.
none-creatable: no type can be created, and no vGPU exists; a card in MIG mode needs GPU instances.
"""

_STEP_CARDS = 16
_NVIDIA = "0x10de"


class CardWithoutVgpus(msgspec.Struct, frozen=True, gc=False):
    """A card, the functions of it that should offer vGPUs, and why they offer none."""

    card: str
    """name of the physical function, or of the mdev parent"""
    reason: NoVgpusReason
    functions: tuple[str, ...]
    """names of the functions without vGPUs, sorted; the card itself if it has no others"""
    driver: str | None
    """driver that these functions are bound to"""


def cards_without_vgpus(
    devices: Iterable[Device], functions: Iterable[VgpuFunction] | None = None
) -> tuple[CardWithoutVgpus, ...]:
    """Return the cards that should offer vGPUs and offer none, sorted by name.

    A card whose functions have several reasons, or of which only some functions offer nothing,
    is returned once for each reason.

    Args:
        devices: The devices of the host.
        functions: Their `vgpu_functions`, if the caller has them.
    """
    return finish(cards_without_vgpus_in_steps(list(devices), functions))


def cards_without_vgpus_in_steps(
    devices: Sequence[Device], functions: Iterable[VgpuFunction] | None = None
) -> Steps[tuple[CardWithoutVgpus, ...]]:
    """Do the same as `cards_without_vgpus`, in steps."""
    by_name = {device.name: device for device in devices}
    found: dict[tuple[str, NoVgpusReason, str | None], list[str]] = {}
    for some in groups(devices):
        for device in some:
            reason = _why_none(device, by_name)
            if reason is not None:
                found.setdefault((card_of(device), reason, device.driver), []).append(device.name)
        yield
    capable = functions
    if capable is None:
        capable = yield from functions_in_steps(devices)
    for number, (card, group) in enumerate(functions_by_card(capable).items()):
        if _none_creatable(group):
            driver = by_name[group[0].device].driver
            names = [function.device for function in group]
            found[card, "none-creatable", driver] = names
        if number % _STEP_CARDS == 0:
            yield
    return tuple(
        CardWithoutVgpus(card, reason, tuple(sorted(names)), driver)
        for (card, reason, driver), names in sorted(found.items(), key=lambda item: item[0][:2])
    )


def functions_by_card(functions: Iterable[VgpuFunction]) -> dict[str, list[VgpuFunction]]:
    """Return the vGPU-capable functions of each card."""
    cards: dict[str, list[VgpuFunction]] = {}
    for function in functions:
        cards.setdefault(function.card, []).append(function)
    return cards


def is_nvidia_gpu(device: Device) -> bool:
    """Return whether a device is a graphics function of NVIDIA, physical or virtual."""
    pci = device.capability(Pci)
    vendor = None if pci is None or pci.vendor is None else pci.vendor.id
    return vendor == _NVIDIA and pci is not None and (pci.class_code or "").startswith("0x03")


def _why_none(device: Device, by_name: Mapping[str, Device]) -> NoVgpusReason | None:
    parent = device.capability(MdevParent)
    if parent is not None:
        return None if parent.types else "no-types"
    pci = device.capability(Pci)
    if pci is None or device.capability(Vgpu) is not None or not is_nvidia_gpu(device):
        return None
    if pci.physical_function is None:
        functions = pci.virtual_functions
        idle = functions is not None and functions.maximum and not functions.addresses
        return "no-vf-enabled" if idle and device.driver == "nvidia" else None
    card = by_name.get(card_of(device))
    if card is not None and is_vfio_driver(card.driver):
        return None  # the card is assigned as a whole
    if device.driver is None:
        return "vfs-without-driver"
    return "vfs-without-interface" if device.driver == "nvidia" else "vfs-on-other-driver"


def _none_creatable(functions: Sequence[VgpuFunction]) -> bool:
    """Return whether no type of a card can be created, though no vGPU takes anything."""
    offers = [one for function in functions for one in function.offers]
    vendor = any(function.framework == "vendor-vfio" for function in functions)
    return (
        bool(offers or vendor)
        and all(function.known and not function.untyped for function in functions)
        and all(one.available == 0 and not one.active for one in offers)
    )
