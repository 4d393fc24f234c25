"""slots: the path of a PCI function by the slots on the way to it, which are where they are built.

The kernel numbers buses anew when a card is added; a slot keeps its device and function number
below the same bridge, as in the ACPI table DMAR.
"""

from __future__ import annotations

import re
from typing import Final

_BRIDGE: Final = re.compile(r"pci[0-9a-f]{4,8}:[0-9a-f]{2}")
_ADDRESS: Final = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:([01][0-9a-f]\.[0-7])")
_SLOT: Final = re.compile(r"[01][0-9a-f]\.[0-7]")


def is_slots(text: str) -> bool:
    """Return whether a text is a path of slots: a host bridge, then slots."""
    bridge, *slots = text.split("/")
    return (
        _BRIDGE.fullmatch(bridge) is not None
        and bool(slots)
        and all(_SLOT.fullmatch(one) or _BRIDGE.fullmatch(one) for one in slots)
    )


def slots_of(path: str | None) -> str | None:
    """Return the path of slots of the PCI function at a sysfs path; None for other devices.

    Below a VMD controller the host bridge of its bus is a part of the path.
    """
    parts: list[str] = []
    for part in (path or "").split("/"):
        address = _ADDRESS.fullmatch(part)
        if address is not None and parts:
            parts.append(address[1])
        elif _BRIDGE.fullmatch(part):
            parts.append(part)
        elif parts:
            return None
    text = "/".join(parts)
    return text if is_slots(text) else None
