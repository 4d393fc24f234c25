"""capacity: cards that have vGPU types, none of which can be created, although none is in use.

Source  NVIDIA AI Enterprise, "Configuring a GPU for MIG-Backed vGPUs": a card in MIG mode offers
        vGPUs only for GPU instances, which have to be created first
"""

from __future__ import annotations

from collections.abc import Iterator

from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.questions.doctor.examined import INTEL, NVIDIA, Examined, is_graphics
from nodedevd.questions.doctor.finding import Finding
from nodedevd.questions.vgpus import VgpuFunction, vgpu_functions


def check(host: Examined) -> Iterator[Finding]:
    """Yield a finding for each such card."""
    cards: dict[str, list[VgpuFunction]] = {}
    for function in vgpu_functions(host.snapshot):
        cards.setdefault(function.card, []).append(function)
    empty = {name: functions for name, functions in cards.items() if _is_empty(functions)}
    if not empty:
        return
    # A removal that waits keeps its place, although no type lists the mdev any more.
    mdevs = [(one, one.capability(MdevChild)) for one in host.snapshot]
    used = {host.card(one) for one, mdev in mdevs if mdev is not None and mdev.state != "inactive"}
    for name in sorted(empty.keys() - used):
        yield _finding(host, name, empty[name])


def _is_empty(functions: list[VgpuFunction]) -> bool:
    """Return whether nothing can be created and nothing is in use, and that is certain."""
    offers = [offer for function in functions for offer in function.offers]
    vendor = any(function.framework == "vendor-vfio" for function in functions)
    return (
        all(function.known for function in functions)
        and not any(offer.available or offer.active for offer in offers)
        and (bool(offers) or vendor)  # a parent without types has a finding of its own
    )


def _finding(host: Examined, card: str, functions: list[VgpuFunction]) -> Finding:
    vendor = any(function.framework == "vendor-vfio" for function in functions)
    what = "list no vGPU type that can be set" if vendor else "have 0 available of every type"
    device = host.snapshot.lookup(card if host.snapshot.get(card) else functions[0].device)
    advice = "See the kernel's log for messages of its driver."
    mend: tuple[str, ...] = ("dmesg | tail -n 50",)
    if is_graphics(device, NVIDIA):
        advice = (
            "If the card is in MIG mode, create GPU instances of the profiles that are wanted:"
            " nvidia-smi mig -cgi. If it is not, see the log of the vGPU manager."
        )
        mend = (
            f"nvidia-smi -i {device.sysname} --query-gpu=mig.mode.current --format=csv,noheader",
            f"nvidia-smi mig -i {device.sysname} -lgip",
            "journalctl -b -u nvidia-vgpu-mgr | tail -n 30",
        )
    elif is_graphics(device, INTEL):
        advice = "Give the GPU a larger aperture in the firmware; vGPUs take parts of it."
        mend = ("dmesg | grep -i gvt",)
    number = len(functions)
    functions_text = "it" if number == 1 else f"its {number} functions"
    if number == 1:
        what = what.replace("list ", "lists ").replace("have ", "has ")
    return host.finding(
        "warning",
        "none-available",
        device,
        f"{functions_text} {what}, although no vGPU is active",
        advice,
        *mend,
    )
