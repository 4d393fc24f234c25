"""PCI addresses as text: `dddd:bb:ss.f`, the kernel's own name of a PCI function."""

from __future__ import annotations

import re
from typing import NamedTuple

# The domain has four hex digits, more on hosts with VMD (domain 0x10000 and up).
_PCI = re.compile(
    r"(?:(?P<domain>[0-9a-f]{4,8}):)?(?P<bus>[0-9a-f]{2}):(?P<slot>[01][0-9a-f])\.(?P<function>[0-7])",
    re.IGNORECASE,
)


class PciAddress(NamedTuple):
    """The four numbers of a PCI function's address."""

    domain: int
    bus: int
    slot: int
    function: int

    def __str__(self) -> str:
        return f"{self.domain:04x}:{self.bus:02x}:{self.slot:02x}.{self.function:x}"

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes of libvirt's element `address`."""
        return {
            "domain": f"0x{self.domain:04x}",
            "bus": f"0x{self.bus:02x}",
            "slot": f"0x{self.slot:02x}",
            "function": f"0x{self.function:d}",
        }


def parse_pci(text: str) -> PciAddress | None:
    """Read `dddd:bb:ss.f`; as in lspci the domain may be left out and is 0 then."""
    match = _PCI.fullmatch(text)
    if match is None:
        return None
    return PciAddress(
        int(match["domain"] or "0", 16),
        int(match["bus"], 16),
        int(match["slot"], 16),
        int(match["function"]),
    )
