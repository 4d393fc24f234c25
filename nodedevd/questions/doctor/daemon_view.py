"""daemon_view: what was learned of the daemon, and how its devices differ from a scan."""

from __future__ import annotations

import msgspec

from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import Status
from nodedevd.tree.graft import recalled


class DaemonView(msgspec.Struct, frozen=True):
    """The answer of the daemon, or the reason why there is none."""

    tried: tuple[str, ...]
    """paths of the sockets"""
    status: Status | None = None
    """None if no daemon answered"""
    reason: str | None = None
    """why no daemon answered"""
    refused: bool = False
    """whether a socket exists that this user may not connect to"""
    others: tuple[str, ...] = ()
    """further sockets on which another daemon answers"""
    differences: tuple[tuple[str, str], ...] = ()
    """names of devices that the daemon serves differently than a new scan, and how"""


def differences(fresh: Snapshot, served: Snapshot) -> tuple[tuple[str, str], ...]:
    """Return the names of devices that the daemon serves differently than a scan, and how.

    For a device with read errors only path, parent and driver are compared: the daemon may be
    allowed to read more than this process, or less. What only an earlier reading could see, such
    as the name of a profile that no function lists any more, is no difference.
    """
    found = []
    for name in sorted({*fresh.names, *served.names}):
        one, other = fresh.get(name), served.get(name)
        if one is None or other is None:
            lacks = "does not have it, but a new scan does"
            stale = "still has it, but a new scan does not"
            found.append((name, lacks if other is None else stale))
            continue
        one = recalled(one, other)
        fields = ["path", "parent", "driver"]
        if not one.errors and not other.errors:
            fields += ["capabilities", "layout"]
        different = [field for field in fields if getattr(one, field) != getattr(other, field)]
        if different:
            found.append((name, f"and a new scan differ in its {', '.join(different)}"))
    return tuple(found)
