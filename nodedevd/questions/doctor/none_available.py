"""none_available: cards whose vGPU types cannot be created, although no vGPU is active.

Source  NVIDIA AI Enterprise, "Configuring a GPU for MIG-Backed vGPUs": a card in MIG mode offers
        vGPUs only for GPU instances, which have to be created first
"""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from nodedevd.kinds.vgpu import Vgpu
from nodedevd.questions.cards_without_vgpus import CardWithoutVgpus
from nodedevd.questions.doctor.examined import INTEL, NVIDIA, Examined, is_graphics
from nodedevd.questions.doctor.finding import Finding


def check(host: Examined) -> Iterator[Finding]:
    """Yield a finding for each such card."""
    for card in host.without_vgpus:
        if card.reason == "none-creatable":
            yield _finding(host, card)


def _finding(host: Examined, card: CardWithoutVgpus) -> Finding:
    first = host.snapshot.lookup(card.functions[0])
    device = host.snapshot.get(card.card) or first
    what = "none of its vGPU types is available"
    if first.capability(Vgpu) is not None:
        what = f"its virtual functions ({len(card.functions)}) list no vGPU type that can be set"
    advice = "See the kernel's log for messages of its driver."
    mend: tuple[str, ...] = ("dmesg | tail -n 50",)
    address = quote(device.sysname or "")
    if is_graphics(device, NVIDIA):
        advice = (
            "If the card is in MIG mode, create GPU instances of the profiles that are wanted:"
            " nvidia-smi mig -cgi. If it is not, see the log of the vGPU manager."
        )
        mend = (
            f"nvidia-smi -i {address} --query-gpu=mig.mode.current --format=csv,noheader",
            f"nvidia-smi mig -i {address} -lgip",
            "journalctl -b -u nvidia-vgpu-mgr | tail -n 30",
        )
    elif is_graphics(device, INTEL):
        advice = "Give the GPU a larger aperture in the firmware; vGPUs take parts of it."
        mend = ("dmesg | grep -i gvt",)
    return host.finding(
        "warning",
        "none-available",
        device,
        f"{what}, although no vGPU is active",
        advice,
        *mend,
    )
