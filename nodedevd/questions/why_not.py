"""why_not: why no vGPU can be created, as sentences for people, with what to do."""

from __future__ import annotations

from nodedevd.questions.cards_without_vgpus import NoVgpusReason
from nodedevd.questions.fits import CardType


def why_not(card: CardType) -> str:
    """Return why no vGPU of a type can be created on a card, and what to do."""
    others = ", ".join(card.others)
    match card.reason:
        case None:
            return "-"
        case "not-offered":
            return "the card has no such type"
        case "not-listed":
            return f"not listed beside {others}" if others else "the driver does not list it"
        case "other-profile-active":
            return f"{others} active"
        case "full":
            return "full"
        case "mdev-removing":
            return (
                "an mdev that is being created or removed takes the capacity;"
                " `nodedevctl in-use` shows who has it open"
            )
        case "no-gpu-instance":
            return "no GPU instance of its profile is free; `nvidia-smi mig -lgi` lists them"
        case "none-available":
            return "the driver reports none available"
        case "unknown":
            return "the available count cannot be read"
        case reason:
            return why_no_vgpus(reason, card.driver)


def why_no_vgpus(reason: NoVgpusReason, driver: str | None) -> str:
    """Return why a card offers no vGPUs, whatever the type, and what to do.

    `driver` is that of its functions.
    """
    match reason:
        case "no-vf-enabled":
            return "no virtual function is enabled"
        case "vfs-on-other-driver":
            return (
                f"its virtual functions are bound to {driver}, which cannot make vGPUs of"
                " them; bind them to nvidia"
            )
        case "vfs-without-driver":
            return "its virtual functions are bound to no driver; bind them to nvidia"
        case "vfs-without-interface":
            return (
                "its virtual functions have neither mdev types nor vendor VFIO; check that the"
                " services nvidia-vgpud and nvidia-vgpu-mgr run, and that the host driver"
                " supports the card"
            )
        case "no-types":
            return "it is an mdev parent without types; see `dmesg` for its driver"
        case "none-creatable":
            return (
                "its driver lists no type, although the card is idle; a card in MIG mode needs"
                " GPU instances: `nvidia-smi mig -lgi`"
            )
