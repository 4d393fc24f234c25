"""host_use: refuses to take away PCI functions that the host uses, right before a step does.

Reads  what is mounted, swap space, addresses, and what lies on the disks of the functions
"""

from __future__ import annotations

from collections.abc import Sequence

from nodedevd.control.steps.base import InUseNow, StepHost
from nodedevd.host.assignment import read_assignment_facts
from nodedevd.questions.hostdev.losses import unknown_uses_of, uses_of


def refuse_if_host_uses(functions: Sequence[str], host: StepHost, *, path: str, what: str) -> None:
    """Refuse to take functions away, given by their sysfs paths. Raises InUseNow for `path`.

    What the plan has checked may have changed since.
    """
    facts = read_assignment_facts(host.sysroot)
    uses = uses_of(functions, facts)
    found = uses.used or uses.stacked or uses.degraded
    if found:
        raise InUseNow(path, f"the host uses {what}: {'; '.join(found)}")
    for unknown in unknown_uses_of(functions, facts):
        raise InUseNow(path, unknown)
