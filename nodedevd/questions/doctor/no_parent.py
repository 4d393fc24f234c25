"""no_parent: why a definition has no mdev parent: the device is another one now, or is absent.

A definition names its parent by kernel name. That device may be there without being an mdev
parent (any more): a GPU whose driver went to vendor VFIO, a subchannel that the host uses.
"""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote
from typing import NamedTuple

from nodedevd.kinds.ap_matrix import ApMatrix
from nodedevd.kinds.css import Css
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.device import Device
from nodedevd.names import parse_pci
from nodedevd.questions.doctor import nvidia
from nodedevd.questions.doctor.channel import CCW_DRIVER
from nodedevd.questions.doctor.examined import INTEL, NVIDIA, Examined, bound, is_graphics
from nodedevd.questions.doctor.finding import Finding, Severity
from nodedevd.questions.doctor.gvt import ENABLE
from nodedevd.questions.doctor.host import module_of

_NAMES_SHOWN = 2


class _Reason(NamedTuple):
    is_now: str
    advice: str
    mend: tuple[str, ...]


def explain(host: Examined, severity: Severity, device: Device, mdev: MdevChild) -> Finding:
    """Return the finding for a definition whose parent is no mdev parent."""
    found = _parent(host, mdev)
    if found is None:
        reason = _absent(host, mdev)
        text = f"it is defined, but its parent {mdev.parent_addr} is not present{reason.is_now}"
        return host.finding(
            severity, "definition-without-parent", device, text, reason.advice, *reason.mend
        )
    reason = _present(host, found, mdev)
    return host.finding(
        severity,
        "definition-not-a-parent",
        device,
        f"it is defined, but its parent {mdev.parent_addr} is no mdev parent: {reason.is_now}",
        reason.advice,
        *reason.mend,
    )


def _parent(host: Examined, mdev: MdevChild) -> Device | None:
    """Return the device of the kernel name that the definition gives, on whatever bus."""
    if mdev.parent_path is not None:
        return host.snapshot.at(mdev.parent_path)
    found = [one for one in host.snapshot.by_sysname(mdev.parent_addr) if one.subsystem != "mdev"]
    return found[0] if found else None


def _undefine(mdev: MdevChild) -> str:
    return f"mdevctl undefine -u {mdev.uuid} -p {quote(mdev.parent_addr)}"


def _present(host: Examined, parent: Device, mdev: MdevChild) -> _Reason:
    vgpu = parent.capability(Vgpu)
    if vgpu is not None:
        return _vendor_vfio(vgpu, parent, mdev)
    css = parent.capability(Css)
    if css is not None:
        return _subchannel(css, parent, mdev)
    if is_graphics(parent, NVIDIA):
        return _nvidia(host, parent, mdev)
    if is_graphics(parent, INTEL):
        return _Reason(
            f"the GPU is {bound(parent)}, and GVT-g is not active",
            "Enable GVT-g, make the initramfs anew, and reboot; or remove the definition. GPUs"
            " after Comet Lake have no GVT-g.",
            (ENABLE, "modprobe kvmgt"),
        )
    if parent.capability(ApMatrix) is not None:
        return _Reason("it offers no types", "Load its driver again.", ("modprobe vfio_ap",))
    return _Reason(
        f"it is {bound(parent)}, and offers no types",
        "Bind it to the driver that offers the type, or remove the definition.",
        (_undefine(mdev),),
    )


def _vendor_vfio(vgpu: Vgpu, parent: Device, mdev: MdevChild) -> _Reason:
    number = _number(mdev)
    listed = number is not None and number in [one.id for one in vgpu.creatable or ()]
    file = f"/sys/bus/pci/devices/{quote(parent.sysname or '')}/nvidia/current_vgpu_type"
    return _Reason(
        "its driver offers vGPUs by vendor VFIO now, without mdevs",
        "Remove the definition. A vGPU is now made by writing the number of its type to"
        " nvidia/current_vgpu_type of the function, at every boot.",
        (_undefine(mdev), *((f"echo {number} > {file}",) if listed and mdev.autostart else ())),
    )


def _number(mdev: MdevChild) -> str | None:
    """Return the number in a type of NVIDIA, nvidia-1155."""
    if mdev.mdev_type is None:
        return None
    prefix, _, number = mdev.mdev_type.id.partition("-")
    return number if prefix == "nvidia" and number.isascii() and number.isdigit() else None


def _subchannel(css: Css, parent: Device, mdev: MdevChild) -> _Reason:
    if css.subchannel_type not in (None, 0):
        return _Reason("it is not an I/O subchannel", "Remove the definition.", (_undefine(mdev),))
    if parent.driver == CCW_DRIVER:
        return _Reason(
            f"it is bound to {CCW_DRIVER}, but offers no types",
            "See the kernel's log.",
            ("dmesg | grep -i -e vfio -e cio | tail -n 30",),
        )
    lost = f" {css.channel_dev_addr}" if css.channel_dev_addr else ""
    return _Reason(
        f"the subchannel is {bound(parent)}, not to {CCW_DRIVER}",
        f"Bind it to {CCW_DRIVER}: the host then loses the device{lost} behind it.",
        (
            f"modprobe {CCW_DRIVER}",
            f"driverctl -b css set-override {quote(mdev.parent_addr)} {CCW_DRIVER}",
        ),
    )


def _nvidia(host: Examined, parent: Device, mdev: MdevChild) -> _Reason:
    pci = parent.capability(Pci)
    functions = None if pci is None else pci.virtual_functions
    if parent.driver != nvidia.DRIVER:
        return _Reason(
            f"it is {bound(parent)}, not to {nvidia.DRIVER}",
            f"Bind it to {nvidia.DRIVER}, or remove the definition.",
            nvidia.bind(parent),
        )
    if functions is not None and functions.maximum:
        enable = () if functions.addresses else (nvidia.enable_functions(parent),)
        return _Reason(
            "it is a card whose virtual functions take the vGPUs",
            "Define the mdev for one of its virtual functions, and remove this definition.",
            (*enable, _undefine(mdev)),
        )
    if nvidia.HOST_MODULE not in host.facts.modules:
        return _Reason(
            "its driver offers no vGPUs",
            "Install NVIDIA's vGPU host driver, not the one for CUDA or for guests; or remove the"
            " definition.",
            (_undefine(mdev),),
        )
    return _Reason(
        "it offers no vGPUs, although the vGPU host driver is loaded",
        "See whether both services of the driver run, and what the kernel's log says.",
        ("systemctl status --no-pager nvidia-vgpud nvidia-vgpu-mgr",),
    )


def _absent(host: Examined, mdev: MdevChild) -> _Reason:
    named = host.snapshot.get(mdev.parent_addr)
    if named is not None and named.sysname is not None:
        right = f"/etc/mdevctl.d/{quote(named.sysname)}"
        wrong = f"/etc/mdevctl.d/{quote(mdev.parent_addr)}"
        return _Reason(
            f"; that is the name of the device {named.sysname}, not its kernel name",
            "Move the definition to the directory of the kernel name.",
            (f"mkdir -p {right}", f"mv {wrong}/{mdev.uuid} {right}/"),
        )
    card = _card_of_absent(host.graphics(NVIDIA), mdev.parent_addr)
    if card is not None:
        return _Reason(
            f"; the card {card.sysname} has virtual functions, and none is enabled",
            "Enable the virtual functions, at every boot.",
            (nvidia.enable_functions(card),),
        )
    module = module_of(None if mdev.mdev_type is None else mdev.mdev_type.id)
    others = _offering(host, mdev)
    return _Reason(
        f"; the same type is offered by {others}" if others else "",
        "Load the driver of the parent, or enable its virtual functions. If the hardware was"
        " removed for good, or has another address now, remove the definition"
        + (", and define the mdev for a parent that is present." if others else "."),
        (*((f"modprobe {module}",) if module is not None else ()), _undefine(mdev)),
    )


def _offering(host: Examined, mdev: MdevChild) -> str:
    """Return the kernel names of the parents that offer the type of an mdev, for a text."""
    names = [
        device.sysname or ""
        for device, parent in host.having(MdevParent)
        if mdev.mdev_type is not None and any(one.id == mdev.mdev_type.id for one in parent.types)
    ]
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def _card_of_absent(cards: Iterable[Device], address: str) -> Device | None:
    """Return the card without enabled functions on whose bus an absent function would be."""
    absent = parse_pci(address)
    for card in cards:
        pci = card.capability(Pci)
        here = None if pci is None or pci.address is None else parse_pci(pci.address)
        functions = None if pci is None else pci.virtual_functions
        if absent is None or here is None or functions is None:
            continue
        if functions.maximum and not functions.addresses and here[:2] == absent[:2]:
            return card
    return None
