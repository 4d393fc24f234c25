"""vfio_ap: the adapters and domains that a mediated device of vfio_ap has.

Reads  matrix, control_domains
ABI    Documentation/arch/s390/vfio-ap.rst. The kernel sends no event when they change.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from nodedevd.host.lines import lines_of
from nodedevd.host.node import Node
from nodedevd.kinds.shared.mdevctl import MdevAttribute

_QUEUE = re.compile(r"([0-9a-f]{2})?\.([0-9a-f]{4})?")
_DOMAIN = re.compile(r"[0-9a-f]{4}")


class VfioApMatrix(NamedTuple):
    """What a mediated device of vfio_ap has."""

    attributes: tuple[MdevAttribute, ...]
    """what mdevctl would write to make the same device: adapters, domains, control domains"""
    queues: tuple[str, ...]
    """the queues in `matrix`, each adapter with each domain, sorted"""


NO_MATRIX = VfioApMatrix((), ())


def read_matrix(node: Node) -> VfioApMatrix:
    """Return the matrix of a device.

    The numbers of its attributes are decimal, as those of s390-tools' ap-check, which mdevctl asks
    for them; those of queues are hexadecimal, as the kernel's.
    """
    adapters, domains, queues = set(), set(), set()
    for line in _lines(node, "matrix"):
        queue = _QUEUE.fullmatch(line)
        if queue is None:
            node.fault("matrix", "malformed", line[:80])
            break
        if queue[1] and queue[2]:
            queues.add(line)
        # Without a domain it is `05.`, without an adapter `.0047`.
        adapters.update([int(queue[1], 16)] if queue[1] else [])
        domains.update([int(queue[2], 16)] if queue[2] else [])
    controlled = set()
    for line in _lines(node, "control_domains"):
        if _DOMAIN.fullmatch(line) is None:
            node.fault("control_domains", "malformed", line[:80])
            break
        controlled.add(int(line, 16))
    assigned = (
        ("assign_adapter", adapters),
        ("assign_domain", domains),
        ("assign_control_domain", controlled),
    )
    attributes = [
        MdevAttribute(name, str(number)) for name, numbers in assigned for number in sorted(numbers)
    ]
    return VfioApMatrix(tuple(attributes), tuple(sorted(queues)))


def _lines(node: Node, attribute: str) -> list[str]:
    return lines_of(node.read(attribute) or "")
