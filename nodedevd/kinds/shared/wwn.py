"""wwn: World Wide Names, by which Fibre Channel identifies nodes, ports and fabrics.

Source: INCITS FC-FS, name identifiers; Linux prints them as %#018llx.
"""

from __future__ import annotations

import re

from nodedevd.host.node import Node

_WWN = re.compile("0x[0-9a-f]{16}")


def read_wwn(node: Node, attribute: str, *, promised: bool = False) -> str | None:
    """Read a name as 16 hex digits, without the kernel's 0x; other text leaves a fault."""
    text = node.read(attribute, promised=promised)
    if text is None:
        return None
    if _WWN.fullmatch(text) is None:
        node.fault(attribute, "malformed", text[:80])
        return None
    return text.removeprefix("0x")
